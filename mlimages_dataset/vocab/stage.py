"""The vocabulary stage. Besides `folder`, no other module of this package names paths, reads or writes."""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Mapping  # noqa: TC003 - the decoder reads it
from dataclasses import dataclass, field, replace
from pathlib import Path  # noqa: TC003 - the decoder reads it
from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.core.config import check_at_least
from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.errors import DataError, VocabularyError
from mlimages_dataset.core.locations import Location, reason
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.sources.class_files import class_files_digest, classes_of_files, is_annotation_file
from mlimages_dataset.sources.class_lists import (
    classes_of_table,
    parse_box_hierarchy,
    parse_class_table,
    parse_imagenet_synsets,
    parse_open_images_classes,
    parse_release_status,
    parse_tencent_dictionary,
)
from mlimages_dataset.sources.huggingface import huggingface_classes
from mlimages_dataset.sources.picture_tables import names_classes
from mlimages_dataset.tables.files import digests, prefixed, read_lines
from mlimages_dataset.tables.parquet import open_parquet, read_table
from mlimages_dataset.tables.schemas import CLASS_COUNTS
from mlimages_dataset.vocab.corrections import Renamed, corrected
from mlimages_dataset.vocab.disagreements import disagreements
from mlimages_dataset.vocab.doubts import Doubts, doubts
from mlimages_dataset.vocab.findings import (
    WHY_BARE,
    DecisionChanges,
    Loss,
    bare_categories,
    changes,
    first_ones,
    funnel,
    losses,
    refuse_one_id_of_several,
    repeated_ids,
    under_stated,
    unlisted,
)
from mlimages_dataset.vocab.folder import VOCABULARY, place_of, write_tables
from mlimages_dataset.vocab.merging import (
    ClassList,
    merged_vocabulary,
    vocabulary_from_tencent,
)
from mlimages_dataset.vocab.packaged import PACKAGED_CLASS_LISTS, packaged_class_list, packaged_imagenet
from mlimages_dataset.vocab.readings import packaged_decisions
from mlimages_dataset.vocab.reviewed import Reviewed, parse_reviewed
from mlimages_dataset.vocab.validation import validate
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, USUAL_MINIMUM, Ancestors, Rule, Vocabulary
from mlimages_dataset.vocab.wordnet import NOUN_FILES, load_wordnet

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.sources.classes import SourceClass

