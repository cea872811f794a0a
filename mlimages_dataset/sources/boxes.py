"""Boxes as files state them, and as shares of an image: what is no box in the image is a reject, with its reason.

Legend: R boxes.
"""

from __future__ import annotations

import abc
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.decimals import nearest_float
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.sources.places import opened
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.source import BOX, DOUBTED, LISTED, REGION, BatchSource, statements
from mlimages_dataset.tables.confidences import rounded
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.polygons import Polygons
    from mlimages_dataset.sources.rejects import RejectLog

Sides: TypeAlias = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax."""
BLOCK_INSTANCES = 1 << 14
_LOOK_BYTES = 1 << 16
ROUNDING = 1e-5
"""A box that reaches no farther than this beyond its image was rounded by a tool, and does not count as clipped."""
_TOLD_NUMBERS, _TOLD_SIGNS = 8, 20
_FAULTS = (
    "",
    "a side of its box is no finite number",
    "its box is inverted",
    "its box has no area",
    "its box lies outside the image",
)
"""What may be wrong with a box, by the codes of `judged`."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What one entry of a file states: that a class is in an image, and where.

    Attributes:
        image: the image, as the file names it.
        class_id: the raw class.
        where: the file, for messages.
        place: what the entry is called there, such as `annotation 5`.
        box: in shares of the image; a text that says why there is none; None where the entry is about no place.
        confidence: 1 where nobody says less, 0 where the class is verified to be absent; a text that says why the entry
            cannot be used.
        flags: those of `REGION_FLAGS` that the file states.
        mask: COCO's compressed RLE as JSON, or a picture's path; empty where there is none.
        location: where the image is; empty where the file does not say.
        outline: the file has an outline that `mask` does not say.
        polygons: that outline, where the file gives it as polygons: `regions` make a mask of them.
        line: where the entry begins, 0 where nobody knows.
        stated: the numbers of its place as the file has them, for messages.
    """

    image: str
    class_id: str
    where: str
    place: str
    box: Sides | str | None
    confidence: float | str = 1.0
    flags: frozenset[str] = frozenset()
    mask: str = ""
    location: str = ""
    outline: bool = False
    polygons: Polygons | None = None
    line: int = 0
    stated: str = ""

    @classmethod
    def of_listed(cls, image: str, where: str, location: str = "") -> Instance:
        """Return the statement that a file lists an image; see `source.LISTED`."""
        return cls(image, LISTED, where, "the image", None, 0.0, location=location)

    @classmethod
    def of_doubt(cls, image: str, where: str) -> Instance:
        """Return the statement that an entry about an image is a reject; see `source.DOUBTED`."""
        return cls(image, DOUBTED, where, "the image", None, 0.0)

    def reject(self, what: str) -> Reject:
        """Return the reject of this entry."""
        text = f"{self.class_id} {self.stated}".strip()
        text = text.encode(errors="replace").decode()
        return Reject(self.where, self.line, f"{self.place}: {what}", text[:REJECT_CHARACTERS])


class BoxSource(BatchSource):
    """A source whose files list instances. What is in an image is told by its instances, whatever their boxes."""

    has_regions: ClassVar[bool] = True

    @abc.abstractmethod
    def instances(self, piece: Piece, log: RejectLog) -> Iterator[Instance]:
        """Yield what a piece states; errors and `log` as `Source.observe`."""

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        yield from statements_of(self.instances(piece, log), log)

    def regions(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `Source.regions`."""
        yield from regions_of(self.instances(piece, log), log)


def statements_of(instances: Iterator[Instance], log: RejectLog) -> Iterator[pa.RecordBatch]:
    """Yield what instances state of images, in the columns of `STATEMENT`; `log` takes those that name none.

    `log` counts those whose box is none in its image, too: what they say of the image holds all the same.
    """
    for block in _blocks(instances, log):
        _log_boxless([one for one in block if isinstance(one.box, tuple)], log)
        image, class_id, location = (
            pa.array([getattr(one, name) for one in block], pa.string()) for name in ("image", "class_id", "location")
        )
        yield statements(image, class_id, location, pa.array(_confidences(block)))


