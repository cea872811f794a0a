"""The part of a picture that networks are evaluated on."""

from __future__ import annotations

import enum


class EvaluationView(enum.StrEnum):
    """Which part of a picture is looked at in evaluation and prediction."""

    CROP80 = "crop80"
    """The central 80 % of each side, resized to the square, as the published code evaluates multi-label networks."""
    RESIZE256 = "resize256"
    """The short side resized to 256 (for 224), then the central square, as is usual for ImageNet."""
