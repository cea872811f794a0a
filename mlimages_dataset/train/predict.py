"""Turns probabilities into rows of the `predictions` table, which co-occurrence and labels read.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.tables.confidences import MOST, of_a_model
from mlimages_dataset.tables.schemas import LABEL, PREDICTIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from mlimages_dataset.core.decoding import Json


@dataclass(frozen=True, slots=True)
class ClassName:
    """The names of a class.

    Attributes:
        wnid: its WordNet id, or the vocabulary's own id for it.
        name: its name in words.
    """

    wnid: str
    name: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A network's predictions for one picture.

    Attributes:
        image_id: id of the picture.
        location: the file's path below its folder; empty for a picture in a shard.
        classes: class index and probability of the most probable classes, the most probable first.
        reason: why the picture cannot be used; empty if it can.
    """

    image_id: str
    location: str
    classes: tuple[tuple[int, float], ...] = ()
    reason: str = ""

    def lines(self, names: Sequence[ClassName]) -> list[str]:
        """Return the picture and its classes as lines to read: probability, id and name."""
        title = self.location or self.image_id
        if self.reason:
            return [f"{title}: cannot be used: {self.reason}"]
        width = max((len(names[c].wnid) for c, _ in self.classes), default=0)
        return [title, *(f"  {p:6.4f}  {names[c].wnid:{width}}  {names[c].name}" for c, p in self.classes)]

    def to_json(self, names: Sequence[ClassName]) -> dict[str, Json]:
        """Return the values by name."""
        found: dict[str, Json] = {"image_id": self.image_id, "location": self.location}
        if self.reason:
            return {**found, "error": self.reason}
        classes: list[Json] = [
            {"class_index": c, "wnid": names[c].wnid, "name": names[c].name, "confidence": p} for c, p in self.classes
        ]
        return {**found, "classes": classes}


def top_classes(probabilities: Tensor, top: int, above: float) -> list[tuple[tuple[int, float], ...]]:
    """Return the most probable classes of each image, the most probable first; of equals the lower index.

    Args:
        probabilities: float32, shape (B, C).
        top: at most this many classes per image.
        above: classes with a higher probability only.
    """
    values, order = probabilities.cpu().sort(dim=1, descending=True, stable=True)
    rows = zip(order[:, :top].tolist(), values[:, :top].tolist(), strict=True)
    return [tuple((c, min(p, float(MOST))) for c, p in zip(*row, strict=True) if p > above) for row in rows]


def prediction_rows(
    probabilities: Tensor, image_ids: Sequence[str], locations: Sequence[str], *, source: str, above: float
) -> pa.Table:
    """Return the rows of the `predictions` table for some images, those without any probable class included.

    Args:
        probabilities: float32, shape (B, C).
        image_ids: ids of the images.
        locations: locations of the images.
        source: value of the table's column `source`.
        above: classes with a higher probability are listed.
    """
    values = probabilities.cpu().numpy()
    rows, classes = np.nonzero(values > above)  # by row, then by class
    offsets = np.searchsorted(rows, np.arange(len(values) + 1))
    labels = pa.StructArray.from_arrays(
        [
            pa.array(classes.astype(np.int32)),
            pa.array(of_a_model(values[rows, classes])),
            pa.array(np.full(len(rows), int(Origin.MODEL_PREDICTION), np.uint8)),
        ],
        fields=list(LABEL),
    )
    columns = [
        pa.array(image_ids, pa.string()),
        pa.array([source] * len(values), pa.string()),
        pa.array(locations, pa.string()),
        pa.ListArray.from_arrays(
            pa.array(offsets.astype(np.int32)), labels, type=PREDICTIONS.arrow.field("labels").type
        ),
    ]
    return pa.table(columns, schema=PREDICTIONS.arrow)
