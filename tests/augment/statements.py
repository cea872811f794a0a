"""Statements about images as tuples, and what they mean by the rules in docs/tables.md, in plain dictionaries."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Statement(NamedTuple):
    """One row of an annotation file; `confidence` is None where it is no number from 0 to 1."""

    image_id: str
    class_id: str
    confidence: float | None


class Merged(NamedTuple):
    """Confidence of each class of each image with labels, what became of the statements, and the images seen."""

    labels: dict[str, dict[int, float]]
    fates: Counter[str]
    images: int


def merged(statements: Sequence[Statement], lookup: Mapping[str, int], min_confidence: float = 0.0) -> Merged:
    """Merge statements one dictionary entry at a time; classes below 0 in the lookup were dropped."""
    fates: Counter[str] = Counter()
    said: dict[str, dict[int, list[float]]] = {}
    for image_id, class_id, confidence in statements:
        if image_id:
            said.setdefault(image_id, {})
        if not image_id or not class_id or confidence is None:
            fates["malformed"] += 1
        elif class_id not in lookup:
            fates["unknown"] += 1
        elif lookup[class_id] < 0:
            fates["dropped"] += 1
        elif 0 < confidence < np.float32(min_confidence):
            fates["below_confidence"] += 1
        else:
            said[image_id].setdefault(lookup[class_id], []).append(confidence)
    labels: dict[str, dict[int, float]] = {}
    for image_id, of_class in said.items():
        for class_index, values in of_class.items():
            fates["labels"] += 1
            fates["contradicted"] += values.count(0) if 1 in values else 0
            fates["merged"] += len(values) - 1 - (values.count(0) if 1 in values else 0)
            verified = [value for value in (1, 0) if value in values]
            labels.setdefault(image_id, {})[class_index] = float(verified[0]) if verified else max(values)
    return Merged(labels, +fates, len(said))
