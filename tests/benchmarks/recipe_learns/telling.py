"""Results as a Markdown table and as plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.benchmarks.recipe_learns.learning import Result

_COLUMNS: dict[str, Callable[[Result], str]] = {
    "loss": lambda r: f"`{r.loss}`" + (" + prior bias" if r.bias else ""),
    "rate": lambda r: f"{r.rate:g}",
    "steps": lambda r: f"{r.steps}",
    "F1@5": lambda r: f"{r.f1_at_5:.3f}",
    "F1@10": lambda r: f"{r.f1_at_10:.3f}",
    "mAP": lambda r: f"{r.mean_average_precision:.3f}",
    "mean abs. logit": lambda r: f"{r.logit:.2f}",
    "held out: F1@5": lambda r: f"{r.tested_f1_at_5:.3f}",
    "mAP ": lambda r: f"{r.tested_mean_average_precision:.3f}",
    "labels an image: true": lambda r: f"{r.true:.1f}",
    "sigmoid": lambda r: f"{r.said:,.1f}",
    "weights undone": lambda r: f"{r.said_undone:,.1f}",
    "calibrated": lambda r: f"{r.said_calibrated:,.1f}",
}


def table(results: Sequence[Result]) -> str:
    """Return results as a Markdown table."""
    lines = [" | ".join(_COLUMNS), " | ".join("---" if name == "loss" else "---:" for name in _COLUMNS)]
    lines += [" | ".join(tell(result) for tell in _COLUMNS.values()) for result in results]
    return "\n".join(f"| {line} |" for line in lines)


def draw(results: Sequence[Result], rate: float, path: Path) -> None:
    """Draw F1@5 of the learnt views over the steps at the recipe's rate into a PNG file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the end of a run needs it

    figure = Figure(figsize=(7, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    at_rate = [r for r in results if r.rate == rate]
    for loss, bias in dict.fromkeys((r.loss, r.bias) for r in at_rate):
        points = [(0, 0.0), *((r.steps, r.f1_at_5) for r in at_rate if (r.loss, r.bias) == (loss, bias))]
        label = f"{loss} + prior bias" if bias else loss
        axes.plot(*zip(*points, strict=True), "o--" if bias else "o-", label=label, markersize=4)
    axes.set(
        xlabel=f"Steps at a learning rate of {rate:g}, batch 256", ylabel="F1@5 of the views learnt from", ylim=(0, 1)
    )
    axes.grid(visible=True, alpha=0.3)
    figure.legend(frameon=False, loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def draw_reliability(results: Sequence[Result], path: Path) -> None:
    """Draw the share of held-out labels present over the probability said, raw and calibrated, into a PNG file."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(5, 4.6), layout="constrained", facecolor="white")
    axes = figure.subplots()
    shown = max((r for r in results if r.loss == "released" and r.bias), key=lambda r: r.steps)
    for name, points in zip(("sigmoid of the logit", "calibrated"), shown.reliability, strict=True):
        axes.plot(*zip(*points, strict=True), "o-", label=name)
    axes.plot((0, 1), (0, 1), color="#57606a", linestyle=":", label="as it should be")
    axes.set(xlabel="Probability said", ylabel="Share of labels present", xlim=(0, 1), ylim=(0, 1))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150, metadata={"Software": None})
