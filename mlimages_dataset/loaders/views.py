"""The part of a picture on which networks are evaluated."""

from __future__ import annotations

import enum


class EvaluationView(enum.StrEnum):
    """The part of a picture that evaluation and prediction use."""

    CROP80 = "crop80"
    """The central 80 % of each side, resized to the square, as the published code evaluates multi-label networks."""
    RESIZE256 = "resize256"
    """The short side resized to 256 (for 224), then the central square, as is usual for ImageNet."""
