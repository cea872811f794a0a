"""Boxes as files state them, and as shares of an image: what is no box in the image is a reject, with its reason.

Legend: R boxes.
"""

from __future__ import annotations

import abc
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa

from mlimages_dataset.sources.rejects import REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.source import BOX, REGION, BatchSource, statements
from mlimages_dataset.tables.confidences import rounded
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog

Sides: TypeAlias = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax."""
BLOCK_INSTANCES = 1 << 14
ROUNDING = 1e-5
"""A box that reaches this far beyond its image was rounded, not clipped: tools write six decimals, or fewer."""
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
        confidence: 1 where nobody says less, 0 where the class is verified to be absent.
        flags: those of `REGION_FLAGS` that the file states.
        mask: COCO's compressed RLE as JSON, or a picture's path; empty where there is none.
        location: where the image is; empty where the file does not say.
        outline: the file has an outline that `mask` does not say.
        line: where the entry begins, 0 where nobody knows.
    """

    image: str
    class_id: str
    where: str
    place: str
    box: Sides | str | None
    confidence: float = 1.0
    flags: frozenset[str] = frozenset()
    mask: str = ""
    location: str = ""
    outline: bool = False
    line: int = 0

    def reject(self, what: str) -> Reject:
        """Return the reject of this entry."""
        stated = "" if self.box is None or isinstance(self.box, str) else ", ".join(f"{side:g}" for side in self.box)
        text = f"{self.class_id} {stated}".strip()
        return Reject(self.where, self.line, f"{self.place}: {what}", text[:REJECT_CHARACTERS])


class BoxSource(BatchSource):
    """A source whose files list instances. What is in an image is told by its instances, whatever their boxes."""

    has_regions: ClassVar[bool] = True

    @abc.abstractmethod
    def instances(self, piece: Piece, log: RejectLog) -> Iterator[Instance]:
        """Yield what a piece states; errors and `log` as `Source.observe`."""

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        for block in _blocks(self.instances(piece, log)):
            image, class_id, location = (
                pa.array([getattr(one, name) for one in block], pa.string())
                for name in ("image", "class_id", "location")
            )
            yield statements(image, class_id, location, pa.array(_confidences(block)))

    def regions(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `Source.regions`."""
        for block in _blocks(self.instances(piece, log)):
            yield region_batch([one for one in block if _has_box(one, log)], log)


def _blocks(instances: Iterator[Instance]) -> Iterator[list[Instance]]:
    return iter(lambda: list(itertools.islice(instances, BLOCK_INSTANCES)), [])


def _confidences(instances: Sequence[Instance]) -> NDArray[np.float32]:
    return rounded(np.array([one.confidence for one in instances], np.float64))


def _has_box(one: Instance, log: RejectLog) -> bool:
    """Return whether an instance states a box; one that should, and does not, is a reject."""
    if one.box is None:
        return False
    what = one.box if isinstance(one.box, str) else "" if one.confidence > 0 else "a box of confidence 0"
    if what:
        log.add([one.reject(what)], 1)
    return not what


def region_batch(instances: Sequence[Instance], log: RejectLog) -> pa.RecordBatch:
    """Return instances that have a box in the columns of `REGION`; those whose box is none in the image are rejects."""
    boxes, faults, clipped = judged(np.array([one.box for one in instances], np.float64).reshape(-1, 4))
    bad = np.flatnonzero(faults).tolist()
    log.add([instances[at].reject(_FAULTS[faults[at]]) for at in bad], len(bad))
    good = np.flatnonzero(faults == 0).tolist()
    kept = [instances[at] for at in good]
    columns: dict[str, object] = {
        "image_id": [one.image for one in kept],
        "class_id": [one.class_id for one in kept],
        **{side: boxes[good, at] for at, side in enumerate(BOX)},
        "confidence": _confidences(kept),
        **{flag: [flag in one.flags for one in kept] for flag in REGION_FLAGS},
        "mask": [one.mask for one in kept],
        "location": [one.location for one in kept],
        "clipped": clipped[good],
        "outline": [one.outline for one in kept],
    }
    return pa.RecordBatch.from_pydict(columns, schema=REGION)


def judged(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.bool_]]:
    """Return R boxes clipped to their image, what is wrong with each, and whether it was clipped.

    Args:
        boxes: columns xmin, ymin, xmax, ymax in shares of the image, shape (R, 4).

    Returns:
        Boxes as float32, shape (R, 4); codes of `_FAULTS`, 0 for a box of some area in the image, shape (R,); and
        whether a side of that box was moved, shape (R,).
    """
    finite = np.isfinite(boxes).all(axis=1)
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = boxes.clip(0, 1).astype(np.float32) + np.float32(0)  # -0 is 0
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


def of_pixels(sides: Sides, width: object, height: object) -> Sides | str:
    """Return a box in pixels from an image's left upper corner as shares, or why there is none."""
    if not (is_size(width) and is_size(height)):
        return "its image has no width and height"
    across, down = float(width), float(height)  # type: ignore[arg-type]  # numbers, as was asked
    return sides[0] / across, sides[1] / down, sides[2] / across, sides[3] / down


def is_size(value: object) -> bool:
    """Return whether something is a number of pixels that an image may have along one side."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < np.inf


def number_of(text: object) -> float:
    """Return a number that a file writes, NaN for what is none: a side of a box of such is a reject."""
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        return float("nan")
    try:
        return float(text)
    except (ValueError, OverflowError):
        return float("nan")
