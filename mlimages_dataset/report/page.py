"""A build's report: one page that needs no network, and the two figures of Tencent ML-Images, section 3.3.

Names of categories and sources come from foreign files, so the templates escape all of them, and the page's content
security policy allows only its own scripts.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2
import numpy as np
from markupsafe import Markup

from mlimages_dataset.augment.annotation_counts import FATES
from mlimages_dataset.augment.cooccurrence import strong_pairs
from mlimages_dataset.augment.cooccurrence_stage import COOCCURRENCE, IMPLICATIONS_FILE, PAIR_COUNTS_FILE
from mlimages_dataset.augment.labels_stage import LABELS_STAGE
from mlimages_dataset.augment.statistics import TRAINABLE_IMAGES
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import NoSummary, Stage
from mlimages_dataset.report.examples import Example, credits_of_photographs, examples, thumbnail
from mlimages_dataset.report.figures import images_per_category, labels_per_image, ranking
from mlimages_dataset.report.reading import REPORT, mean_labels, report_content
from mlimages_dataset.sources.rejects import with_more
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import IMPLICATIONS, PAIR_COUNTS
from mlimages_dataset.vocab.folder import VOCABULARY, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.augment.cooccurrence import StrongPair
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.folder import OutputFolder
    from mlimages_dataset.pipeline.records import Manifest
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.report.content import ReportContent
    from mlimages_dataset.vocab.vocabulary import Vocabulary

REPORT_FILE = "report.html"
FIGURES_FOLDER = "figures"
_KILO = 1000


def report_stage(output: OutputFolder) -> Stage[NoSummary]:
    """Return the stage that writes the report of a folder whose other stages are done.

    Raises:
        UsageError: the folder lacks a stage that the report is about.
    """
    folder, stages = output.path, output.manifest.stages
    for needed in (VOCABULARY, LABELS_STAGE):
        if needed not in stages:
            raise UsageError(f"has no stage {needed}", where=folder, remedy="finish mlimages-build run first")

    def work(at: Workplace) -> StageResult[NoSummary]:
        vocabulary = read_vocabulary(folder / VOCABULARY)
        pairs = pairs_of_build(folder, output.manifest)
        pictured = examples(folder, output.manifest, vocabulary, pairs)
        return write_report(vocabulary, pairs, output.manifest, at.out, pictured)

    return Stage(
        name=REPORT,
        parameters={},
        inputs=told_of(output),
        work=work,
        summary=NoSummary,
        folders=("", FIGURES_FOLDER),
        beside=True,
    )


def told_of(output: OutputFolder) -> dict[str, str]:
    """Return the digest of each stage that a report describes: all except the report itself."""
    return {f"stage {stage}": output.content_digest(stage) for stage in output.manifest.stages if stage != REPORT}


def pairs_of_build(folder: Location, manifest: Manifest) -> list[StrongPair]:
    """Return the strong pairs of a build, those with the highest lower bound first; none if it did not search for any.

    Raises:
        UsageError, DataError: its tables are missing or damaged.
    """
    if COOCCURRENCE not in manifest.stages:
        return []
    where = folder / COOCCURRENCE
    implications = read_table(where / IMPLICATIONS_FILE, IMPLICATIONS)
    return strong_pairs(implications, read_table(where / PAIR_COUNTS_FILE, PAIR_COUNTS), where=where)


def write_report(
    vocabulary: Vocabulary,
    pairs: Sequence[StrongPair],
    manifest: Manifest,
    out: Location,
    pictured: Sequence[Example] = (),
) -> StageResult[NoSummary]:
    """Write the report page and the two figures, as SVG and PNG, into the folder `out`.

    Args:
        vocabulary: the build's vocabulary.
        pairs: its strong pairs, those with the highest lower bound first; none if it did not search for pairs.
        manifest: the records of its stages; that of an earlier report is ignored.
        out: the folder to write into.
        pictured: images to show first.

    Raises:
        DataError: a stage's summary does not have the form of this version, or is of another vocabulary.
    """
    content = report_content(vocabulary, pairs, manifest)
    figures = (
        images_per_category(ranking(content.train.images_of_class), _image_words(content)),
        labels_per_image(content.train.images_of_size, _label_words(content)),
    )
    of_categories, of_sizes = (figure.markup for figure in figures)
    page = render(content, of_categories, of_sizes, pictured)
    receipts = [write_bytes(out / REPORT_FILE, page.encode())]
    for name, figure in zip(("images_per_category", "labels_per_image"), figures, strict=True):
        receipts.append(write_bytes(out / FIGURES_FOLDER / f"{name}.svg", figure.svg))
        receipts.append(write_bytes(out / FIGURES_FOLDER / f"{name}.png", figure.png))
    return StageResult(tuple(receipts), NoSummary())


def render(content: ReportContent, image_figure: str, label_figure: str, pictured: Sequence[Example] = ()) -> str:
    """Return the page; the figures are markup of `figures`, `pictured` images to show first."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlimages_dataset.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "size": _size, "with_more": with_more}
    # Jinja escapes < > & and quotes in what `tojson` writes, so no name can end the script element.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    script = _template("report.js")
    return environment.get_template("report.html").render(
        content=content,
        examples=[_shown(one) for one in pictured],
        tree=asdict(content.tree),
        trainable_images=TRAINABLE_IMAGES,
        style=Markup(_template("report.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        image_figure=Markup(image_figure),  # noqa: S704 - matplotlib's drawing of numbers
        label_figure=Markup(label_figure),  # noqa: S704 - as above
        statement_fates=[fate for fate in FATES if fate.of_statements],
        image_fates=[
            fate
            for fate in FATES
            if not fate.of_statements
            and (not fate.rare or any(getattr(one.counts, fate.field) for one in content.sources))
        ],
        image_words=_image_words(content),
        label_words=_label_words(content),
    )


def _template(name: str) -> str:
    return (files("mlimages_dataset.report") / "templates" / name).read_text("utf-8")


def _shown(one: Example) -> dict[str, object]:
    """Return an image as the page shows it."""
    picture, width, height = thumbnail(one.picture)
    title, licence = credits_of_photographs().get(one.image_id, (one.image_id, ""))
    return {
        "id": one.image_id,
        "picture": picture,
        "width": width,
        "height": height,
        "title": title,
        "licence": licence,
        "stated": one.stated,
        "added": one.added,
    }


def _image_words(content: ReportContent) -> str:
    """Return figure 1 in words."""
    images = content.train.images_of_class
    with_images = int(np.count_nonzero(images))
    if not with_images:
        return "No category has a training image."
    return (
        f"{with_images:,} of {len(images):,} categories have training images, from {int(images.max()):,} down to "
        f"{int(images[images > 0].min()):,}; the mean over all categories is {_number(float(images.mean()))}."
    )


def _label_words(content: ReportContent) -> str:
    """Return figure 2 in words."""
    sizes = content.train.images_of_size
    if not sizes.any():
        return "There is no training image."
    return (
        f"Training images have from {int(np.flatnonzero(sizes)[0]):,} to {len(sizes) - 1:,} labels, on average "
        f"{_number(mean_labels(content.train))}; most often {int(sizes.argmax()):,}."
    )


def _number(value: float) -> str:
    """Return a count with separators, or a mean with two decimals."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _size(n_bytes: int) -> str:
    """Return a file size for people."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < _KILO:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= _KILO
    return f"{size:,.1f} TB"
