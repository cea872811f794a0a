"""Classes that an owner lists and no picture shows: mostly, their ids are written otherwise than folders or labels."""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER
from mlimages_dataset.augment.tally import images_of_classes
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.tables.parquet import scan_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS
from mlimages_dataset.vocab.folder import VOCABULARY, read_vocabulary
from mlimages_dataset.vocab.stage import VocabularyFiles, read_class_lists

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mlimages_dataset.augment.annotate import AnnotatedFiles
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_LISTED = 10
_NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Unseen:
    """Listed classes that no picture shows.

    Attributes:
        classes: how many they are.
        first: the ids of the first of them.
        likely: of these, those that may be meant by a label of no list, and that label.
    """

    classes: int = 0
    first: tuple[str, ...] = ()
    likely: tuple[tuple[str, str], ...] = ()


def unseen(
    folder: Location, lists: Sequence[tuple[str, Location]], collections: Sequence[AnnotatedFiles], at: Workplace
) -> Unseen:
    """Return the classes of lists that no label of annotated collections names.

    The collections' files are read again only if their tables leave it open for a class.

    Args:
        folder: the build, with its vocabulary and the tables of the collections.
        lists: class lists with their names.
        collections: what is said of the pictures.
        at: where there is room for a while, and who reads the parts.
    """
    if not lists:
        return Unseen()
    listed = [
        one.source_id for found in read_class_lists(VocabularyFiles(classes=tuple(lists))) for one in found.classes
    ]
    tables = [folder / ANNOTATIONS_FOLDER / one.name for one in collections]
    sure = sure_ids(read_vocabulary(folder / VOCABULARY), _present(tables))
    if not unnamed(listed, sure).classes:
        return Unseen()
    return unnamed(listed, sure.union(*(_labels_of(one, at) for one in collections)))


def sure_ids(known: Vocabulary, present: Collection[int]) -> set[str]:
    """Return the ids of classes that images surely show, where labels of some categories are present.

    A category that several classes became, or that is only the parent of one, does not say which class an image shows.
    """
    rows_of: dict[int, dict[str, bool]] = {}
    for row in known.mapping:
        rows_of.setdefault(row.class_index, {})[unicodedata.normalize("NFC", row.source_id)] = row.is_broader
    alone = (rows_of[index] for index in present if len(rows_of.get(index, ())) == 1)
    return {one for ids in alone for one, is_broader in ids.items() if not is_broader}


def unnamed(listed: Iterable[str], shown: Collection[str]) -> Unseen:
    """Return those of some ids that are no label, and which label may mean one.

    >>> unnamed(["dog", "Cats", "cup"], {"dog", "cats"})
    Unseen(classes=2, first=('Cats', 'cup'), likely=(('Cats', 'cats'),))
    """
    ids = dict.fromkeys(unicodedata.normalize("NFC", one) for one in listed)
    labels = {unicodedata.normalize("NFC", one.strip()) for one in shown}
    missing = [one for one in ids if one not in labels]
    others = {one.casefold(): one for one in sorted(labels - ids.keys())}
    near = ((one, difflib.get_close_matches(one.casefold(), others, 1, _NEAR)) for one in missing[:_LISTED])
    return Unseen(
        len(missing), tuple(missing[:_LISTED]), tuple((one, others[found[0]]) for one, found in near if found)
    )


def _present(tables: Iterable[Location]) -> set[int]:
    """Return the categories that tables of collections have a label of that is no absence."""
    found: set[int] = set()
    for table in tables:
        for part in table_parts(table):
            for batch in scan_table(part, ANNOTATIONS, columns=("labels",)):
                labels = pc.list_flatten(batch.column("labels"))
                is_present = pc.greater(pc.struct_field(labels, "confidence"), 0)
                found.update(pc.unique(pc.struct_field(labels, "class_index").filter(is_present)).to_pylist())
    return found


def _labels_of(one: AnnotatedFiles, at: Workplace) -> Collection[str]:
    files = files_of(one.format, one.files)
    try:
        counted, _ = images_of_classes(one.format, files, at.out / one.name, layout=one.layout, mapper=at.engine.mapper)
    except DataError:  # nothing but absences
        return ()
    return counted
