"""The sources by the names of their formats: ours, and those that other packages add as entry points."""

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
    "coco": "coco:Coco",
    "webdataset": "webdataset:WebDataset",
    "huggingface": "huggingface:HuggingFace",
}


def names() -> list[str]:
    """Return the names of all formats, ours first."""
    return list(dict.fromkeys([*_OURS, *sorted(entry_points())]))


@functools.cache
def source_named(name: str) -> Source:
    """Return the source of a format.

    Raises:
        UsageError: there is none of that name, or the package that adds it cannot be imported.
    """
    if name in _OURS:
        module, _, kind = _OURS[name].partition(":")
        return _instance(lambda: getattr(importlib.import_module(f"{__package__}.{module}"), kind), name)
    if name not in entry_points():
        raise UsageError(f"there is no format {name!r}", remedy=f"use one of {', '.join(names())}")
    return _instance(entry_points()[name].load, name)


def _instance(load: Callable[[], type[Source]], name: str) -> Source:
    from mlimages_dataset.sources.source import Source  # noqa: PLC0415 - names are told without it

    try:
        source: object = load()()
        if not isinstance(source, Source):
            raise TypeError(f"{type(source).__name__} is no Source")  # noqa: TRY301 - told as below
    except Exception as error:
        raise UsageError(
            f"the format {name!r} cannot be loaded ({error})", remedy="repair the package that adds it"
        ) from error
    return source


@functools.cache
def entry_points() -> dict[str, metadata.EntryPoint]:
    """Return the entry points of other packages by the name of their format."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def pieces_of(form: str, files: Sequence[Location], mapper: Mapper = map) -> list[Piece]:
    """Return the pieces of files in their order; they depend on the files alone.

    Raises:
        UsageError: a file is missing.
        DataError: a file is empty or its header is not of the format.
    """
    source = source_named(form)
    for path in files:
        if not path.exists():
            raise UsageError("there is no such file", where=path, remedy="check the path")
    whole = [source.piece(path) for path in files]
    if not any(piece.states for piece in whole):
        raise UsageError("no label file among the inputs", remedy="name at least one with the column LabelName")
    return [piece for pieces in mapper(functools.partial(_cut, form=form), whole) for piece in pieces]


def _cut(piece: Piece, *, form: str) -> list[Piece]:
    return source_named(form).cut(piece)
