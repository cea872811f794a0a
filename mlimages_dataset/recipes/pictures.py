"""The pictures of a build: copied into shards first, and joined with the labels that their owner states."""

from __future__ import annotations

import functools
import itertools
import posixpath
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.images.check import Limits, inspect
from mlimages_dataset.images.index import image_parts
from mlimages_dataset.images.ingest import members_of
from mlimages_dataset.images.own_members import LABELS_FILE
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.stage import INGEST, IngestOptions, IngestSummary, ingest_stage
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import StageResult, read_manifest, summary_of
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.recipes.unseen import Unseen, unseen
from mlimages_dataset.sources.class_files import class_files_digest
from mlimages_dataset.sources.folders import PARTS_TO_TEST, PARTS_TO_TRAIN, names_of_parts
from mlimages_dataset.sources.samples import suffix_of
from mlimages_dataset.tables.files import digests, prefixed
from mlimages_dataset.tables.parquet import scan_table, table_digests, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.augment.annotate import AnnotatedFiles
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import ImageStore
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.recipes.recipe import CollectedPictures

IMAGES_FOLDER = "images"
"""Folder of a build's pictures: a folder of images with a manifest of its own, as `images ingest` writes it."""
PICTURES = "pictures"
"""The stage that joins pictures and labels."""
_LISTED = 10


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that is no picture, or none that is kept: its id, its status, and why."""

    image_id: str
    status: str
    detail: str


@dataclass(frozen=True, slots=True)
class Known:
    """Files among the pictures that are known to be none.

    Attributes:
        names: of files.
        below: folders, ending in a slash or empty, and the suffix of such files in them, in lower case.
    """

    names: tuple[str, ...] = ()
    below: tuple[tuple[str, str], ...] = ()

    @property
    def parameters(self) -> dict[str, object]:
        """All of them."""
        return {"known": list(self.names)} | ({"below": [list(one) for one in self.below]} if self.below else {})

    def has(self, name: str) -> bool:
        """Return whether a file is one of them."""
        return name in self.names or any(
            name.startswith(folder) and suffix_of(name) == suffix for folder, suffix in self.below
        )


@dataclass(frozen=True, slots=True)
class PicturesSummary:
    """Which pictures have labels, and which labels have pictures.

    Attributes:
        pictures: pictures in shards.
        labelled: those of them that have a label.
        first_unlabelled: ids of the first others.
        in_parts: the folders of the others whose names are such as parts of collections have, and so no classes, each
            with the number of its pictures; most first; none where folders are no classes at all.
        unread: files that are not in shards, but those of `repeated`.
        first_unread: the first of them that are not in `unread_of_suffix`.
        without_picture: images with labels, but without a picture.
        first_without_picture: ids of the first of them.
        repeated: pictures that are not in shards because an earlier one has their id.
        first_repeated: the first of them, each with the names of both.
        likely: of the ids in `first_without_picture`, those that are another way to write a picture's, and that one.
        unread_of_suffix: the suffixes that several files have that are no pictures at all, with the number of these
            files, and one of them; most first.
        unseen: the classes that class lists have, and no picture.
        splits: the folders in which the pictures lie that are named as parts for training and for tests.
    """

    pictures: int
    labelled: int
    first_unlabelled: tuple[str, ...]
    unread: int
    first_unread: tuple[Unread, ...]
    without_picture: int
    first_without_picture: tuple[str, ...]
    repeated: int = 0
    first_repeated: tuple[Unread, ...] = ()
    likely: tuple[tuple[str, str], ...] = ()
    unread_of_suffix: tuple[tuple[str, int, str], ...] = ()
    splits: tuple[str, ...] = ()
    unseen: Unseen = Unseen()  # noqa: RUF009 - frozen
    in_parts: tuple[tuple[str, int], ...] = ()

    @property
    def unlabelled(self) -> int:
        """Pictures without a label."""
        return self.pictures - self.labelled

    def lines(self) -> list[str]:
        """Return the counts as lines."""
        counts = (
            (self.labelled, "pictures with labels"),
            (self.unlabelled, "pictures without a label"),
            (self.without_picture, "images with labels and without a picture"),
            (self.repeated, "pictures whose id an earlier picture has"),
            (self.unread, "files that are no picture that can be read"),
        )
        return [f"{n:>12,}  {what}" for n, what in counts if n]


def images_stage(given: CollectedPictures, folder: Location) -> Stage[IngestSummary]:
    """Return the stage that copies the pictures of a build into shards, in a folder of its own.

    Raises:
        UsageError: a source is missing or of no known format, or the build lies in it.
        DataError: there is no picture at all.
    """
    options = IngestOptions(class_folders=given.class_folders, pictures_in=given.pictures_in)
    stage = ingest_stage(given.sources, options, folder)
    if not any(_is_picture(given, options.limits)):
        raise DataError("holds no picture", where=given.sources[0], remedy="name a folder or an archive of photographs")
    return stage


def _is_picture(given: CollectedPictures, limits: Limits) -> Iterator[bool]:
    """Yield for each member whether it begins like a picture."""
    for member in itertools.chain.from_iterable(
        members_of(source, IngestOptions().form, limits) for source in given.sources
    ):
        content = member.content()
        yield isinstance(content, bytes) and inspect(content, limits, decode=False).status is Status.SAVED


def states_labels(folder: Location) -> bool:
    """Return whether the copied pictures of a build say what they show."""
    return stated_labels(folder) > 0


def stated_labels(folder: Location) -> int:
    """Return how many labels the copied pictures of a build have by their folders and by files beside them."""
    record = read_manifest(folder / IMAGES_FOLDER).stages[INGEST]
    return summary_of(INGEST, record, IngestSummary).labels


def pictures_stage(
    folder: Location,
    collections: Sequence[AnnotatedFiles],
    known: Known = Known(),
    sources: Sequence[Location] = (),
    lists: Sequence[tuple[str, Location]] = (),
) -> Stage[PicturesSummary]:
    """Return the stage that joins the pictures of a build with its annotations, and writes only its counts.

    Args:
        folder: the build's.
        collections: the annotated collections.
        known: files among the pictures that are known to be none.
        sources: where the pictures come from, for messages.
        lists: class lists of the pictures' owner, with their names.

    Raises:
        UsageError: there are no pictures, or no annotations.
    """
    inputs = prefixed(IMAGES_FOLDER, image_parts(folder / IMAGES_FOLDER))
    for one in collections:
        stage = f"{ANNOTATIONS_FOLDER}/{one.name}"
        inputs |= table_digests(stage, folder / stage)
    inputs |= prefixed("class lists", digests([path for _, path in lists], class_files_digest))
    return Stage(
        name=PICTURES,
        parameters=known.parameters,
        inputs=inputs,
        work=functools.partial(_join, folder, collections, known, sources, lists),
        summary=PicturesSummary,
        beside=True,
    )


def _join(  # noqa: PLR0917 - what is known of a build
    folder: Location,
    collections: Sequence[AnnotatedFiles],
    known: Known,
    sources: Sequence[Location],
    lists: Sequence[tuple[str, Location]],
    at: Workplace,
) -> StageResult[PicturesSummary]:
    images = folder / IMAGES_FOLDER
    store = open_store(images)
    labelled, without, first_without = _labelled(store, [folder / ANNOTATIONS_FOLDER / one.name for one in collections])
    likely = likely_ids(first_without, store.image_ids)
    if not labelled.any():
        such = likely[0] if likely else (first_without[0], store.image_id(0))
        remedy = "call the pictures there by their paths below the folder, and run again with --overwrite"
        if (above := folder_above(first_without, store.image_ids)) and likely == ():
            such = (first_without[0], f"{above}/{first_without[0]}")
            named = next((one / above for one in sources if (one / above).is_dir()), None)
            remedy = remedy if named is None else f"name {named} as the folder of pictures, and add --overwrite"
        raise DataError(
            f"names none of the {len(store):,} pictures: it has {such[0]!r}, and they are such as {such[1]!r}",
            where=collections[0].files[0],
            remedy=remedy,
        )
    others = [store.image_id(k) for k in np.flatnonzero(~labelled)[:_LISTED].tolist()]
    unread, of_suffix, repeated = _unread(images, known)
    by_folder = any(one.files == (images / LABELS_FILE,) for one in collections)
    summary = PicturesSummary(
        pictures=len(store),
        labelled=int(labelled.sum()),
        first_unlabelled=tuple(others),
        unread=unread[0],
        first_unread=unread[1],
        without_picture=without,
        first_without_picture=tuple(first_without),
        repeated=repeated[0],
        first_repeated=repeated[1],
        likely=likely,
        unread_of_suffix=of_suffix,
        splits=splits_of(store.image_ids),
        unseen=unseen(folder, lists, collections, at),
        in_parts=in_parts(store.image_ids.filter(pa.array(~labelled))) if by_folder else (),
    )
    return StageResult((), summary)


def _labelled(store: ImageStore, annotations: Sequence[Location]) -> tuple[NDArray[np.bool_], int, list[str]]:
    """Return which pictures have labels, bool, shape (N,), how many labelled images have none, and some of these."""
    labelled, without, first = np.zeros(len(store), bool), 0, list[str]()
    finder = store.finder()
    for part in itertools.chain.from_iterable(map(table_parts, annotations)):
        for batch in scan_table(part, ANNOTATIONS, columns=("image_id", "location")):
            ids = batch.column("image_id")
            numbers = finder.find(ids, batch.column("location"))
            labelled[numbers[numbers >= 0]] = True
            missing = np.flatnonzero(numbers < 0)
            without += len(missing)
            first += ids.take(missing[: _LISTED - len(first)]).to_pylist()
    return labelled, without, first


def in_parts(image_ids: pa.LargeStringArray) -> tuple[tuple[str, int], ...]:
    """Return the innermost folders of pictures that have names of parts of collections, with their numbers of pictures.

    >>> in_parts(pa.array(["unknown/1", "unknown/2", "cats/misc/3", "cats/4", "5"], pa.large_string()))
    (('unknown', 2), ('misc', 1))
    """
    found = pc.struct_field(pc.extract_regex(image_ids, r"(?P<folder>[^/]+)/[^/]*$"), "folder").drop_null()
    n_of_folder = Counter({one["values"]: one["counts"] for one in pc.value_counts(found).to_pylist()})
    parts = set(names_of_parts(n_of_folder))
    return tuple((name, n) for name, n in n_of_folder.most_common() if name in parts)


def splits_of(image_ids: pa.LargeStringArray) -> tuple[str, ...]:
    """Return the names of the folders, the first or second of an id, that are parts for training and for tests.

    There are none where only parts of one of these kinds are: `train` may be a class.
    """
    pattern = rf"(?i)^(?:[^/]+/)?(?P<split>{PARTS_TO_TRAIN}|{PARTS_TO_TEST})/"
    found = pc.struct_field(pc.extract_regex(image_ids, pattern), "split")
    names = sorted(name for name in pc.unique(found).to_pylist() if name is not None)
    is_trained = [re.fullmatch(PARTS_TO_TRAIN, name, re.IGNORECASE) is not None for name in names]
    return tuple(names) if any(is_trained) and not all(is_trained) else ()


def folder_above(stated: Sequence[str], of_pictures: pa.LargeStringArray) -> str:
    """Return the folder in which each of some ids is a picture's, the first in order; empty if there is none."""
    known = of_pictures.cast(pa.large_string())
    ends = known.filter(pc.ends_with(known, f"/{stated[0]}")).to_pylist()
    for above in sorted(one.removesuffix(f"/{stated[0]}") for one in ends):
        asked = pa.array([f"{above}/{one}" for one in stated], pa.large_string())
        if pc.all(pc.is_in(asked, known)).as_py():
            return str(above)
    return ""