_UNCOUNTED = (
    "its classes need a least number of images, but no image counts (--image-counts of vocab, or image_counts in a "
    "recipe) are of this list: none of them is dropped for it"
)
_STRANGE_COUNTS = "the source of image counts, but no class list: they are not used; check their column source"
SHOWN_LOSSES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyFiles:
    """The files a vocabulary is built from.

    Attributes:
        imagenet: ImageNet synset list.
        open_images: Open Images class list.
        finer: synset list from which refinements of kept categories are taken.
        classes: a user's own class lists by source name: CSV, tab-separated or Parquet, with the columns id and name;
            or annotations whose classes are taken (COCO, CVAT, or a file or folder of VOC, LabelMe or YOLO; Hugging
            Face Parquet files or a folder of them, whose metadata name the classes).
        corrections: names of those class lists whose classes replace the ones with their ids in all other lists; the
            last of them wins.
        image_counts: images per class: `class_counts` tables, CSV files of source,source_id,images, or ImageNet's
            ``ReleaseStatus.xml``.
        box_hierarchy: Open Images' hierarchy of box classes.
        reviewed: reviewed decisions besides the packaged ones, over which they win.
        reviewed_only: the packaged decisions do not count.
        ancestors: which ancestors are categories; by default those of a user's own classes only.
        attach: a class of one's own whose name is no noun of WordNet is kept as what other collections take it for a
            kind of, else as its head word.
        narrower: classes that WordNet has no noun for (of any list: by reviewed decision, parent, other collections or
            head word) are categories of their own below their nearest parent, instead of being kept as that parent.
        wordnet: WordNet 3.0 folder; None for the packaged nouns.
        minimum_images: images that a class needs, by source, if counts are known.
    """

    imagenet: Location | None = None
    open_images: Location | None = None
    finer: Location | None = None
    classes: tuple[tuple[str, Location], ...] = ()
    corrections: tuple[str, ...] = ()
    image_counts: tuple[Location, ...] = ()
    box_hierarchy: Location | None = None
    reviewed: Location | None = None
    reviewed_only: bool = False
    ancestors: Ancestors | None = None
    attach: bool = False
    narrower: bool = False
    wordnet: Path | None = None
    minimum_images: tuple[tuple[str, int], ...] = tuple(USUAL_MINIMUM.items())

    def __post_init__(self) -> None:
        if not all(name.strip() for name, _ in self.classes):
            raise ValueError("classes has an empty name")
        for name, images in self.minimum_images:
            check_at_least(f"minimum_images.{name}", images, 0)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each file by its role, including WordNet's.

        Raises:
            UsageError: a file cannot be read.
        """
        roles: dict[str, Sequence[Location | None]] = {
            "imagenet": [self.imagenet],
            "finer": [self.finer],
            "open-images": [self.open_images],
            "box hierarchy": [self.box_hierarchy],
            "reviewed": [self.reviewed],
            "counts": self.image_counts,
        }
        if self.wordnet is not None:
            roles["wordnet"] = [self.wordnet / name for name in NOUN_FILES]
        found = {
            name: digest
            for role, paths in roles.items()
            for name, digest in prefixed(role, digests([path for path in paths if path is not None])).items()
        }
        for source, path in self.classes:
            found |= prefixed(f"classes of {source}", digests([path], class_files_digest))
        return found


@dataclass(frozen=True, slots=True)
class VocabularySummary:
    """How many classes were kept, merged and dropped.

    Attributes:
        funnel: source, step and classes of each step from a class list to the vocabulary.
        repeated_ids: by source, the ids that its list has more than once.
        losses: the classes of users' own lists that became no category of their own.
        bare: names of categories below nothing but a root that have nearer ancestors with `Ancestors.ALL`.
        changes: what the user's reviewed decisions changed; None without any.
        unlisted: the user's reviewed matches of classes that are in no list.
        disagreements: lists whose names and wnids disagree, each with a sentence.
        doubts: the least certain matches of users' own lists.
        renamed: the first classes that a list of corrections replaces under another name.
        more_renamed: how many more there are.
        uncounted: lists that must have so many images a class, by a number that the user states, and that no file of
            numbers of images counts.
        strange_counts: sources of numbers of images that are no class list.
        under_stated: classes of users' own lists that are kept under the parent that their list gives.
    """

    funnel: tuple[tuple[str, str, int], ...]
    repeated_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    losses: tuple[Loss, ...] = ()
    bare: tuple[str, ...] = ()
    changes: DecisionChanges | None = None
    unlisted: tuple[str, ...] = ()
    disagreements: tuple[tuple[str, str], ...] = ()
    doubts: tuple[Doubts, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    more_renamed: int = 0
    uncounted: tuple[str, ...] = ()
    strange_counts: tuple[str, ...] = ()
    under_stated: int = 0

    @property
    def losses_of_source(self) -> dict[str, list[Loss]]:
        """The lost classes of each list."""
        found: dict[str, list[Loss]] = {}
        for one in self.losses:
            found.setdefault(one.source, []).append(one)
        return found

    def findings(self) -> list[str]:
        """Return what needs a user's decision, as sentences."""
        return [text for _, text in self.findings_by_source(SHOWN_LOSSES)]

    def findings_by_source(self, most: int | None = None) -> list[tuple[str, str]]:
        """Return the sentences of `findings`, each with the class list that it is about, empty if about several.

        Args:
            most: lost classes of a list that are told by name; None for all.
        """
        told = []
        for source, lost in self.losses_of_source.items():
            told += [(source, f"{source}: {one.sentence}") for one in lost[:most]]
            if more := len(lost[most or len(lost) :]):
                what = f"{more:,} more classes became no category of their own"
                told.append((source, f"{source}: {what}: the columns rule and evidence of the mapping have all"))
        told += [(source, f"{source}: {sentence}") for source, sentence in self.disagreements]
        told += [(one.source, f"{one.source}: {one.sentence}") for one in self.renamed]
        if self.more_renamed:
            told.append(("", f"{self.more_renamed:,} more ids have other names in the lists of corrections"))
        told += [(source, f"{source}: {_UNCOUNTED}") for source in self.uncounted]
        if self.strange_counts:
            told.append(("", f"{first_ones(self.strange_counts)}: {_STRANGE_COUNTS}"))
        if self.bare:
            told.append(("", f"{first_ones(self.bare)}: {WHY_BARE}"))
        if self.unlisted:
            first = first_ones(self.unlisted)
            told.append(("", f"reviewed decisions on classes that no list has: {first}; check source and source_id"))
        return told

    def line(self) -> str:
        """Return the number of categories."""
        return f"{self.funnel[-1][2]:,} categories" if self.funnel else ""

    def lines(self) -> list[str]:
        """Return the funnel as aligned lines."""
        width = max((len(f"{source}: {step}") for source, step, _ in self.funnel), default=0)
        lines = [f"{f'{source}: {step}':{width}}  {classes:>7,}" for source, step, classes in self.funnel]
        if self.repeated_ids:
            told = "; ".join(f"{source}: {first_ones(ids)}" for source, ids in self.repeated_ids.items())
            lines.append(f"repeated ids, of which the first row counts: {told}")
        if self.under_stated:
            n = f"{self.under_stated:,} {'class is' if self.under_stated == 1 else 'classes are'}"
            lines.append(
                f"{n} kept under the parent that the list gives; with --narrower of vocab, or narrower = true in "
                "a recipe, each is a category below it"
            )
        doubtful = [line for one in self.doubts for line in one.lines()]
        return [*lines, *(self.changes.lines() if self.changes else []), *self.findings(), *doubtful]


