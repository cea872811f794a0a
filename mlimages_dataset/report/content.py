"""The content of a build's report as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlimages_dataset.augment.annotation_counts import AnnotationSummary
    from mlimages_dataset.augment.audit import AuditedRows
    from mlimages_dataset.augment.statistics import LabelStatistics


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of this build and the published one, None if nothing was published."""

    name: str
    ours: float
    published: float | None = None


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """The number of a source's classes with one outcome, and their share of all its classes (0 if it has none)."""

    step: str
    classes: int
    share: float
    published: int | None


@dataclass(frozen=True, slots=True)
class Funnel:
    """The outcomes of one source's classes."""

    source: str
    rows: tuple[FunnelRow, ...]
    repeated_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Magnitude:
    """The number of categories that have from `lowest` to `highest` images."""

    lowest: int
    highest: int
    categories: int


@dataclass(frozen=True, slots=True)
class Group:
    """Categories of one root or one depth; `name` and `wnid` are the root's.

    Attributes:
        categories: number of categories.
        with_images: number of categories with a training image.
        trainable: number of categories with more than 100 training images.
        labels: number of their present training labels.
        images: training images with the root; 0 for a depth, for which only labels are counted.
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
    """What became of one collection's statements, with the first examples of each kind."""

    name: str
    counts: AnnotationSummary


@dataclass(frozen=True, slots=True)
class AuditRow:
    """The consistency of one collection's rows before augmentation.

    Attributes:
        name: the collection's name.
        counts: the counts.
        most_missing: the most often missing ancestors, each as name, wnid and count.
    """

    name: str
    counts: AuditedRows
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


class FindingKind(enum.Enum):
    """What a finding is about."""

    NO_TRAINING_IMAGE = "categories that no training image has"
    CLASSES = "classes of a list"
    IMAGES = "images of a collection"
    OTHER = "anything else"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact that readers of the report should know.

    Attributes:
        stage: the stage that found it.
        text: the fact as a sentence.
        source: the collection or class list that it is about; empty if it is about no one alone.
        kind: what it is about, if rows or categories show it.
    """

    stage: str
    text: str
    source: str = ""
    kind: FindingKind = FindingKind.OTHER


@dataclass(frozen=True, slots=True)
class StageRow:
    """The parameters of a stage and its output."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    files: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FileRow:
    """One written file; `rows` is -1 if it is not a table."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Tree:
    """The categories for the page's tree browser: one entry per category, in order of class index.

    Attributes:
        wnids, names: those of each category.
        parents: class index of the primary parent, -1 at a root.
        other_parents: the parents except the primary one, for the class indices that have any.
        sources: position of each category's set of sources in `source_sets`.
        source_sets: the distinct sets of sources, as text.
        train, validation: number of images with each category in each split.
        absent, unknown: number of training images without each category as somebody verified, and of which nobody
            says.
    """

    wnids: tuple[str, ...]
    names: tuple[str, ...]
    parents: tuple[int, ...]
    other_parents: dict[int, tuple[int, ...]]
    sources: tuple[int, ...]
    source_sets: tuple[str, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]
    absent: tuple[int, ...]
    unknown: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """The whole content of the page.

    Attributes:
        compares: whether the recipe is that of Tencent ML-Images, so that published numbers are shown for comparison.
        simulated: annotated collections whose names say that they are simulated.
        decisions: what of the class lists needs a user's decision, as sentences.
        overview, image_measures, label_measures, hierarchy_measures: numbers by section.
        train, validation: statistics of the two splits.
    """

    compares: bool
    simulated: tuple[str, ...]
    decisions: tuple[Finding, ...]
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