def likely_ids(stated: Sequence[str], of_pictures: pa.LargeStringArray) -> tuple[tuple[str, str], ...]:
    """Return those of some ids that are another way to write the id of a picture, with that one.

    They differ in case, in blanks at an end or in folders at the beginning, or go through `.`, `..` or nothing between
    two slashes. Nobody renames them: that they mean the picture is likely, and not stated.
    """
    ways = {one: _ways_to_write(one) for one in stated}
    asked = list(itertools.chain.from_iterable(ways.values()))
    if not asked:
        return ()
    which = pc.index_in(pc.utf8_trim_whitespace(pc.utf8_lower(of_pictures)), pa.array(asked, of_pictures.type))
    rows = np.flatnonzero(which.is_valid())
    meant = dict(
        zip(which.take(pa.array(rows)).to_pylist()[::-1], rows.tolist()[::-1], strict=True)
    )  # the first of each
    picture_of = {asked[number]: str(of_pictures[row]) for number, row in meant.items()}
    found = {one: next((picture_of[way] for way in written if way in picture_of), "") for one, written in ways.items()}
    return tuple((one, picture) for one, picture in found.items() if picture)


def _ways_to_write(named: str) -> list[str]:
    """Return an id in small letters as a plain path, and without more and more folders at its beginning.

    Blanks at an end are left out, and with them a suffix that was none because of them.
    """
    stripped = named.strip()
    path = posixpath.normpath(stripped if stripped == named else image_id(stripped)).lower().split("/")
    return ["/".join(path[at:]) for at in range(len(path))]


def _unread(
    images: Location, known: Known
) -> tuple[tuple[int, tuple[Unread, ...]], tuple[tuple[str, int, str], ...], tuple[int, tuple[Unread, ...]]]:
    """Return how many rows of a folder of images are not saved, and the first: files, and pictures of an earlier's id.

    Between them are the suffixes of several files that are no pictures at all, as in `PicturesSummary`; these files are
    counted, and not among the first. Known files are left out.
    """
    n_files, files, of_suffix = 0, list[Unread](), dict[str, list[Unread]]()
    n_of_suffix = Counter[str]()
    n_repeated, repeated = 0, list[Unread]()
    for row in _not_saved(images):
        if row.status == Status.REPEATED_ID.value:
            n_repeated += 1
            repeated += [row][: _LISTED - len(repeated)]
        elif not known.has(row.image_id):
            n_files += 1
            suffix = suffix_of(row.image_id) if row.status == Status.NOT_AN_IMAGE.value else ""
            n_of_suffix[suffix] += bool(suffix)
            some = of_suffix.setdefault(suffix, []) if suffix else files
            some += [row][: _LISTED - len(some)]
    several = {suffix: n for suffix, n in n_of_suffix.most_common() if n > 1}
    alone = [row for suffix, rows in of_suffix.items() if suffix not in several for row in rows]
    told = tuple((suffix, n, of_suffix[suffix][0].image_id) for suffix, n in several.items())
    return (n_files, tuple((files + alone)[:_LISTED])), told, (n_repeated, tuple(repeated))


def _not_saved(images: Location) -> Iterator[Unread]:
    """Yield the rows of a folder of images that are not saved."""
    for part in image_parts(images):
        for batch in scan_table(images / part, IMAGES, columns=("image_id", "status", "detail")):
            others = batch.filter(pc.not_equal(batch.column("status"), Status.SAVED.value))
            yield from (Unread(**row) for row in others.to_pylist())
