"""The time of `labels` against the number of images, with the straight line that fits it best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.benchmarks.measurement import Row

_INK, _MUTED, _GRID, _SERIES, _LINE = "#1b1f24", "#57606a", "#d0d7de", "#0b62b8", "#1a7f37"
_MILLION = 1_000_000


def straight_line(sizes: NDArray[np.float64], seconds: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return slope, intercept and R² of the least-squares line."""
    slope, intercept = np.polyfit(sizes, seconds, 1)
    residuals, total = seconds - (slope * sizes + intercept), seconds - seconds.mean()
    return float(slope), float(intercept), 1 - float((residuals**2).sum() / (total**2).sum())


def draw(rows: Sequence[Row], machine: str, path: Path) -> float:
    """Draw the rows of one task over sizes into a PNG file and return R² of their medians."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the end of a run needs it

    sizes = np.array([row.size / _MILLION for row in rows])
    slope, intercept, r_squared = straight_line(sizes, np.array([row.median for row in rows]))
    figure = Figure(figsize=(7, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    ends = np.array([0, sizes.max() * 1.04])
    axes.plot(
        ends,
        slope * ends + intercept,
        color=_LINE,
        linestyle=(0, (6, 3)),
        label=f"{slope:.2f} s a million images + {intercept:.1f} s, R² = {r_squared:.4f}",
    )
    for size, row in zip(sizes, rows, strict=True):
        axes.plot([size] * len(row.seconds), row.seconds, "o", color=_SERIES, alpha=0.35, markersize=4)
    axes.plot(sizes, [row.median for row in rows], "o", color=_SERIES, markersize=7, label="median of the repetitions")
    axes.set_xlim(0, ends[1])
    axes.set_ylim(0)
    axes.set_xlabel("Images (millions)", color=_MUTED)
    axes.set_ylabel("Time of mlimages-build labels (s)", color=_MUTED)
    axes.tick_params(colors=_MUTED, length=0)
    axes.grid(color=_GRID)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.legend(frameon=False, labelcolor=_INK, loc="upper left")
    figure.supxlabel(machine.partition(";")[0], fontsize=7, color=_MUTED)
    figure.savefig(path, dpi=200, metadata={"Software": None})
    return r_squared
