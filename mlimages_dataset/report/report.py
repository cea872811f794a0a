"""A build's report: one page that needs no network, and the two figures of Tencent ML-Images, section 3.3.

`report_content` makes values from values; `write_report` renders and writes them. Names of categories and sources come
from files of others: the templates escape every one of them, and the page's own policy lets no script run but ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import jinja2
import numpy as np
from markupsafe import Markup

from mlimages_dataset.augment.statistics import TRAINABLE_IMAGES, LabelStatistics
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.records import MANIFEST_NAME, StageResult, Summary
from mlimages_dataset.report.figures import images_per_category, labels_per_image, ranking
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.schemas import Origin
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, TENCENT, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.augment.cooccurrence import StrongPair
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import Json, Manifest
    from mlimages_dataset.vocab.vocabulary import Vocabulary

REPORT_FILE = "report.html"
FIGURES_FOLDER = "figures"
_VOCABULARY, _COOCCURRENCE, _LABELS, _REPORT = "vocabulary", "cooccurrence", "labels", "report"
_ANNOTATIONS = "annotations/"
_SHOWN_PAIRS = 25
_SHOWN_TEXTS = 5

_PUBLISHED_CLASSES = {
    (IMAGENET, "entered"): 11_221,
    (IMAGENET, Rule.DROPPED_ABSTRACT.value): 1_989,
    (IMAGENET, "kept as a new category"): 9_232,
    (f"{IMAGENET} (finer)", "kept as a new category"): 800,
    (OPEN_IMAGES, "kept as a new category"): 1_134,
    ("vocabulary", "categories"): 11_166,
}
"""Classes at steps of the funnel (Tencent ML-Images, section 3.1)."""


_STATEMENT_FATES = (
    ("labels", "labels", "became a label"),
    ("merged", "merged", "said a category once more of the same image"),
    ("contradicted", "contradicted", "said absent what another one verified as present"),
    ("below_confidence", "below confidence", "of a machine, below the least confidence asked for"),
    ("dropped", "dropped class", "of a class that the vocabulary left out"),
    ("unknown", "unknown class", "of a class that no class list has"),
    ("malformed", "malformed", "without image id or valid confidence"),
)
"""Field of `SourceRow`, name and explanation of what becomes of statements: each is in exactly one."""
_IMAGE_FATES = (
    ("images", "images", "with a label"),
    ("images_without_labels", "images lost", "every statement about them was"),
    ("rejected_rows", "rejected rows", "could not be read"),
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of ours beside the published one; None where nothing was published."""

    name: str
    ours: float
    published: float | None = None


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """How many classes of a source met one fate, and which share of those that entered; 0 where none did."""

    step: str
    classes: int
    share: float
    published: int | None


@dataclass(frozen=True, slots=True)
class Funnel:
    """The fates of one source's classes."""

    source: str
    rows: tuple[FunnelRow, ...]
    repeated_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Magnitude:
    """How many categories have from `lowest` to `highest` images."""

    lowest: int
    highest: int
    categories: int


@dataclass(frozen=True, slots=True)
class Group:
    """Categories of one root or one depth; `name` and `wnid` are the root's.

    Attributes:
        categories: their number.
        with_images: those with a training image.
        trainable: those with more than 100 training images.
        labels: present training labels of them.
        images: training images with the root; 0 for a depth, of which only labels are counted.
    """

    name: str
    wnid: str
    categories: int
    with_images: int
    trainable: int
    labels: int
    images: int


