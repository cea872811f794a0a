"""The two figures of Tencent ML-Images, section 3.3, as SVG and PNG; the same values give the same bytes.

Each is drawn twice: for papers (black on white, letters as outlines) and for a page (letters as text, colours as CSS
custom properties, so that the page's light and dark colours apply).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from numpy.typing import NDArray

PNG_DOTS_PER_INCH = 300
_FIGURE_INCHES = (6.4, 3.4)
_INK, _MUTED, _GRID, _SERIES, _MEAN = "#1b1f24", "#57606a", "#d0d7de", "#0b62b8", "#1a7f37"
_PROPERTY_OF_COLOUR = {_INK: "--ink", _MUTED: "--muted", _GRID: "--line", _SERIES: "--series", _MEAN: "--mean"}
_BAR_WIDTH = 0.85
_VISIBLE_STEPS = 500


@dataclass(frozen=True, slots=True)
class Ranking:
    """Images per category in descending order.

    Attributes:
        images: images of the categories that have any, descending, int64.
        mean: mean over all categories, those without images included.
    """

    images: NDArray[np.int64]
    mean: float


def ranking(images_of_class: NDArray[np.int64]) -> Ranking:
    """Return the ranking of categories by images; `images_of_class` has shape (C,)."""
    ordered = -np.sort(-images_of_class)
    return Ranking(ordered[ordered > 0], float(images_of_class.mean()) if len(images_of_class) else 0.0)


def draw_images_per_category(axes: Axes, ranked: Ranking) -> None:
    """Draw images per category, log2, over the category's rank, with the mean (section 3.3, figure 1)."""
    axes.set_xlabel("Category, by rank")
    axes.set_ylabel("Images (log₂ scale)")
    if not len(ranked.images):
        _say_empty(axes)
        return
    ranks, images = _corners(ranked.images)
    axes.set_yscale("log", base=2)
    axes.fill_between(ranks, images, 1, color=_SERIES, alpha=0.14, linewidth=0)
    axes.plot(ranks, images, color=_SERIES, linewidth=1.8, solid_joinstyle="round")
    axes.axhline(ranked.mean, color=_MEAN, linewidth=1.4, linestyle=(0, (6, 3)))
    axes.annotate(
        f"mean {ranked.mean:,.1f}",
        (1, ranked.mean),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 5),
        textcoords="offset points",
        ha="right",
        color=_MEAN,
    )
    axes.set_xlim(1, max(len(ranked.images), 2))
    axes.set_ylim(min(1.0, ranked.mean) if ranked.mean else 1.0, float(images.max()) * 2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,.10g}")  # a mean below 1 makes ticks below 1


def draw_labels_per_image(axes: Axes, images_of_size: NDArray[np.int64]) -> None:
    """Draw how many images have each number of labels, with the mean (section 3.3, figure 2)."""
    axes.set_xlabel("Labels of an image")
    axes.set_ylabel("Images")
    if not images_of_size.sum():
        _say_empty(axes)
        return
    sizes = np.arange(len(images_of_size))
    mean = float((sizes * images_of_size).sum() / images_of_size.sum())
    axes.bar(sizes, images_of_size, width=_BAR_WIDTH, color=_SERIES, alpha=0.85, linewidth=0)
    axes.axvline(mean, color=_MEAN, linewidth=1.4, linestyle=(0, (6, 3)))
    axes.annotate(
        f"mean {mean:.2f}",
        (mean, 1),
        xycoords=("data", "axes fraction"),
        xytext=(6, -12),
        textcoords="offset points",
        color=_MEAN,
    )
    first = int(np.flatnonzero(images_of_size)[0])
    axes.set_xlim(first - 1, len(images_of_size))
    axes.set_ylim(0, float(images_of_size.max()) * 1.14)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", integer=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: two files for papers, and markup for the page."""

    svg: bytes
    png: bytes
    markup: str


def images_per_category(ranked: Ranking, description: str) -> Figure:
    """Return figure 1; `description` says in words what it shows."""
    return _figure(
        "images-per-category", "Images per category", description, lambda axes: draw_images_per_category(axes, ranked)
    )


def labels_per_image(images_of_size: NDArray[np.int64], description: str) -> Figure:
    """Return figure 2 of the images with each number of labels, shape (longest + 1,); `description` as above."""
    return _figure(
        "labels-per-image",
        "Labels per image",
        description,
        lambda axes: draw_labels_per_image(axes, images_of_size),
    )


def _corners(images: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ranks (from 1) and images at which a descending curve changes visibly, not thousands of points."""
    steps = np.stack(
        [
            np.arange(len(images)) * _VISIBLE_STEPS // len(images),
            np.log2(images) / max(np.log2(float(images[0])), 1.0) * _VISIBLE_STEPS,
        ]
    ).astype(np.int64)
    moves = np.any(steps[:, 1:] != steps[:, :-1], axis=0)
    # Keep both ends of a run of equal values, so that a plateau stays flat.
    kept = np.flatnonzero(np.append(moves, [True]) | np.append([True], moves))
    return kept + 1, images[kept]


def _say_empty(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, "no images", transform=axes.transAxes, ha="center", va="center", color=_MUTED)


def _figure(name: str, title: str, description: str, draw: Callable[[Axes], None]) -> Figure:
    # Here and not above: importing matplotlib costs every other command half a second.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 - not pyplot, which keeps every figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own matplotlibrc must not change the bytes
        mpl.rcParams.update(_STYLE)
        mpl.rcParams["svg.hashsalt"] = name  # otherwise ids of clipping paths are random
        canvas = Canvas(figsize=_FIGURE_INCHES, layout="constrained")
        draw(canvas.subplots())
        canvas.draw_without_rendering()
        canvas.set_layout_engine("none")  # what is laid out once is saved thrice
        outlines = _saved(canvas, "svg", letters="path")
        return Figure(
            svg=outlines,
            png=_saved(canvas, "png", letters="path"),
            markup=_page_markup(name, title, description, _saved(canvas, "svg", letters="none").decode()),
        )


_STYLE: Any = {
    "font.family": ["DejaVu Sans"],  # part of matplotlib, so the letters are the same everywhere
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _GRID,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
}


def _saved(canvas: Canvas, form: str, *, letters: str) -> bytes:
    """Return a drawing in a file format; `letters` is matplotlib's svg.fonttype."""
    import matplotlib as mpl  # noqa: PLC0415 - as above

    file = io.BytesIO()
    undated = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    with mpl.rc_context({"svg.fonttype": letters}):
        ground = "none" if form == "svg" else "white"
        canvas.savefig(file, format=form, dpi=PNG_DOTS_PER_INCH, metadata=undated, facecolor=ground)
    return file.getvalue()


def _page_markup(name: str, title: str, description: str, svg: str) -> str:
    """Return a drawing as an accessible element of an HTML page, in the page's colours."""
    body = svg[svg.index("<svg") :].rstrip()
    opening, body = body.split(">", 1)
    view_box = re.search(r'viewBox="([^"]+)"', opening)
    assert view_box is not None
    # The drawing's style sheet would apply to the whole page.
    body = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", body, flags=re.DOTALL)
    # matplotlib uses the same group ids in every drawing, but a page must not repeat an id.
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = body.replace("font-family: 'DejaVu Sans'", "font-family: inherit")
    for colour, custom_property in _PROPERTY_OF_COLOUR.items():
        body = body.replace(colour, f"var({custom_property})")
    return (
        f'<svg class="figure" viewBox="{view_box[1]}" role="img" aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-description">{escape(description)}</desc>'
        f"{body}"
    )
