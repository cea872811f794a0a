"""The folder of a vocabulary: its two tables, read, written and recognised by other stages."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import Location, location
from mlimages_dataset.tables.files import digests, prefixed
from mlimages_dataset.tables.parquet import read_table, table_inputs, table_parts, write_table
from mlimages_dataset.tables.parts import unfinished_build
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.tables import categories_table, mapping_table, vocabulary_of_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.tables.files import Inputs, Receipt
    from mlimages_dataset.vocab.vocabulary import Vocabulary

VOCABULARY = "vocabulary"
"""The role of a vocabulary's tables among the inputs of other stages, and the vocabulary's folder in a build."""
CATEGORIES_FILE = "categories.parquet"
MAPPING_FILE = "mapping.parquet"
_READ: weakref.WeakValueDictionary[str, Vocabulary] = weakref.WeakValueDictionary()
"""Vocabularies that somebody holds, by folder: while a build holds its own, its stages read it once."""
_latest: list[Vocabulary] = []
"""The vocabulary that was read last, which a command needs again after its stage."""


def read_vocabulary(folder: str | Location) -> Vocabulary:
    """Return the vocabulary in a folder that the vocabulary stage wrote, or in a build's.

    Raises:
        UsageError: its tables are not there.
        SchemaError, DataError: they are of another version, or damaged.
    """
    place = vocabulary_folder(place_of(folder)).absolute()
    held = _READ.get(str(place))
    if held is not None and held.digests == vocabulary_digests(place):
        return held
    categories = read_table(place / CATEGORIES_FILE, CATEGORIES)
    vocabulary = vocabulary_of_tables(categories, read_table(place / MAPPING_FILE, MAPPING))
    vocabulary = replace(vocabulary, folder=place, digests=vocabulary_digests(place))
    _READ[str(place)] = vocabulary
    _latest[:] = [vocabulary]
    return vocabulary


def vocabulary_digests(folder: Location) -> dict[str, str]:
    """Return the SHA-256 of a vocabulary's tables by name."""
    place = vocabulary_folder(folder)
    return prefixed(VOCABULARY, digests([place / CATEGORIES_FILE, place / MAPPING_FILE]))


def vocabulary_folder(given: Location) -> Location:
    """Return the folder of a vocabulary's tables: the one given, or `vocabulary` in it where a build is named."""
    inside = given / VOCABULARY
    return inside if not (given / CATEGORIES_FILE).is_file() and (inside / CATEGORIES_FILE).is_file() else given


def categories_file(folder: Location) -> Location:
    """Return the file of the categories of a vocabulary in a folder, or in a build's."""
    return vocabulary_folder(folder) / CATEGORIES_FILE


def refuse_other_vocabulary(inputs: Inputs, folders: Sequence[Location]) -> None:
    """Raise `UsageError` for a table whose metadata name another vocabulary than the one among the inputs."""
    name = f"{VOCABULARY}/{CATEGORIES_FILE}"
    for folder in folders:
        for part in table_parts(folder) if folder.is_dir() else [folder]:
            made_with = table_inputs(part).get(name, inputs[name])
            if made_with != inputs[name]:
                remedy = "pass that vocabulary, or make the table again"
                if (build := unfinished_build(part)) is not None:
                    remedy = f"the command that writes {build} has not finished: run it again, with --overwrite"
                raise UsageError("it was made with another vocabulary than the one given", where=part, remedy=remedy)


def write_tables(vocabulary: Vocabulary, out: Location, inputs: Inputs) -> tuple[Receipt, Receipt]:
    """Write a vocabulary as `categories` and `mapping` into a folder."""
    return (
        write_table(out / CATEGORIES_FILE, categories_table(vocabulary), CATEGORIES, inputs),
        write_table(out / MAPPING_FILE, mapping_table(vocabulary), MAPPING, inputs),
    )


def place_of(named: str | Location) -> Location:
    """Return a place, which may be named by its path or address."""
    return location(named) if isinstance(named, str) else named
