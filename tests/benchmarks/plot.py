"""The time of our commands and of their peers over the size of the work, one panel for each task."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from tests.benchmarks.measurement import Row

_INK, _MUTED, _GRID, _OURS = "#1b1f24", "#57606a", "#d0d7de", "#0b62b8"
_PEERS = (("#b35900", "s"), ("#1a7f37", "^"), ("#8250df", "D"), ("#57606a", "v"), ("#a40e26", "P"))
"""Colours and markers of the peers."""
_COLUMNS = 3


def over_sizes(rows: Sequence[Row]) -> dict[str, dict[str, list[Row]]]:
    """Return the rows of each contender by ascending size, of the tasks that were measured at several sizes.

    The first contender of each task is ours.
    """
    by_task: dict[str, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: row.size):
        by_task.setdefault(row.task, {}).setdefault(row.who, []).append(row)
    # As they were measured, ours first.
    order = list(dict.fromkeys((row.task, row.who) for row in rows))
    tasks = {task: {who: by_task[task][who] for of, who in order if of == task} for task, _ in order}
    return {task: of for task, of in tasks.items() if len(next(iter(of.values()))) > 1}


def draw_reliability(axes: Axes, reliable: Sequence[tuple[float, float, int]], *, of: str) -> None:
    """Draw the share of added labels that is right over their confidence.

    Args:
        axes: where to draw.
        reliable: of each bin of labels their mean confidence, the share that is right, and their number.
        of: what gave the confidences.
    """
    estimate, share, _ = zip(*reliable, strict=True)
    axes.plot([0, 1], [0, 1], color="#8c959f", linestyle=":")
    axes.plot(estimate, share, "o-", color=_OURS)
    axes.set_xlabel(f"Confidence of the added label ({of})")
    axes.set_ylabel("Share that is right")


def draw(rows: Sequence[Row], machine: str, path: Path) -> int:
    """Draw the tasks that were measured at several sizes into a PNG file, and return how many there are."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the end of a run needs it

    tasks = over_sizes(rows)
    if not tasks:
        return 0
    columns = min(_COLUMNS, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(4.4 * columns, 4.2 * lines), layout="constrained", facecolor="white")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, (task, contenders) in zip(panels, tasks.items(), strict=False):
        _draw_task(panel, task, contenders)
    for panel in panels[len(tasks) :]:
        panel.set_axis_off()
    figure.supxlabel(machine.partition(";")[0], fontsize=7, color=_MUTED)
    figure.savefig(path, dpi=160, metadata={"Software": None})
    return len(tasks)


def _draw_task(panel: Axes, task: str, contenders: dict[str, list[Row]]) -> None:
    for number, (who, of_sizes) in enumerate(contenders.items()):
        colour, marker = (_OURS, "o") if number == 0 else _PEERS[(number - 1) % len(_PEERS)]
        panel.plot(
            [row.size for row in of_sizes],
            [row.median for row in of_sizes],
            marker=marker,
            markersize=6 if number == 0 else 4.5,
            linewidth=2.4 if number == 0 else 1.2,
            color=colour,
            label=who,
            zorder=3 if number == 0 else 2,
        )
    panel.set_xscale("log")
    panel.set_yscale("log")
    unit = next(iter(contenders.values()))[0].unit
    panel.set_title(task, fontsize=9, color=_INK, loc="left")
    panel.set_xlabel(unit, fontsize=8, color=_MUTED)
    panel.set_ylabel("seconds", fontsize=8, color=_MUTED)
    panel.tick_params(colors=_MUTED, labelsize=8, length=0, which="both")
    panel.grid(color=_GRID, linewidth=0.6)
    panel.set_axisbelow(True)
    for spine in panel.spines.values():
        spine.set_visible(False)
    panel.legend(frameon=False, fontsize=7, labelcolor=_INK, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