def vocabulary_stage(given: VocabularyFiles, *, into: str = "") -> Stage[VocabularySummary]:
    """Return the stage that builds the vocabulary from class lists; its work raises as `write_vocabulary`.

    Raises:
        UsageError: a file cannot be read.
    """
    return Stage(
        name=VOCABULARY,
        parameters=_parameters(given),
        inputs=given.digests(),
        work=functools.partial(write_vocabulary, given),
        summary=VocabularySummary,
        into=into,
    )


def _parameters(given: VocabularyFiles) -> dict[str, object]:
    """Return what decides a vocabulary besides files; defaults that came later are left out, so that builds stand."""
    later = {
        "ancestors": given.ancestors,
        "corrections": given.corrections,
        "attach": given.attach,
        "narrower": given.narrower,
        "reviewed_only": given.reviewed_only,
    }
    return {"minimum_images": dict(given.minimum_images), **{name: one for name, one in later.items() if one}}


def published_vocabulary_stage(dictionary: Location) -> Stage[VocabularySummary]:
    """Return the stage that writes the published vocabulary; its work raises as `read_tencent_dictionary`.

    Raises:
        UsageError: the dictionary cannot be read.
    """

    def work(at: Workplace) -> StageResult[VocabularySummary]:
        vocabulary = read_tencent_dictionary(dictionary)
        steps = (("tencent", "entered", len(vocabulary)), ("vocabulary", "categories", len(vocabulary)))
        return StageResult(write_tables(vocabulary, at.out, at.inputs), VocabularySummary(steps))

    return Stage(
        name=VOCABULARY,
        parameters={"published": True},
        inputs=digests([dictionary]),
        work=work,
        summary=VocabularySummary,
    )


