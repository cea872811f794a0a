"""Computes the content of the report from a build's vocabulary, strong pairs and manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER
from mlimages_dataset.augment.annotation_counts import AnnotationSummary, shown_class
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, LabelsSummary
from mlimages_dataset.augment.statistics import TRAINABLE_IMAGES, LabelStatistics
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.records import summary_of
from mlimages_dataset.report.content import (
    AuditRow,
    FileRow,
    Finding,
    FindingKind,
    Funnel,
    FunnelRow,
    Group,
    Magnitude,
    Measure,
    OriginRow,
    Pair,
    ReportContent,
    SourceRow,
    StageRow,
    Tree,
)
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import Origin
from mlimages_dataset.vocab.folder import VOCABULARY
from mlimages_dataset.vocab.stage import VocabularySummary
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, TENCENT, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.augment.cooccurrence import StrongPair
    from mlimages_dataset.augment.statistics import SplitSummary
    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.pipeline.records import Manifest, StageRecord
    from mlimages_dataset.vocab.vocabulary import Vocabulary

REPORT = "report"
_ANNOTATIONS = f"{ANNOTATIONS_FOLDER}/"
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


def report_content(vocabulary: Vocabulary, pairs: Sequence[StrongPair], manifest: Manifest) -> ReportContent:
    """Return the content of the page; arguments and errors as for `page.write_report`."""
    records = {name: record for name, record in manifest.stages.items() if name != REPORT}
    labels = summary_of(LABELS_STAGE, records[LABELS_STAGE], LabelsSummary) if LABELS_STAGE in records else None
    train, validation = _splits(labels, len(vocabulary))
    sources = tuple(_source(name, one) for name, one in records.items() if name.startswith(_ANNOTATIONS))
    audits = tuple(_audits(labels, vocabulary))
    return ReportContent(
        compares=_is_ml_images(vocabulary),
        simulated=tuple(_source_name(stage) for stage in records if _is_simulated(stage)),
        overview=_overview(vocabulary, train, validation),
        decisions=_decisions(records.get(VOCABULARY)),
        funnels=_funnels(records.get(VOCABULARY)),
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
            *_label_findings(labels, train),
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


def _is_ml_images(vocabulary: Vocabulary) -> bool:
    """Return whether the classes are those that Tencent ML-Images merged: ImageNet's and Open Images', or its own."""
    sources = {row.source for row in vocabulary.mapping}
    return TENCENT in sources or {IMAGENET, OPEN_IMAGES} <= sources


def _source_name(stage: str) -> str:
    return stage.removeprefix(_ANNOTATIONS)


def _is_simulated(stage: str) -> bool:
    return stage.startswith(_ANNOTATIONS) and "simulated" in stage


def _splits(labels: LabelsSummary | None, n_classes: int) -> tuple[LabelStatistics, LabelStatistics]:
    """Return the statistics of the training and the validation images."""
    if labels is None:
        return LabelStatistics.empty(n_classes), LabelStatistics.empty(n_classes)
    return _statistics(labels.train, n_classes), _statistics(labels.val, n_classes)


def _statistics(split: SplitSummary, n_classes: int) -> LabelStatistics:
    is_of_classes = {len(split.images_of_class), len(split.absent_of_class)} == {n_classes}
    if not is_of_classes or {*split.labels_of_origin} != {one.name.lower() for one in Origin}:
        raise DataError(
            "the labels belong to another vocabulary or version", where=MANIFEST_NAME, remedy="build the folder again"
        )
    return split.statistics()


def _overview(vocabulary: Vocabulary, train: LabelStatistics, validation: LabelStatistics) -> tuple[Measure, ...]:
    return (
        Measure("categories", len(vocabulary), 11_166),
        Measure("training images", train.images, 17_609_752),
        Measure("validation images", validation.images, 88_739),
        Measure("training labels", train.labels),
        Measure("labels per image", mean_labels(train), 8.72),
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
        Measure("mean labels per image", mean_labels(train), 8.72),
        Measure("fewest labels of an image", int(sizes[0]) if len(sizes) else 0, 1),
        Measure("most labels of an image", int(sizes[-1]) if len(sizes) else 0, 91),
        Measure("present labels", train.labels),
        Measure("verified-absent labels", train.absent),
        Measure("categories that some image verifiably lacks", int(np.count_nonzero(train.absent_of_class))),
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


def mean_labels(statistics: LabelStatistics) -> float:
    """Return the mean number of present labels of an image, 0 without images."""
    return statistics.labels / statistics.images if statistics.images else 0.0


def _n_trainable(images_of_class: NDArray[np.int64]) -> int:
    return int(np.count_nonzero(images_of_class > TRAINABLE_IMAGES))


def _funnels(record: StageRecord | None) -> tuple[Funnel, ...]:
    if record is None:
        return ()
    summary = summary_of(VOCABULARY, record, VocabularySummary)
    steps: dict[str, list[tuple[str, int]]] = {}
    for source, step, classes in summary.funnel:
        steps.setdefault(source, []).append((step, classes))
    return tuple(
        Funnel(source, tuple(_funnel_rows(source, rows)), summary.repeated_ids.get(source, ()))
        for source, rows in steps.items()
    )


def _decisions(record: StageRecord | None) -> tuple[Finding, ...]:
    if record is None:
        return ()
    summary = summary_of(VOCABULARY, record, VocabularySummary)
    told = [*summary.findings_by_source(), *((one.source, f"{one.source}: {one.sentence}") for one in summary.doubts)]
    return tuple(Finding(VOCABULARY, text, source, FindingKind.CLASSES) for source, text in told)


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


def _origins(train: LabelStatistics, validation: LabelStatistics) -> tuple[OriginRow, ...]:
    total = train.labels + validation.labels
    rows = zip(Origin, train.labels_of_origin.tolist(), validation.labels_of_origin.tolist(), strict=True)
    return tuple(OriginRow(origin.words, a, b, (a + b) / total if total else 0.0) for origin, a, b in rows)


def _source(stage: str, record: StageRecord) -> SourceRow:
    counts = summary_of(stage, record, AnnotationSummary)
    return SourceRow(
        _source_name(stage),
        replace(
            counts,
            first_rejected_rows=counts.first_rejected_rows[:_SHOWN_TEXTS],
            first_malformed=counts.first_malformed[:_SHOWN_TEXTS],
            most_frequent_unknown_classes=tuple(
                (shown_class(name), n) for name, n in counts.most_frequent_unknown_classes[:_SHOWN_TEXTS]
            ),
        ),
    )


def _named(pair: StrongPair, vocabulary: Vocabulary) -> Pair:
    if max(pair.antecedent, pair.consequent) >= len(vocabulary):
        raise DataError("the implications belong to another vocabulary", remedy="build the folder again")
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


def _audits(labels: LabelsSummary | None, vocabulary: Vocabulary) -> Iterator[AuditRow]:
    """Yield the audit of each collection's rows by the labels stage."""
    for name, counts in labels.annotations_audit.items() if labels is not None else ():
        yield AuditRow(name, counts, tuple(_named_counts(counts.most_missing, vocabulary)))


