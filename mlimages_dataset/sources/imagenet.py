"""ImageNet: lists of paths or addresses with a wnid in the name, or a folder whose images lie in folders named by wnid.

A line is `n01440764/n01440764_10026.JPEG`, or `n01440764_10026 URL`, or `path n01440764`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.sources.lines import line_blocks, log_rejects
from mlimages_dataset.sources.pieces import cut_lines
from mlimages_dataset.sources.rejects import LISTED_REJECTS, Reject
from mlimages_dataset.sources.source import BatchSource, statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog


class ImageNet(BatchSource):
    """ImageNet's lists and folders."""

    name: ClassVar[str] = "imagenet"
    ids_of: ClassVar[str | None] = "imagenet"
    takes_folders: ClassVar[bool] = True

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`."""
        return cut_lines(piece)

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        return _of_a_folder(piece.path, log) if piece.path.is_dir() else _of_lines(piece, log)


def _of_lines(piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
    for first_line, lines in line_blocks(piece, log):
        # The first wnid of a line is the class, the first word the image.
        found = pc.extract_regex(lines, r"(?:^|[^a-z0-9])(?P<wnid>n\d{8})(?:\D|$)")
        words = pc.extract_regex(lines, r"^\s*(?P<word>\S+)(?:\s+(?P<rest>\S.*?))?\s*$")
        wnid, word, rest = found.field("wnid"), words.field("word"), words.field("rest")
        good = pc.and_(pc.is_valid(found), pc.is_valid(words))
        log_rejects(log, piece.path, first_line, lines, good=good, what="no wnid such as n01440764")
        # `n01440764_10026 URL` has its place in the second word, `path n01440764` in the first.
        second_is_place = pc.match_substring(rest, "/")
        place = pc.if_else(pc.and_(pc.is_valid(rest), second_is_place), rest, word)
        yield statements(word, wnid, place).filter(good)


def _of_a_folder(folder: Location, log: RejectLog) -> Iterator[pa.RecordBatch]:
    strays = sorted(path for path in folder.iterdir() if _is_image(path))
    log.add([_reject_of(path, "not in a folder named by wnid") for path in strays[:LISTED_REJECTS]], len(strays))
    for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = sorted(path for path in class_folder.rglob("*") if _is_image(path))
        if not images:
            log.add([_reject_of(class_folder, "no image in this folder")], 1)
            continue
        places = pa.array([as_text(relative(path, folder)) for path in images])
        yield statements(places, pa.array([as_text(class_folder.name)] * len(images)), places)


def _reject_of(path: Location, what: str) -> Reject:
    return Reject(as_text(str(path)), 0, what, as_text(path.name))


def _is_image(path: Location) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES
