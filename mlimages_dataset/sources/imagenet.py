"""ImageNet: lists of paths or URLs with a wnid in the name, or a folder of images whose paths name their class.

A line has one of these forms, separated by spaces or tabs; a path may hold spaces and Windows separators:

* a path or an address with a wnid in it: `n01440764/n01440764_10026.JPEG`;
* an image of ImageNet and where it is: `n01440764_10026 http://...`;
* a path and a wnid, either way round: `photos/tench.jpg n01440764`;
* a path and a number, which is passed over: `n01440764/n01440764_10026 0`;
* a path and a number that stands for its class, as in Caffe's `val.txt`, where the user says what numbers mean;
* a row of Kaggle's solution files: `n01440764_10026,n01440764 13 22 298 294`, with a box for each object.

The development kit's `ILSVRC2012_validation_ground_truth.txt` names no picture: its line k is of the picture
ILSVRC2012_val_k, k in eight digits, and holds a number (or a wnid, as in TensorFlow's
`imagenet_2012_validation_synset_labels.txt`). `synsets` tells what numbers mean.

A row of another table (commas, semicolons, tabs, quotes) is a reject, because the meaning of its fields is unknown.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES, SUFFIX_PATTERN
from mlimages_dataset.core.links import below
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.sources.folders import class_folders, class_of_path, is_hidden, is_wnid
from mlimages_dataset.sources.imagenet_numbers import numbered_pictures, of_ground_truth, wnids_of_numbers
from mlimages_dataset.sources.lines import line_blocks, log_rejects
from mlimages_dataset.sources.pieces import cut_lines
from mlimages_dataset.sources.rejects import LISTED_REJECTS, Reject
from mlimages_dataset.sources.source import BatchSource, statements
from mlimages_dataset.sources.synsets import LINES_REMEDY, read_synsets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog


class ImageNet(BatchSource):
    """ImageNet's lists and folders."""

    name: ClassVar[str] = "imagenet"
    ids_of: ClassVar[str | None] = "imagenet"
    takes_folders: ClassVar[bool] = True
    heeds: ClassVar[frozenset[str]] = frozenset({"synsets"})

    def piece_as_stated(self, path: Location, layout: Layout) -> Piece:
        """See `Source.piece_as_stated`."""
        synsets = None if layout.synsets is None else read_synsets(layout.synsets)
        return replace(super().piece_as_stated(path, layout), synsets=synsets)

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`; lines that tell their picture by their number stay together."""
        return [piece] if numbered_pictures(piece.path) else cut_lines(piece)

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        if piece.path.is_dir():
            return _of_a_folder(piece.path, log)
        return of_ground_truth(piece, log) if numbered_pictures(piece.path) else _of_lines(piece, log)


_OWN = r"n\d{8}_\d+"
_SOLUTION = rf"{_OWN}|ILSVRC20\d\d_\w+_\d{{8}}"
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]*://"
_PLAIN = r"^[^\s,;|\"']+$"
"""A line that is one word, like nearly all lines."""
_IN_QUOTES = r"^\s*(?:\"(?P<a>[^\"]*)\"|'(?P<b>[^']*)')\s*$"
_KAGGLE_HEADER = r"^ImageId,PredictionString\s*$"
_BOXES = rf"^\s*(?P<image>{_SOLUTION}),(?P<boxes>n\d{{8}}(?: +(?:n\d{{8}}|\d+))+) *$"
_SHAPES = (
    rf"^\s*(?P<image>{_OWN})(?:\.(?i:{SUFFIX_PATTERN}))?[\t ]+(?P<place>[^\t]*[/\\][^\t]*?)\s*$",
    r"^\s*(?P<image>[^\t]*\S)[\t ]+(?P<wnid>n\d{8})\s*$",
    rf"^\s*(?P<wnid>n\d{{8}})[\t ]+(?P<image>[^\t]*(?:[/\\][^\t]*|\.(?i:{SUFFIX_PATTERN})))\s*$",
    rf"^\s*(?P<image>[^\t]*(?:{_SOLUTION}|\.(?i:{SUFFIX_PATTERN})))[\t ]+(?P<number>\d+)\s*$",
    rf"^\s*(?P<image>[^\t\s]+|[^\t]*[/\\][^\t]*\S|[^\t]*\.(?i:{SUFFIX_PATTERN}))\s*$",
)
"""The forms of a line, of which the first match counts; see the module. Without a group `place` the location is the
image itself, and without a group `wnid` the class is the first wnid in it."""
_FIRST_WNID = r"(?:^|[^a-z0-9])(?P<wnid>n\d{8})(?:\D|$)"
_ALONE = rf"[\"']?(?:n\d{{8}}|{_ADDRESS}\S*|\d+(?:\.\d+)?)[\"']?"
_TABLE = rf"^\s*[\"']|^[^,;|]*(?:{_OWN}|\.(?i:{SUFFIX_PATTERN}))[\"']?\s*[,;|]|[,;|]\s*{_ALONE}\s*$"
"""A row of a table: an image followed by a separator, or a separate field with a wnid, a URL or a number."""


_NO_CLASS = "no wnid such as n01440764"
_A_NUMBER = f"a number for its class: {LINES_REMEDY}"


def _of_lines(piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
    for first_line, lines in line_blocks(piece, log):
        told = functools.partial(log_rejects, log, piece.path, first_line, lines)
        plain = pc.match_substring_regex(lines, _PLAIN)
        if pc.all(plain).as_py():
            image, wnid = lines, pc.struct_field(pc.extract_regex(lines, _FIRST_WNID), "wnid")
            place, number, boxes = lines, pa.nulls(len(lines), pa.string()), pa.nulls(len(lines), pa.string())
        else:
            image, place, wnid, number = _fields(lines)
            boxes = pc.extract_regex(lines, _BOXES)
            yield from _of_boxes(boxes.filter(pc.is_valid(boxes)))
        wnid = pc.coalesce(wnid, wnids_of_numbers(piece, image, pc.if_else(pc.is_null(wnid), number, None)))
        passed = pc.or_(pc.match_substring_regex(lines, _KAGGLE_HEADER), pc.is_valid(boxes))
        table = pc.and_(pc.invert(pc.or_(plain, passed)), _is_table(lines))
        named = pc.and_(pc.is_valid(wnid), pc.invert(pc.fill_null(pc.equal(image, wnid), False)))
        passed = pc.or_(passed, named)
        told(good=pc.invert(table), what="a row of a table: give its columns names, and --format csv")
        told(good=pc.or_(pc.is_null(number), pc.or_(table, passed)), what=_no_meaning(piece))
        told(good=pc.or_(pc.is_valid(number), pc.or_(table, passed)), what=_NO_CLASS)
        yield statements(image, wnid, place).filter(pc.and_(named, pc.invert(pc.or_(table, pc.is_valid(boxes)))))


def _no_meaning(piece: Piece) -> str:
    return _A_NUMBER if piece.synsets is None else "a number that --synsets does not list"


def _of_boxes(found: pa.StructArray) -> Iterator[pa.RecordBatch]:
    """Yield each class once of rows of images and their boxes, of which each begins with its class."""
    words = pc.split_pattern_regex(pc.utf8_trim_whitespace(pc.struct_field(found, "boxes")), " +")
    word = pc.list_flatten(words)
    is_class = pc.match_substring_regex(word, "^n")
    stated = pa.table({"row": pc.list_parent_indices(words).filter(is_class), "wnid": word.filter(is_class)})
    distinct = stated.group_by(["row", "wnid"], use_threads=False).aggregate([]).combine_chunks()
    for one in distinct.to_batches():
        image = pc.struct_field(found, "image").take(one.column("row"))
        yield statements(image, one.column("wnid"), image)


def _fields(lines: pa.StringArray) -> tuple[pa.StringArray, ...]:
    """Return the image, the place, the wnid and the number of each line, null where it has none."""
    quoted = pc.extract_regex(lines, _IN_QUOTES)
    lines = pc.coalesce(pc.struct_field(quoted, "a"), pc.struct_field(quoted, "b"), lines)
    nothing = pa.nulls(len(lines), pa.string())
    image = place = wnid = number = nothing
    for shape in _SHAPES:
        found = pc.extract_regex(lines, shape)
        fits = pc.and_(pc.is_valid(found), pc.is_null(image))
        names = {field.name for field in found.type}
        of_image = pc.struct_field(found, "image")
        of_place = pc.struct_field(found, "place") if "place" in names else of_image
        named = pc.extract_regex(of_image, _FIRST_WNID)
        of_wnid = pc.struct_field(found, "wnid") if "wnid" in names else pc.struct_field(named, "wnid")
        image, place = pc.if_else(fits, of_image, image), pc.if_else(fits, of_place, place)
        wnid = pc.if_else(fits, of_wnid, wnid)
        number = pc.if_else(fits, pc.struct_field(found, "number"), number) if "number" in names else number
    return image, place, wnid, number


def _is_table(lines: pa.StringArray) -> pa.BooleanArray:
    alone = pc.or_(pc.match_substring_regex(lines, _IN_QUOTES), pc.match_substring_regex(lines, _BOXES))
    with_class = pc.match_substring_regex(lines, r"[,;|]\s*n\d{8}\s*$")
    addresses = pc.and_(pc.match_substring_regex(lines, rf"^\s*{_ADDRESS}"), pc.invert(with_class))
    tabs = pc.greater(pc.count_substring(lines, "\t"), 1)
    table = pc.or_(pc.match_substring_regex(lines, _TABLE), tabs)
    return pc.and_(table, pc.invert(pc.or_(alone, addresses)))


def _of_a_folder(folder: Location, log: RejectLog) -> Iterator[pa.RecordBatch]:
    found: dict[str, list[str]] = {}
    strays: list[Location] = []
    found_below = (path for path in below(folder, is_hidden) if _is_image(path))
    images: list[Location] = sorted(path for path in found_below if not is_hidden(path.name))
    names = [as_text(relative(path, folder)) for path in images]
    of_classes = class_folders(names)
    for path, name in zip(images, names, strict=True):
        if class_id := class_of_path(name, is_class_folder=name.rpartition("/")[0] in of_classes):
            found.setdefault(class_id, []).append(name)
        else:
            strays.append(path)
    log.add([_reject_of(path, "its path names no class") for path in strays[:LISTED_REJECTS]], len(strays))
    classes: list[Location] = [path for path in folder.iterdir() if path.is_dir() and is_wnid(path.name)]
    empty = [path for path in sorted(classes) if path.name not in found]
    log.add([_reject_of(path, "no image in this folder") for path in empty[:LISTED_REJECTS]], len(empty))
    for class_id, of_class in found.items():
        places = pa.array(of_class, pa.string())
        yield statements(places, pa.array([class_id] * len(of_class), pa.string()), places)


def _reject_of(path: Location, what: str) -> Reject:
    return Reject(as_text(str(path)), 0, what, as_text(path.name))


def _is_image(path: Location) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES
