"""Plots of a run as PNG files: the learning rate by epoch, and the reliability of probabilities."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from mlimages_dataset.train.schedule import learning_rate, steps_of_epoch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mlimages_dataset.train.calibration import Reliability
    from mlimages_dataset.train.config import Run

_POINTS_OF_EPOCH = 16


def rate_curve(run: Run, images: int) -> bytes:
    """Return the plot of the learning rate by epoch, for epochs of so many images."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and wanted once

    points = []
    for epoch in range(run.epochs):
        steps = steps_of_epoch(images, run.phase(epoch).batch_size)
        for part in range(_POINTS_OF_EPOCH):
            rate = learning_rate(run, epoch, part * steps // _POINTS_OF_EPOCH, steps)
            points.append((epoch + part / _POINTS_OF_EPOCH, rate))
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*points, strict=True))
    axes.set(xlabel="epoch", ylabel="learning rate", yscale="log", xlim=(0, run.epochs))
    axes.grid(visible=True, alpha=0.3)
    return _png(figure)


def reliability_plot(raw: Reliability, calibrated: Reliability) -> bytes:
    """Return the plot of the share of labels present by predicted probability, uncalibrated and calibrated."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and wanted once

    figure = Figure(figsize=(5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color="#57606a", linestyle=":", label="exact")
    for name, intervals in (("sigmoid of the score", raw), ("calibrated", calibrated)):
        axes.plot([said for said, _, _ in intervals], [present for _, present, _ in intervals], "o-", label=name)
    axes.set(xlabel="Probability", ylabel="Share of labels present", xlim=(0, 1), ylim=(0, 1))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    return content.getvalue()
