"""What a build's report says: values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlimages_dataset.augment.annotation_counts import AnnotationSummary
    from mlimages_dataset.augment.audit import AuditedRows
    from mlimages_dataset.augment.statistics import LabelStatistics


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
    """What became of one annotated collection's statements, with the first examples of each kind."""

    name: str
    counts: AnnotationSummary


@dataclass(frozen=True, slots=True)
class AuditRow:
    """How consistent one collection's rows were before augmentation.

    Attributes:
        name: the collection's.
        counts: the counts.
        most_missing: the ancestors that were missing most often, each as name, wnid and count.
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
    """The categories as the page's browser reads them: one entry per category, in order of class index.

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