def _log_boxless(instances: Sequence[Instance], log: RejectLog) -> None:
    _, faults, _ = judged(np.array([one.box for one in instances], np.float64).reshape(-1, 4))
    bad = np.flatnonzero(faults).tolist()
    log.add_boxless([instances[at].reject(_FAULTS[faults[at]]) for at in bad[:LISTED_REJECTS]], len(bad))


def regions_of(instances: Iterator[Instance], log: RejectLog) -> Iterator[pa.RecordBatch]:
    """Yield the boxes of instances, in the columns of `REGION`; `log` takes those that have none."""
    for block in _blocks(instances, log):
        yield _batch_of([one for one in block if _has_box(one, log)], log)


class DocumentSource(BoxSource):
    """A source whose files are each one document, which is read as a stream: JSON or XML."""

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        piece = super().piece(path)
        with opened(path) as stream:
            if not stream.read(_LOOK_BYTES).strip():
                raise DataError("is empty", where=path, remedy="obtain the file again")
        return piece

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`: a document is one piece."""
        return [piece]


def _blocks(instances: Iterator[Instance], log: RejectLog) -> Iterator[list[Instance]]:
    named = _named(instances, log)
    return iter(lambda: list(itertools.islice(named, BLOCK_INSTANCES)), [])


def _named(instances: Iterable[Instance], log: RejectLog) -> Iterator[Instance]:
    """Yield instances that can be used, by their names too; the others are rejects, and doubts of images."""
    for one in instances:
        names_image = (
            bool(one.image) and is_text(one.image) and not (one.image.startswith(".") and not image_id(one.image))
        )
        what = _fault(one, names_image=names_image)
        if not what:
            yield one
            continue
        log.add([one.reject(what)], 1, placed=int(names_image))
        if names_image:
            yield Instance.of_doubt(one.image, one.where)


def _fault(one: Instance, *, names_image: bool) -> str:
    """Return why an instance cannot be used; empty if it can."""
    if not one.image:
        return "it names no image"
    if not one.class_id:
        return "it names no class"
    if not all(map(is_text, (one.image, one.class_id, one.mask, one.location))):
        return "a name in it is no Unicode text"
    if not names_image:
        return f"{one.image!r} names no image"
    return one.confidence if isinstance(one.confidence, str) else ""


def is_text(text: str) -> bool:
    """Return whether UTF-8 can hold a text: JSON may escape half of a sign."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has_box(one: Instance, log: RejectLog) -> bool:
    """Return whether an instance states a box; one that should, and does not, is a reject."""
    if one.box is None:
        return False
    what = one.box if isinstance(one.box, str) else "" if one.confidence != 0 else "a box of confidence 0"
    if what:
        log.add([one.reject(what)], 1)
    return not what


def _batch_of(instances: Sequence[Instance], log: RejectLog) -> pa.RecordBatch:
    """Return instances that have a box in the columns of `REGION`."""
    masks = [one.polygons.mask() if one.polygons is not None else one.mask for one in instances]
    columns: dict[str, object] = {
        **{name: [getattr(one, field) for one in instances] for name, field in _FIELD_OF_COLUMN.items()},
        "mask": masks,
        "outline": [one.outline and not mask for one, mask in zip(instances, masks, strict=True)],
        "confidence": _confidences(instances),
        **{flag: [flag in one.flags for one in instances] for flag in REGION_FLAGS},
    }
    boxes = np.array([one.box for one in instances], np.float64).reshape(-1, 4)
    return region_batch(columns, boxes, log, lambda at, what: instances[at].reject(what))


_FIELD_OF_COLUMN = {"image_id": "image", "class_id": "class_id", "location": "location"}


def _confidences(instances: Sequence[Instance]) -> NDArray[np.float32]:
    return rounded(np.array([one.confidence for one in instances], np.float64))


def region_batch(
    columns: Mapping[str, object],
    boxes: NDArray[np.float64],
    log: RejectLog,
    reject_of: Callable[[int, str], Reject],
) -> pa.RecordBatch:
    """Return boxes in the columns of `REGION`; those that are none in their image are rejects.

    Args:
        columns: all but the box and `clipped`, R rows.
        boxes: shape (R, 4), as `judged` takes them.
        log: takes the rejects.
        reject_of: returns the reject of a row by its number and what is wrong with its box.
    """
    inside, faults, clipped = judged(boxes)
    bad = np.flatnonzero(faults).tolist()
    log.add([reject_of(at, _FAULTS[faults[at]]) for at in bad[:LISTED_REJECTS]], len(bad))
    sides = {side: inside[:, at] for at, side in enumerate(BOX)}
    whole = pa.RecordBatch.from_pydict({**columns, **sides, "clipped": clipped}, schema=REGION)
    return whole.filter(pa.array(faults == 0)) if bad else whole


def judged(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.bool_]]:
    """Return R boxes clipped to their image, what is wrong with each, and whether it was clipped.

    Args:
        boxes: columns xmin, ymin, xmax, ymax in shares of the image, shape (R, 4).

    Returns:
        Boxes as float32, shape (R, 4); codes of `_FAULTS`, 0 for a box of some area in the image, shape (R,); and
        whether a side of that box was moved, shape (R,).
    """
    inside = boxes.clip(0, 1).astype(np.float32) + np.float32(0)  # -0 is 0
    faults, clipped = np.zeros(len(boxes), np.intp), np.zeros(len(boxes), np.bool_)
    # Nearly all boxes are in their image: only the others are looked at closely.
    usual = (boxes[:, 0] >= 0) & (boxes[:, 1] >= 0) & (boxes[:, 2] <= 1) & (boxes[:, 3] <= 1)
    usual &= (inside[:, 0] < inside[:, 2]) & (inside[:, 1] < inside[:, 3])
    others = np.flatnonzero(~usual)
    inside[others], faults[others], clipped[others] = _judged(boxes[others])
    return inside, faults, clipped


def _judged(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.bool_]]:
    finite = np.isfinite(boxes).all(axis=1)
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = boxes.clip(0, 1).astype(np.float32) + np.float32(0)
    with np.errstate(invalid="ignore"):
        clipped = (np.abs(boxes - boxes.clip(0, 1)) > ROUNDING).any(axis=1)
        faults = np.select(
            [
                ~finite,
                (low > high).any(axis=1),
                (low == high).any(axis=1),
                ((high <= 0) | (low >= 1)).any(axis=1),
                (inside[:, :2] >= inside[:, 2:]).any(axis=1),
            ],
            [1, 2, 3, 4, 3],
        )
    return inside, faults.astype(np.intp), clipped & (faults == 0)


def as_stated(numbers: object) -> str:
    """Return the first of the numbers in a list as a file has them, for messages; nothing for what is no list."""
    return ", ".join(str(one)[:_TOLD_SIGNS] for one in numbers[:_TOLD_NUMBERS]) if isinstance(numbers, list) else ""


def of_pixels(sides: Sides, width: object, height: object) -> Sides | str:
    """Return a box in pixels from an image's left upper corner as shares, or why there is none."""
    if not (is_size(width) and is_size(height)):
        return "its image has no width and height"
    across, down = float(width), float(height)  # type: ignore[arg-type]  # numbers, as was asked
    # A box of shares lies in the first pixel; one of pixels fills it.
    if max(sides) <= 1 < min(across, down) and min(sides) >= 0 and not all(float(one).is_integer() for one in sides):
        return "it lies within one pixel: its sides are shares of the image, and pixels are wanted"
    return sides[0] / across, sides[1] / down, sides[2] / across, sides[3] / down


def is_size(value: object) -> bool:
    """Return whether something is a number of pixels that an image may have along one side."""
    return isinstance(value, (int, float)) and 0 < number_of(value) < np.inf


def number_of(text: object) -> float:
    """Return a number that a file writes, NaN for what is none: a side of a box of such is a reject."""
    if isinstance(text, str):
        return nearest_float(text)
    if isinstance(text, bool) or not isinstance(text, (int, float)):
        return math.nan
    try:
        return float(text)
    except OverflowError:
        return math.nan


def around(points: Sequence[tuple[float, float]]) -> Sides:
    """Return the box around points (x, y), which are at least one; NaN where a number is."""
    across, down = zip(*points, strict=True)
    if any(map(math.isnan, (*across, *down))):
        return (math.nan,) * 4
    return min(across), min(down), max(across), max(down)