def write_vocabulary(given: VocabularyFiles, at: Workplace) -> StageResult[VocabularySummary]:
    """Build the vocabulary from files and write `categories` and `mapping`.

    Raises:
        UsageError, DataError: a file is missing or malformed, or gives two classes one id.
        VocabularyError: reviewed decisions do not fit, or the result fails a check.
    """
    network = load_wordnet(given.wordnet)
    listed = read_class_lists(given)
    refuse_one_id_of_several(listed)
    lists, renamed = corrected(listed, given.corrections)
    image_counts = read_image_counts(given.image_counts)
    merged = functools.partial(
        merged_vocabulary,
        lists,
        network,
        image_counts=image_counts,
        imagenet_all=packaged_imagenet(),
        box_parents=_box_parents(given.box_hierarchy),
    )
    reviewed = read_reviewed(given)
    vocabulary = merged(reviewed)
    if all(row.class_index < 0 for row in vocabulary.mapping):
        rules = Counter(row.rule for row in vocabulary.mapping).most_common(3)
        told = ", ".join(f"{rule}: {n:,}" for rule, n in rules)
        remedy = "check that names are English nouns and that ids are those of their list"
        if rules[0][0] == Rule.DROPPED_UNKNOWN_ID.value:
            remedy = "write wnids of WordNet 3.0 (those of another version, such as 3.1, differ), or leave them out"
        lost = losses(vocabulary, lists, network, {})[:1]
        first = "".join(f"; the first is {one.name or one.source_id!r}: {one.why}" for one in lost)
        if lost and "parent" in lost[0].stated:
            remedy = "correct the column parent"
        what = f"none of {len(vocabulary.mapping):,} classes became a category ({told}){first}"
        raise VocabularyError(what, remedy=remedy)
    findings = validate(vocabulary, network)
    if findings:
        raise VocabularyError(
            f"the vocabulary fails {len(findings)} checks, first: {findings[0]}",
            remedy="correct the reviewed decisions, or report a defect",
        )
    packaged = _packaged(given)
    read = {} if reviewed.readings is None else reviewed.readings.elsewhere
    summary = VocabularySummary(
        tuple((step.source, step.step, step.classes) for step in funnel(vocabulary, lists)),
        {one.title: tuple(repeats) for one in lists if (repeats := repeated_ids(one))},
        tuple(losses(vocabulary, lists, network, read)),
        tuple(bare_categories(vocabulary, lists, network, reviewed)),
        None if given.reviewed is None else changes(merged(read_reviewed(replace(given, reviewed=None))), vocabulary),
        () if given.reviewed is None else tuple(unlisted(read_reviewed(replace(given, reviewed_only=True)), lists)),
        disagreements(vocabulary, [one for one in lists if one.source not in packaged], network),
        doubts(vocabulary, lists, network),
        tuple(renamed[:SHOWN_LOSSES]),
        max(0, len(renamed) - SHOWN_LOSSES),
        tuple(_uncounted(given, {source for source, _ in image_counts})),
        tuple(sorted({source for source, _ in image_counts} - {one.source for one in lists})),
        under_stated(vocabulary, lists),
    )
    return StageResult(write_tables(vocabulary, at.out, at.inputs), summary)


def _uncounted(given: VocabularyFiles, counted: Collection[str]) -> list[str]:
    """Return the lists whose least number of images the user states, and whose images no file counts."""
    return [
        name
        for name, images in given.minimum_images
        if images not in {0, USUAL_MINIMUM.get(name)} and name not in counted
    ]


def read_reviewed(given: VocabularyFiles) -> Reviewed:
    """Return the reviewed decisions that count.

    Raises:
        UsageError, ConfigError: the file is missing or malformed.
    """
    packaged = Reviewed() if given.reviewed_only else packaged_decisions()
    if given.reviewed is None:
        return packaged
    return packaged.overridden(parse_reviewed("\n".join(read_lines(given.reviewed)), str(given.reviewed)))


def read_tencent_dictionary(path: str | Location) -> Vocabulary:
    """Return the published Tencent ML-Images vocabulary and tree exactly as in the file.

    Raises:
        UsageError: there is no such file.
        DataError: it is not the published dictionary.
        VocabularyError: its parents form a cycle.
    """
    where = str(path)
    return vocabulary_from_tencent(parse_tencent_dictionary(read_lines(place_of(path)), where), where)


