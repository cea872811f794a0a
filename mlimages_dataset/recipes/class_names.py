"""The class list that the labels of a collection are, where its owner gives none: each label is a name."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.augment.tally import images_of_classes
from mlimages_dataset.core.documents import written_csv
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.sources.class_lists import CLASS_COLUMNS
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.registry import source_named
from mlimages_dataset.tables.files import digests, prefixed, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlimages_dataset.augment.annotate import AnnotatedFiles
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace

CLASSES = "classes"
"""Folder of a build's class lists that are made of labels, and prefix of the names of their stages."""
COLUMNS = (*CLASS_COLUMNS, "wnid", "parent")
_BEGINS_WITH_WNID = re.compile(r"(n\d{8})(?:[-_. ]+(.+))?")


@dataclass(frozen=True, slots=True)
class NamedClasses:
    """How many classes the labels of a collection name."""

    classes: int

    def lines(self) -> list[str]:
        """Return the count as a line."""
        return [f"{self.classes:>12,}  classes, each with its name for an id"]


def class_list_of(folder: Location, name: str) -> Location:
    """Return the file of the class list that the labels of a collection of a build are."""
    return folder / CLASSES / f"{name}.csv"


def classes_stage(given: AnnotatedFiles, *, into: str) -> Stage[NamedClasses]:
    """Return the stage that writes the labels of a collection as a class list; its work is `write_classes`.

    Raises:
        UsageError: a file is missing, or a folder or pattern has none.
    """
    files = files_of(given.format, given.files)
    inputs = prefixed("files", digests(files, source_named(given.format).digest))
    return Stage(
        name=f"{CLASSES}/{given.name}",
        parameters=given.parameters,
        inputs=inputs,
        work=functools.partial(write_classes, replace(given, files=files)),
        summary=NamedClasses,
        into=into,
    )


def write_classes(given: AnnotatedFiles, at: Workplace) -> StageResult[NamedClasses]:
    """Write the classes that images of a collection show, or are said to lack, as NAME.csv, ascending by id.

    See `row_of`.

    Raises:
        UsageError, DataError: a file is missing or not of its format, or no image has a class.
    """
    path = at.out / f"{given.name}.csv"
    counted, _ = images_of_classes(
        given.format, given.files, path, layout=given.layout, absent=True, mapper=at.engine.mapper
    )
    return StageResult((write_bytes(path, csv_of(counted).encode()),), NamedClasses(len(counted)))


def csv_of(labels: Iterable[str]) -> str:
    """Return the class list of labels as CSV, ascending by id.

    Labels that differ only in blanks at an end are one class, whose id has none, as class lists are read; a label of
    nothing else is no class.
    """
    ids = {label.strip() for label in labels} - {""}
    return written_csv([COLUMNS, *map(row_of, sorted(ids))])


def row_of(label: str) -> tuple[str, str, str, str]:
    """Return the row of the class that a label names: id, name, wnid and parent.

    >>> row_of("golden retriever"), row_of("n02085620-Chihuahua")
    (('golden retriever', 'golden retriever', '', ''), ('n02085620-Chihuahua', 'Chihuahua', 'n02085620', ''))
    """
    if stated := _BEGINS_WITH_WNID.fullmatch(label):
        return label, stated[2] or "", stated[1], ""
    return label, label, "", ""