def _named_counts(counts: Sequence[tuple[str, int]], vocabulary: Vocabulary) -> Iterator[tuple[str, str, int]]:
    for wnid, n in counts:
        if wnid not in vocabulary.index_of_wnid:
            raise DataError(
                f"{wnid} belongs to another vocabulary", where=MANIFEST_NAME, remedy="build the folder again"
            )
        yield vocabulary.categories[vocabulary.index_of_wnid[wnid]].name, wnid, n


def _source_findings(sources: Sequence[SourceRow]) -> Iterator[Finding]:
    for source in sources:
        for text in source.counts.findings():
            yield Finding(f"{_ANNOTATIONS}{source.name}", text, source.name, FindingKind.IMAGES)


def _audit_findings(audits: Sequence[AuditRow]) -> Iterator[Finding]:
    for audit in audits:
        if lower := audit.counts.rows - audit.counts.monotone_rows:
            yield Finding(
                LABELS_STAGE,
                f"{lower:,} rows of {audit.name} gave an ancestor a lower confidence than its descendant: raised",
                audit.name,
                FindingKind.IMAGES,
            )


def _label_findings(labels: LabelsSummary | None, train: LabelStatistics) -> Iterator[Finding]:
    for text in labels.findings() if labels is not None else ():
        yield Finding(LABELS_STAGE, text)
    if train.images and (without := int(np.count_nonzero(train.images_of_class == 0))):
        text = f"{without:,} categories have no training image"
        yield Finding(LABELS_STAGE, text, kind=FindingKind.NO_TRAINING_IMAGE)


def _stages(manifest: Manifest) -> Iterator[StageRow]:
    for name, record in manifest.stages.items():
        if name == REPORT:
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
    return frozenset(manifest.stages[REPORT].outputs) if REPORT in manifest.stages else frozenset()


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
        absent=tuple(train.absent_of_class.tolist()),
        unknown=tuple(train.unknown_of_class.tolist()),
    )