def read_class_lists(given: VocabularyFiles) -> list[ClassList]:
    """Return the class lists of the files, refinements after the lists that they refine."""
    minimum = dict(given.minimum_images)
    lists = []
    if given.imagenet is not None:
        classes = parse_imagenet_synsets(read_lines(given.imagenet), str(given.imagenet))
        lists.append(ClassList(source=IMAGENET, classes=tuple(classes), minimum_images=minimum.get(IMAGENET, 0)))
    if given.finer is not None:
        classes = parse_imagenet_synsets(read_lines(given.finer), str(given.finer))
        listed = {c.source_id for one in lists for c in one.classes}
        finer = tuple(c for c in classes if c.source_id not in listed)
        lists.append(ClassList(source=IMAGENET, classes=finer, minimum_images=minimum.get(IMAGENET, 0), finer=True))
    if given.open_images is not None:
        classes = parse_open_images_classes(read_lines(given.open_images, ends=True), str(given.open_images))
        lists.append(ClassList(source=OPEN_IMAGES, classes=tuple(classes), minimum_images=minimum.get(OPEN_IMAGES, 0)))
    for source, path in given.classes:
        classes = _user_classes(path)
        lists.append(
            ClassList(
                source=source,
                classes=tuple(classes),
                minimum_images=minimum.get(source, 0),
                own=True,
                ancestors=given.ancestors is not Ancestors.LISTED,
                attach=given.attach,
                where=str(path),
            )
        )
    every = given.ancestors is Ancestors.ALL
    return [replace(one, ancestors=one.ancestors or every, narrower=given.narrower) for one in lists]


def read_image_counts(paths: Sequence[Location]) -> dict[tuple[str, str], int]:
    """Return the images of each (source, source_id) of several files, added up.

    Raises:
        UsageError, DataError: a file is missing or malformed.
    """
    total: dict[tuple[str, str], int] = {}
    for path in paths:
        for key, images in _image_counts(path):
            total[key] = total.get(key, 0) + images
    return total


def _packaged(given: VocabularyFiles) -> set[str]:
    """Return the sources whose classes come from a packaged list, which people have read."""
    folder = packaged_class_list(PACKAGED_CLASS_LISTS[0]).parent
    return {source for source, path in given.classes if path.parent == folder}


def _box_parents(path: Location | None) -> dict[str, tuple[str, ...]]:
    return {} if path is None else parse_box_hierarchy("\n".join(read_lines(path)), str(path))


def _user_classes(path: Location) -> list[SourceClass]:
    if is_annotation_file(path):
        return classes_of_files(path)
    if path.suffix != ".parquet":
        return parse_class_table(read_lines(path, ends=True), str(path))
    try:
        with open_parquet(path) as parquet:
            if names_classes(parquet.schema_arrow):
                return huggingface_classes(path)
            table = parquet.read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"cannot be read as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
        ) from error
    return classes_of_table(table, str(path))


def _image_counts(path: Location) -> list[tuple[tuple[str, str], int]]:
    if path.suffix == ".xml":
        counts = parse_release_status("\n".join(read_lines(path)), str(path))
        return [((IMAGENET, wnid), images) for wnid, images in counts.items()]
    if path.suffix == ".parquet":
        rows = read_table(path, CLASS_COUNTS).to_pylist()
        return [((row["source"], row["source_id"]), row["images"]) for row in rows]
    return _parse_image_counts(read_lines(path, ends=True), str(path))


def _parse_image_counts(lines: Sequence[str], where: str) -> list[tuple[tuple[str, str], int]]:
    reader = csv.DictReader(lines)
    if not {"source", "source_id", "images"} <= set(reader.fieldnames or ()):
        raise DataError(
            f"no columns source, source_id and images in its header ({lines[0].rstrip()[:60]!r})",
            where=where,
            line=1,
            remedy="write it with mlimages-build tally",
        )
    counts = []
    for row in reader:
        images = (row["images"] or "").strip()
        if not is_whole(images):
            raise DataError(
                f"{images!r} is not a number of images", where=where, line=reader.line_num, remedy="correct it"
            )
        counts.append(((row["source"], row["source_id"]), int(images)))
    return counts
