"""Sources by the names of their formats: built-in ones, and those that other packages add as entry points."""

from __future__ import annotations

import functools
import importlib
from importlib import metadata
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.source import Source

GROUP = "mlimages_dataset.sources"
"""The group of entry points whose names are formats and whose values are subclasses of `Source`."""
_OURS = {
    "imagenet": "imagenet:ImageNet",
    "open-images": "open_images:OpenImages",
    "tencent": "tencent:Tencent",
    "csv": "tables:CsvTables",
    "parquet": "tables:ParquetTables",
    "jsonl": "json_lines:JsonLines",
    "coco": "coco:Coco",
    "voc": "voc:Voc",
    "cvat": "cvat:Cvat",
    "labelme": "labelme:LabelMe",
    "yolo": "yolo:Yolo",
    "boxes": "box_tables:BoxTables",
    "webdataset": "webdataset:WebDataset",
    "huggingface": "huggingface:HuggingFace",
}


def names() -> list[str]:
    """Return the names of all formats, built-in ones first."""
    return list(dict.fromkeys([*_OURS, *sorted(entry_points())]))


def is_known(name: str) -> bool:
    """Return whether a format has a name; others' packages are searched only for names that are not ours."""
    return name in _OURS or name in entry_points()


@functools.cache
def source_named(name: str) -> Source:
    """Return the source of a format.

    Raises:
        UsageError: no format has that name, or the package that adds it cannot be imported.
    """
    if name in _OURS:
        module, _, kind = _OURS[name].partition(":")
        return _instance(lambda: getattr(importlib.import_module(f"{__package__}.{module}"), kind), name)
    if name not in entry_points():
        raise UsageError(f"there is no format {name!r}", remedy=f"use one of {', '.join(names())}")
    return _instance(entry_points()[name].load, name)


def _instance(load: Callable[[], type[Source]], name: str) -> Source:
    from mlimages_dataset.sources.source import Source  # noqa: PLC0415 - not needed for the names

    try:
        source: object = load()()
        if not isinstance(source, Source):
            raise TypeError(f"{type(source).__name__} is not a Source")  # noqa: TRY301 - told as below
    except Exception as error:
        raise UsageError(
            f"the format {name!r} cannot be loaded ({error})", remedy="repair the package that adds it"
        ) from error
    return source


@functools.cache
def entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the entry points of other packages by the name of their format."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def pieces_of(form: str, files: Sequence[Location], mapper: Mapper = map, layout: Layout | None = None) -> list[Piece]:
    """Return the pieces of files in their order; they depend only on the files.

    Args:
        form: their format.
        files: the files.
        mapper: runs parts.
        layout: what their user states of them, if anything.

    Raises:
        UsageError: a file is missing, or something is stated that the format does not heed.
        DataError: a file is empty or its header is not of the format.
    """
    from mlimages_dataset.sources.pieces import told_apart  # noqa: PLC0415 - names are told without it
    from mlimages_dataset.sources.places import exists  # noqa: PLC0415 - as above

    source = source_named(form)
    refuse_unheeded(form, layout)
    for path in files:
        if not exists(path):
            raise UsageError("there is no such file", where=path, remedy="check the path")
    whole = [source.piece(path) if layout is None else source.piece_as_stated(path, layout) for path in files]
    if not any(piece.states for piece in whole):
        raise UsageError("no label file among the inputs", remedy="name at least one with the column LabelName")
    return [
        piece
        for pieces in mapper(functools.partial(_cut, form=form), told_apart(whole, source.folder_of))
        for piece in pieces
    ]


def refuse_unheeded(form: str, layout: Layout | None) -> None:
    """Raise `UsageError` if something is stated of files that their format does not heed."""
    heeds = source_named(form).heeds
    if unheeded := [name for name in layout.stated if name not in heeds] if layout is not None else []:
        raise UsageError(f"the format {form} has no use for {unheeded[0]}", remedy="leave it out")


def _cut(piece: Piece, *, form: str) -> list[Piece]:
    return source_named(form).cut(piece)