@dataclass(frozen=True, slots=True)
class OriginRow:
    """Present labels of one origin in both splits, and their share of all."""

    name: str
    train: int
    validation: int
    share: float


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What became of one annotated collection's statements; the names are those of `AnnotationCounts`."""

    name: str
    images: int
    labels: int
    merged: int
    below_confidence: int
    dropped: int
    unknown: int
    malformed: int
    contradicted: int
    images_without_labels: int
    rejected_rows: int
    first_rejected_rows: tuple[str, ...]
    most_frequent_unknown_classes: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """How consistent one collection's rows were before augmentation; the names are those of `Consistency.summary`.

    Attributes:
        most_missing: the ancestors that were missing most often, each as name, wnid and count.
    """

    name: str
    rows: int
    closed_rows: int
    monotone_rows: int
    missing_ancestors: int
    lower_ancestors: int
    most_missing: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """One strong co-occurrence: `support` of `images` annotated with the antecedent show the consequent."""

    antecedent: str
    antecedent_wnid: str
    consequent: str
    consequent_wnid: str
    probability: float
    support: int
    images: int
    lower_bound: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about the build; `stage` says where it was found."""

    stage: str
    text: str


@dataclass(frozen=True, slots=True)
class StageRow:
    """How a stage was run and what it wrote."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    files: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FileRow:
    """One written file; `rows` is -1 for one that is no table."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The categories as the page's browser reads them: one entry a category, in order of class index.

    Attributes:
        wnids, names: each category's.
        parents: class index of the primary parent, -1 at a root.
        other_parents: the parents but the primary one, for the class indices that have any.
        sources: position in `source_sets` of the set of sources.
        source_sets: the distinct sets of sources, as text.
        train, validation: images with the category in each split.
    """

    wnids: tuple[str, ...]
    names: tuple[str, ...]
    parents: tuple[int, ...]
    other_parents: dict[int, tuple[int, ...]]
    sources: tuple[int, ...]
    source_sets: tuple[str, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything that the page says.

    Attributes:
        compares: the recipe is that of Tencent ML-Images, so its published numbers stand beside ours.
        simulated: annotated collections whose names say that they are simulated.
        overview, image_measures, label_measures, hierarchy_measures: numbers by section.
        train, validation: statistics of the two splits.
    """

    compares: bool
    simulated: tuple[str, ...]
    overview: tuple[Measure, ...]
    funnels: tuple[Funnel, ...]
    image_measures: tuple[Measure, ...]
    magnitudes: tuple[Magnitude, ...]
    label_measures: tuple[Measure, ...]
    hierarchy_measures: tuple[Measure, ...]
    roots: tuple[Group, ...]
    depths: tuple[Group, ...]
    origins: tuple[OriginRow, ...]
    sources: tuple[SourceRow, ...]
    audits: tuple[AuditRow, ...]
    pairs: tuple[Pair, ...]
    n_pairs: int
    findings: tuple[Finding, ...]
    stages: tuple[StageRow, ...]
    files: tuple[FileRow, ...]
    tree: Tree
    train: LabelStatistics
    validation: LabelStatistics


def write_report(vocabulary: Vocabulary, pairs: Sequence[StrongPair], manifest: Manifest, out: Location) -> StageResult:
    """Write the report page and the two figures, as SVG and PNG, into the folder `out`.

    Args:
        vocabulary: the build's vocabulary.
        pairs: its strong pairs, the surest first; none where it looked for none.
        manifest: its stages' records; that of an earlier report is passed over.
        out: the folder to write into.

    Raises:
        DataError: a stage's summary is not what this version writes, or is about another vocabulary.
    """
    content = report_content(vocabulary, pairs, manifest)
    figures = (
        images_per_category(ranking(content.train.images_of_class), _image_words(content)),
        labels_per_image(content.train.images_of_size, _label_words(content)),
    )
    page = render(content, *(figure.markup for figure in figures))
    receipts = [write_bytes(out / REPORT_FILE, page.encode())]
    for name, figure in zip(("images_per_category", "labels_per_image"), figures, strict=True):
        receipts.append(write_bytes(out / FIGURES_FOLDER / f"{name}.svg", figure.svg))
        receipts.append(write_bytes(out / FIGURES_FOLDER / f"{name}.png", figure.png))
    return StageResult(tuple(receipts))


def report_content(vocabulary: Vocabulary, pairs: Sequence[StrongPair], manifest: Manifest) -> ReportContent:
    """Return what the page says; arguments and errors as `write_report`."""
    summaries = {name: Summary(name, record.summary) for name, record in manifest.stages.items() if name != _REPORT}
    train, validation = _splits(summaries.get(_LABELS), len(vocabulary))
    compares = _is_ml_images(vocabulary)
    sources = tuple(_source(name, one) for name, one in summaries.items() if name.startswith(_ANNOTATIONS))
    audits = tuple(_audits(summaries.get(_LABELS), vocabulary))
    return ReportContent(
        compares=compares,
        simulated=tuple(_source_name(stage) for stage in summaries if _is_simulated(stage)),
        overview=_overview(vocabulary, train, validation),
        funnels=_funnels(summaries.get(_VOCABULARY)),
        image_measures=_image_measures(train),
        magnitudes=_magnitudes(train.images_of_class),
        label_measures=_label_measures(train),
        hierarchy_measures=_hierarchy_measures(vocabulary),
        roots=_roots(vocabulary, train.images_of_class),
        depths=_depths(vocabulary, train.images_of_class),
        origins=_origins(train, validation),
        sources=sources,
        audits=audits,
        pairs=tuple(_named(pair, vocabulary) for pair in pairs[:_SHOWN_PAIRS]),
        n_pairs=len(pairs),
        findings=(
            *_source_findings(sources),
            *_audit_findings(audits),
            *_label_findings(summaries.get(_LABELS), train, validation),
        ),
        stages=tuple(_stages(manifest)),
        files=tuple(
            FileRow(path, record.rows, record.bytes, record.sha256)
            for path, record in sorted(manifest.files.items())
            if path not in _report_files(manifest)
        ),
        tree=_tree(vocabulary, train, validation),
        train=train,
        validation=validation,
    )


def render(content: ReportContent, image_figure: str, label_figure: str) -> str:
    """Return the page; the figures are markup of `figures`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mlimages_dataset.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "size": _size}
    # Jinja escapes < > & and quotes in what `tojson` writes, so no name can end the script element.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False}
    script = _template("report.js")
    return environment.get_template("report.html").render(
        content=content,
        tree=asdict(content.tree),
        trainable_images=TRAINABLE_IMAGES,
        style=Markup(_template("report.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        image_figure=Markup(image_figure),  # noqa: S704 - matplotlib's drawing of numbers
        label_figure=Markup(label_figure),  # noqa: S704 - as above
        statement_fates=_STATEMENT_FATES,
        image_fates=_IMAGE_FATES,
        image_words=_image_words(content),
        label_words=_label_words(content),
    )


def _template(name: str) -> str:
    return (files("mlimages_dataset.report") / "templates" / name).read_text("utf-8")


def _is_ml_images(vocabulary: Vocabulary) -> bool:
    """Return whether the classes are those that Tencent ML-Images merged: ImageNet's and Open Images', or its own."""
    sources = {row.source for row in vocabulary.mapping}
    return TENCENT in sources or {IMAGENET, OPEN_IMAGES} <= sources


def _source_name(stage: str) -> str:
    return stage.removeprefix(_ANNOTATIONS)


def _is_simulated(stage: str) -> bool:
    return stage.startswith(_ANNOTATIONS) and "simulated" in stage


def _splits(summary: Summary | None, n_classes: int) -> tuple[LabelStatistics, LabelStatistics]:
    """Return the statistics of the training and the validation images."""
    if summary is None:
        return LabelStatistics.empty(n_classes), LabelStatistics.empty(n_classes)
    return _statistics(summary.part("train"), n_classes), _statistics(summary.part("val"), n_classes)


def _statistics(summary: Summary, n_classes: int) -> LabelStatistics:
    origins = summary.part("labels_of_origin")
    return LabelStatistics(
        images=summary.integer("images"),
        absent=summary.integer("absent_labels"),
        images_of_class=summary.integers("images_of_class", n_classes),
        images_of_size=summary.integers("images_of_size"),
        labels_of_origin=np.array([origins.integer(origin.name.lower()) for origin in Origin], np.int64),
    )


def _overview(vocabulary: Vocabulary, train: LabelStatistics, validation: LabelStatistics) -> tuple[Measure, ...]:
    return (
        Measure("categories", len(vocabulary), 11_166),
        Measure("training images", train.images, 17_609_752),
        Measure("validation images", validation.images, 88_739),
        Measure("training labels", train.labels),
        Measure("labels per image", _mean_labels(train), 8.72),
        Measure("trainable categories", _n_trainable(train.images_of_class), 10_505),
    )


def _image_measures(train: LabelStatistics) -> tuple[Measure, ...]:
    images = train.images_of_class
    return (
        Measure("images of the largest category", int(images.max(initial=0)), 13_217_523),
        Measure("mean images per category", float(images.mean()) if len(images) else 0.0, 13_843),
        Measure("images of the smallest category", int(images.min()) if len(images) else 0, 0),
        Measure("categories with images", int(np.count_nonzero(images))),
        Measure(f"trainable categories (more than {TRAINABLE_IMAGES} images)", _n_trainable(images), 10_505),
    )


def _label_measures(train: LabelStatistics) -> tuple[Measure, ...]:
    sizes = np.flatnonzero(train.images_of_size)
    return (
        Measure("mean labels per image", _mean_labels(train), 8.72),
        Measure("fewest labels of an image", int(sizes[0]) if len(sizes) else 0, 1),
        Measure("most labels of an image", int(sizes[-1]) if len(sizes) else 0, 91),
        Measure("present labels", train.labels),
        Measure("verified-absent labels", train.absent),
    )


def _hierarchy_measures(vocabulary: Vocabulary) -> tuple[Measure, ...]:
    depths = [category.depth for category in vocabulary.categories]
    inner = {parent for category in vocabulary.categories for parent in category.parents}
    return (
        Measure("roots", sum(category.parent < 0 for category in vocabulary.categories), 4),
        Measure("longest path from a root, in edges", max(depths, default=0), 16),
        Measure("mean depth, in edges", sum(depths) / len(depths) if depths else 0.0, 7.47),
        Measure("leaves", len(vocabulary) - len(inner)),
        Measure(
            "categories with more than one parent", sum(len(category.parents) > 1 for category in vocabulary.categories)
        ),
        Measure("pairs of category and ancestor", vocabulary.closure.nnz - len(vocabulary)),
    )


def _mean_labels(statistics: LabelStatistics) -> float:
    return statistics.labels / statistics.images if statistics.images else 0.0


def _n_trainable(images_of_class: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(images_of_class > TRAINABLE_IMAGES))


def _funnels(summary: Summary | None) -> tuple[Funnel, ...]:
    if summary is None:
        return ()
    steps: dict[str, list[tuple[str, int]]] = {}
    for (source, step), classes in summary.counted("funnel"):
        steps.setdefault(source, []).append((step, classes))
    repeated = summary.named_texts("repeated_ids")
    return tuple(
        Funnel(source, tuple(_funnel_rows(source, rows)), repeated.get(source, ())) for source, rows in steps.items()
    )


def _funnel_rows(source: str, rows: Sequence[tuple[str, int]]) -> Iterator[FunnelRow]:
    entered = dict(rows).get("entered", 0)
    for step, classes in rows:
        share = classes / entered if entered else 0.0
        yield FunnelRow(step, classes, share, _PUBLISHED_CLASSES.get((source, step)))


def _magnitudes(images_of_class: NDArray[np.int64]) -> tuple[Magnitude, ...]:
    """Return the categories without images, then those of each power of two."""
    powers = np.frexp(images_of_class.astype(np.float64))[1]  # 0 for 0, 1 for 1, 2 for 2 and 3, ...
    counts = np.bincount(powers).tolist() if len(powers) else [0]
    rest = (Magnitude(1 << (power - 1), (1 << power) - 1, counts[power]) for power in range(1, len(counts)))
    return (Magnitude(0, 0, counts[0]), *rest)


def _group(indices: Sequence[int], images_of_class: NDArray[np.int64], name: str, root: int, wnid: str) -> Group:
    images = images_of_class[np.asarray(indices, np.int64)]
    return Group(
        name=name,
        wnid=wnid,
        categories=len(indices),
        with_images=int(np.count_nonzero(images)),
        trainable=_n_trainable(images),
        labels=int(images.sum()),
        images=int(images_of_class[root]) if root >= 0 else 0,
    )


def _roots(vocabulary: Vocabulary, images_of_class: NDArray[np.int64]) -> tuple[Group, ...]:
    members: dict[int, list[int]] = {}
    for index, category in enumerate(vocabulary.categories):
        members.setdefault(category.root, []).append(index)
    return tuple(
        _group(members[root], images_of_class, vocabulary.categories[root].name, root, vocabulary.categories[root].wnid)
        for root in sorted(members)
    )


def _depths(vocabulary: Vocabulary, images_of_class: NDArray[np.int64]) -> tuple[Group, ...]:
    members: dict[int, list[int]] = {}
    for index, category in enumerate(vocabulary.categories):
        members.setdefault(category.depth, []).append(index)
    return tuple(_group(members[depth], images_of_class, str(depth), -1, "") for depth in sorted(members))


_ORIGIN_NAMES = {
    Origin.ORIGINAL: "original annotation",
    Origin.ANCESTOR: "ancestor of a label",
    Origin.CO_OCCURRENCE: "co-occurrence",
    Origin.MODEL_PREDICTION: "model prediction",
}


def _origins(train: LabelStatistics, validation: LabelStatistics) -> tuple[OriginRow, ...]:
    total = train.labels + validation.labels
    rows = zip(
        _ORIGIN_NAMES.values(), train.labels_of_origin.tolist(), validation.labels_of_origin.tolist(), strict=True
    )
    return tuple(OriginRow(name, a, b, (a + b) / total if total else 0.0) for name, a, b in rows)


def _source(stage: str, summary: Summary) -> SourceRow:
    return SourceRow(
        name=_source_name(stage),
        images=summary.integer("images"),
        labels=summary.integer("labels"),
        merged=summary.integer("merged"),
        below_confidence=summary.integer("below_confidence"),
        dropped=summary.integer("dropped"),
        unknown=summary.integer("unknown"),
        malformed=summary.integer("malformed"),
        contradicted=summary.integer("contradicted"),
        images_without_labels=summary.integer("images_without_labels"),
        rejected_rows=summary.integer("rejected_rows"),
        first_rejected_rows=summary.texts("first_rejected_rows")[:_SHOWN_TEXTS],
        most_frequent_unknown_classes=tuple(
            (class_id, n) for (class_id, *_), n in summary.counted("most_frequent_unknown_classes")[:_SHOWN_TEXTS]
        ),
    )


def _named(pair: StrongPair, vocabulary: Vocabulary) -> Pair:
    if max(pair.antecedent, pair.consequent) >= len(vocabulary):
        raise DataError("the implications are of another vocabulary", remedy="build the folder again")
    antecedent, consequent = vocabulary.categories[pair.antecedent], vocabulary.categories[pair.consequent]
    return Pair(
        antecedent=antecedent.name,
        antecedent_wnid=antecedent.wnid,
        consequent=consequent.name,
        consequent_wnid=consequent.wnid,
        probability=pair.probability,
        support=pair.support,
        images=pair.images,
        lower_bound=pair.lower_bound,
    )


def _audits(labels: Summary | None, vocabulary: Vocabulary) -> Iterator[AuditRow]:
    """Yield what the labels stage found in each collection's rows."""
    if labels is None or "annotations_audit" not in labels.content:
        return
    every = labels.part("annotations_audit")
    for name in every.content:
        one = every.part(name)
        yield AuditRow(
            name=name,
            rows=one.integer("rows"),
            closed_rows=one.integer("closed_rows"),
            monotone_rows=one.integer("monotone_rows"),
            missing_ancestors=one.integer("missing_ancestors"),
            lower_ancestors=one.integer("lower_ancestors"),
            most_missing=tuple(_named_counts(one.counted("most_missing"), vocabulary)),
        )


def _named_counts(
    counts: Sequence[tuple[tuple[str, ...], int]], vocabulary: Vocabulary
) -> Iterator[tuple[str, str, int]]:
    for (wnid, *_), n in counts:
        if wnid not in vocabulary.index_of_wnid:
            raise DataError(f"{wnid} is of another vocabulary", where=MANIFEST_NAME, remedy="build the folder again")
        yield vocabulary.categories[vocabulary.index_of_wnid[wnid]].name, wnid, n


def _source_findings(sources: Sequence[SourceRow]) -> Iterator[Finding]:
    for source in sources:
        stage = f"{_ANNOTATIONS}{source.name}"
        if source.rejected_rows:
            yield Finding(stage, f"{source.rejected_rows:,} rows could not be read and were left out")
        if source.malformed:
            yield Finding(stage, f"{source.malformed:,} statements have no image id or no valid confidence")
        if source.unknown:
            most = ", ".join(f"{class_id} ({n:,})" for class_id, n in source.most_frequent_unknown_classes)
            yield Finding(
                stage, f"{source.unknown:,} statements are of classes in no class list" + (f": {most}" if most else "")
            )
        if source.contradicted:
            yield Finding(
                stage,
                f"{source.contradicted:,} statements say absent what another one verified as present: kept present",
            )


def _audit_findings(audits: Sequence[AuditRow]) -> Iterator[Finding]:
    for audit in audits:
        if lower := audit.rows - audit.monotone_rows:
            yield Finding(
                _LABELS,
                f"{lower:,} rows of {audit.name} gave an ancestor a lower confidence than a label below it: raised",
            )


def _label_findings(labels: Summary | None, train: LabelStatistics, validation: LabelStatistics) -> Iterator[Finding]:
    if labels is not None:
        if conflicts := labels.integer("conflicts"):
            yield Finding(
                _LABELS,
                f"{conflicts:,} verified absences are contradicted by a present descendant: kept present",
            )
        if blocked := labels.integer("blocked_implications"):
            yield Finding(_LABELS, f"{blocked:,} co-occurrences were not added: verified absent in the image")
        if (asked := labels.integer("validation_images_asked")) > validation.images:
            yield Finding(
                _LABELS, f"only {validation.images:,} of {asked:,} validation images: the quota allows no more"
            )
    if train.images and (without := int(np.count_nonzero(train.images_of_class == 0))):
        yield Finding(_LABELS, f"{without:,} categories have no training image")


def _stages(manifest: Manifest) -> Iterator[StageRow]:
    for name, record in manifest.stages.items():
        if name == _REPORT:
            continue
        written = [manifest.files[path] for path in record.outputs if path in manifest.files]
        yield StageRow(
            name=name,
            parameters=tuple((key, _plain(value)) for key, value in record.parameters.items()),
            files=len(written),
            rows=sum(max(file.rows, 0) for file in written),
            bytes=sum(file.bytes for file in written),
        )


def _report_files(manifest: Manifest) -> frozenset[str]:
    return frozenset(manifest.stages[_REPORT].outputs) if _REPORT in manifest.stages else frozenset()


def _plain(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tree(vocabulary: Vocabulary, train: LabelStatistics, validation: LabelStatistics) -> Tree:
    categories = vocabulary.categories
    source_sets = list(dict.fromkeys(", ".join(category.sources) for category in categories))
    position = {text: at for at, text in enumerate(source_sets)}
    others = {
        index: tuple(parent for parent in category.parents if parent != category.parent)
        for index, category in enumerate(categories)
        if len(category.parents) > 1
    }
    return Tree(
        wnids=tuple(category.wnid for category in categories),
        names=tuple(category.name for category in categories),
        parents=tuple(category.parent for category in categories),
        other_parents=others,
        sources=tuple(position[", ".join(category.sources)] for category in categories),
        source_sets=tuple(source_sets),
        train=tuple(train.images_of_class.tolist()),
        validation=tuple(validation.images_of_class.tolist()),
    )


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
        f"{_number(_mean_labels(content.train))}; most often {int(sizes.argmax()):,}."
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


_KILO = 1000
