"""Vocabularies made from class lists in memory or in files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.api import folders
from mlimages_dataset.api.arguments import ARGUMENTS, listed_wnids
from mlimages_dataset.api.frames import columns_of, columns_where, decoded, file_of, place, strings, written
from mlimages_dataset.api.messages import told_as, warn
from mlimages_dataset.core.arguments import check, is_path
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import is_url
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import NoSummary, Stage
from mlimages_dataset.pipeline.stage import run as run_stage
from mlimages_dataset.sources.class_lists import (
    CLASS_COLUMNS,
    MEANING_COLUMNS,
    may_be_read,
    misspelled_texts,
    refuse_misspelled,
)
from mlimages_dataset.sources.inputs import is_stream
from mlimages_dataset.sources.rows import text_column
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.folder import VOCABULARY, refuse_other_vocabulary, vocabulary_digests, write_tables
from mlimages_dataset.vocab.folder import read_vocabulary as _read_vocabulary
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, Ancestors, Vocabulary, refuse_names

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mlimages_dataset.api.frames import Given, PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.sources.inputs import Stream
    from mlimages_dataset.vocab.stage import VocabularySummary


_SHOWN_LOST = 10


def build_vocabulary(
    *,
    imagenet: PathLike | Stream | Sequence[str] | None = None,
    open_images: PathLike | Stream | None = None,
    finer: PathLike | Stream | Sequence[str] | None = None,
    classes: Mapping[str, Given | Stream] | None = None,
    image_counts: PathLike | Sequence[PathLike] | None = (),
    minimum_images: Mapping[str, int] | None = None,
    box_hierarchy: PathLike | None = None,
    ancestors: str | None = None,
    attach: bool = False,
    narrower: bool = False,
    reviewed: PathLike | None = None,
    reviewed_only: bool = False,
    wordnet: str | os.PathLike[str] | None = None,
    tencent_dictionary: PathLike | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
) -> Vocabulary:
    """Merge class lists into one vocabulary of WordNet 3.0 synsets under the four roots.

    A path may be `packaged:NAME` for a class list that comes with the package: `imagenet11k.txt`,
    `imagenet_fall2011.txt`, `open_images_boxable.csv`, `coco.csv`, `voc.csv`. A warning names classes of your own
    (`classes`) that became no category, and not as they say; `Vocabulary.mapping` has what became of each, and why.

    Args:
        imagenet: wnids, or a synset list with one per line.
        open_images: Open Images' class list, V1 or V2 to V7. Every class list may also be an open file.
        finer: wnids, or a synset list, from which descendants of kept categories are added.
        classes: your own class lists by name: frames or files with the columns id and name, and optionally wnid (what
            the class means) or parent (what it is a kind of: a wnid, an id of the list, a noun).
        image_counts: files with the images of each class (`mlimages-build tally`, or ImageNet's ReleaseStatus.xml).
        minimum_images: how many images a source's classes need, if counts are given; by default 650 for Open Images.
        box_hierarchy: Open Images' bbox_labels_600_hierarchy.json.
        ancestors: whether ancestors of classes are categories too: of `all`, of none (`listed`); by default your own.
        attach: keep a class of yours that is no noun under what other collections take it for, else under its head.
        narrower: make a class that is no noun of WordNet a category of its own below its nearest parent.
        reviewed: reviewed decisions (TOML), which win over the packaged ones.
        reviewed_only: leave out the packaged decisions.
        wordnet: a folder of WordNet 3.0 instead of the packaged nouns.
        tencent_dictionary: the published dictionary and tree, which is used unchanged; without class lists.
        out: the folder to write into: new, empty, or of an earlier build.
        overwrite: replace what was built with other parameters or inputs.

    Raises:
        UsageError, DataError: a list is missing or malformed, or there is none.
        VocabularyError: a reviewed decision does not fit WordNet.

    >>> import mlimages_dataset as ml, pandas as pd
    >>> pets = pd.DataFrame({"id": ["d", "c"], "name": ["dog", "house cat"]})
    >>> ml.build_vocabulary(imagenet="packaged:imagenet11k.txt", classes={"pets": pets}).category("d").wnid
    'n02084071'
    """
    check(ARGUMENTS, locals())
    given = dict(classes or {})
    if tencent_dictionary is not None:
        no_list = imagenet is None and open_images is None and finer is None and not given
        return _published_vocabulary(tencent_dictionary, out, minimum_images, overwrite=overwrite, alone=no_list)
    _refuse_lists({IMAGENET: imagenet, OPEN_IMAGES: open_images}, given, minimum_images or {})
    with _Inputs.opened() as inputs, told_as(inputs.names):
        stage = functools.partial(
            _stage_of,
            imagenet=inputs.synsets(imagenet, "imagenet"),
            open_images=inputs.file(open_images, "open_images"),
            finer=inputs.synsets(finer, "finer"),
            classes=tuple((name, inputs.classes(name, one)) for name, one in given.items()),
            image_counts=tuple(place(one, what="image_counts") for one in _several(image_counts)),
            box_hierarchy=_place(box_hierarchy, "box_hierarchy"),
            ancestors=None if ancestors is None else Ancestors(ancestors),
            attach=attach,
            narrower=narrower,
            reviewed=_place(reviewed, "reviewed"),
            reviewed_only=reviewed_only,
            wordnet=None if wordnet is None else _folder_of_wordnet(wordnet),
            minimum_images=_minimum_images(minimum_images or {}),
        )
        vocabulary, summary = _vocabulary(stage, out, overwrite=overwrite)
    _warn(given, summary)
    _warn_of_lost_wnids(vocabulary, {"imagenet": imagenet, "finer": finer})
    return vocabulary


def _refuse_lists(
    published: Mapping[str, object], own: Mapping[str, object], minimum_images: Mapping[str, int]
) -> None:
    """Raise a `UsageError` if no list is given, or as `refuse_names` does."""
    names = [name for name, one in published.items() if one is not None]
    if not names and not own:
        raise UsageError("no class list is given", remedy="pass imagenet, open_images or classes")
    refuse_names(names, list(own), minimum_images)


def _stage_of(**files: Any) -> Stage[VocabularySummary]:
    """Return the stage that builds a vocabulary from the fields of `VocabularyFiles`."""
    # Here and not above: who only reads a vocabulary needs no WordNet.
    from mlimages_dataset.vocab.stage import VocabularyFiles, vocabulary_stage  # noqa: PLC0415

    return vocabulary_stage(VocabularyFiles(**files))


def _published_vocabulary(
    dictionary: PathLike,
    out: PathLike | None,
    minimum_images: Mapping[str, int] | None,
    *,
    overwrite: bool,
    alone: bool,
) -> Vocabulary:
    """Return the published vocabulary; raise `UsageError` if it is not given `alone`, or as `refuse_names` does."""
    from mlimages_dataset.vocab.stage import published_vocabulary_stage  # noqa: PLC0415 - as above

    if not alone:
        raise UsageError("tencent_dictionary cannot be combined with class lists", remedy="pass one of them")
    refuse_names([], [], minimum_images or {})
    where = place(dictionary, what="tencent_dictionary")
    return _vocabulary(lambda: published_vocabulary_stage(where), out, overwrite=overwrite)[0]


def _vocabulary(
    stage: Callable[[], Stage[VocabularySummary]], out: PathLike | None, *, overwrite: bool
) -> tuple[Vocabulary, VocabularySummary]:
    """Return the vocabulary that a stage writes, and its summary; a temporary folder is removed with the vocabulary."""
    output, own = folders.output(out, overwrite=overwrite)
    try:
        summary = run_stage(stage(), output).summary
        vocabulary = _read_vocabulary(output.path)
    except BaseException:
        folders.discard(own)
        raise
    if own is not None:
        folders.kept_by(vocabulary, own)
    return vocabulary, summary


def read_vocabulary(folder: PathLike) -> Vocabulary:
    """Return the vocabulary that `build_vocabulary` or `mlimages-build vocab` wrote into a folder.

    Raises:
        UsageError: its tables are not there.
        SchemaError, DataError: they are of another version, or damaged.
    """
    return _read_vocabulary(place(folder, what="folder"))


def folder_of(given: Vocabulary | PathLike) -> Location:
    """Return the folder of a vocabulary's tables; write them first if they have none.

    Raises:
        UsageError: its folder now holds another vocabulary.
    """
    if is_path(given):
        return place(given, what="vocabulary")
    vocabulary = as_vocabulary(given)
    if vocabulary.folder is None:
        own = folders.scratch()
        work = functools.partial(_tables, vocabulary)
        run_stage(Stage(name=VOCABULARY, parameters={}, inputs={}, work=work, summary=NoSummary), OutputFolder(own))
        object.__setattr__(vocabulary, "folder", own)  # a cache: the tables hold only what the value holds
        object.__setattr__(vocabulary, "digests", vocabulary_digests(own))
        folders.kept_by(vocabulary, own)
        return own
    if not vocabulary.folder.is_dir():
        raise UsageError(
            "the folder of the vocabulary is gone",
            where=vocabulary.folder,
            remedy="build it again; what is to stay needs out=, or write() in the process that made it",
        )
    changed = vocabulary_digests(vocabulary.folder) != vocabulary.digests
    if changed and _read_vocabulary(vocabulary.folder) != vocabulary:
        raise UsageError("the folder now holds another vocabulary", where=vocabulary.folder, remedy="read it again")
    return vocabulary.folder


def refuse_other(vocabulary: Vocabulary | PathLike, tables: Sequence[Location]) -> None:
    """Raise `UsageError` for tables, files or folders, that were made with another vocabulary."""
    digests = vocabulary.digests if isinstance(vocabulary, Vocabulary) else {}
    refuse_other_vocabulary(digests or vocabulary_digests(folder_of(vocabulary)), tables)


def as_vocabulary(given: Vocabulary | PathLike) -> Vocabulary:
    """Return a vocabulary, read from its folder if a path is given.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, Vocabulary):
        return given
    return _read_vocabulary(place(given, what="vocabulary"))


def write_vocabulary(vocabulary: Vocabulary, folder: PathLike) -> None:
    """Write a vocabulary's tables into a new or empty folder, for `read_vocabulary` and the command."""
    folders.copy(folder_of(vocabulary), (CATEGORIES, MAPPING), VOCABULARY, folder)


def _tables(vocabulary: Vocabulary, at: Workplace) -> StageResult[NoSummary]:
    return StageResult(write_tables(vocabulary, at.out, at.inputs), NoSummary())


@dataclasses.dataclass(frozen=True, slots=True)
class _Inputs:
    """Files of data that were given in memory, and their names in errors."""

    folder: Path
    names: dict[Location, str] = dataclasses.field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Iterator[_Inputs]:
        """Yield a folder for such files, which is removed after the block."""
        own = folders.scratch()
        try:
            yield cls(own)
        finally:
            folders.discard(own)

    def file(self, given: PathLike | Stream | None, what: str) -> Location | None:
        """Return a path, or an open file as a file."""
        return file_of(given, self.folder, self.names, what=what) if is_stream(given) else _place(given, what)  # type: ignore[arg-type]  # a path or None

    def synsets(self, given: PathLike | Stream | Sequence[str] | None, what: str) -> Location | None:
        """Return a synset list as a file."""
        if given is None or is_path(given) or is_stream(given):
            return self.file(given, what)  # type: ignore[arg-type]  # it is no sequence
        path = self.folder / f"{what}.txt"
        path.write_text("".join(f"{wnid}\n" for wnid in listed_wnids(given) or ()), encoding="utf-8")
        self.names[path] = f"the wnids of {what}"
        return path

    def classes(self, name: str, given: Given | Stream) -> Location:
        """Return a class list as a file."""
        if is_path(given) or is_stream(given):
            found = self.file(given, f"classes[{name!r}]")  # type: ignore[arg-type]  # it is no frame
            assert found is not None
            return found
        what = f"the frame of classes[{name!r}]"
        columns = class_columns(given, what)
        path = self.folder / f"classes-{len(self.names)}.parquet"
        self.names[path] = what
        return written(columns, path)


def class_columns(frame: object, what: str) -> dict[str, pa.Array]:
    """Return a frame's columns in the form of a class list.

    Raises:
        UsageError, DataError: it is no frame, lacks a column, holds other values, or has a column `parent` or the like
            under another name.
    """
    refuse_misspelled(misspelled_texts(columns_where(frame, may_be_read, what=what)), what)
    table = columns_of(frame, CLASS_COLUMNS, MEANING_COLUMNS, what=what)
    return {column: _cells(table, column, what) for column in table.column_names}


def _place(given: PathLike | None, what: str) -> Location | None:
    return None if given is None else place(given, what=what)


def _folder_of_wordnet(given: str | os.PathLike[str]) -> Path:
    if is_url(str(given)):
        raise UsageError(f"wordnet is {str(given)!r}, a URL", remedy="name a path of this machine, a copy if need be")
    return Path(str(place(given, what="wordnet")))


def _several(given: PathLike | Sequence[PathLike] | None) -> Sequence[PathLike]:
    return () if given is None else (given,) if is_path(given) else given  # type: ignore[return-value]  # checked


def _minimum_images(given: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    from mlimages_dataset.vocab.stage import VocabularyFiles  # noqa: PLC0415 - as above

    own = {name: int(images) for name, images in given.items()}  # a number of numpy cannot be recorded
    return tuple({**dict(VocabularyFiles().minimum_images), **own}.items())


def _cells(table: pa.Table, column: str, what: str) -> pa.Array:
    """Return a column of a class list; what a class means may be left open."""
    if column in MEANING_COLUMNS:
        cells = text_column(decoded(table[column]), column, what)
        table = pa.table({column: pc.fill_null(cells, "")})
    return strings(table, column, what=what)


def _warn(own: Mapping[str, object], summary: VocabularySummary) -> None:
    """Warn of what needs a decision: classes that became no category of their own, ids that are given again."""
    for source in own:
        if again := summary.repeated_ids.get(source):
            warn(f"ids of {source!r} occur more than once; the first row counts: {first_of(again, _SHOWN_LOST)}")
    for sentence in summary.findings():
        warn(sentence)


def _warn_of_lost_wnids(vocabulary: Vocabulary, given: Mapping[str, object]) -> None:
    """Warn of wnids given in Python, by the argument's name, that became no category."""
    rows = {row.source_id: row for row in vocabulary.mapping if row.source == IMAGENET and not row.is_kept}
    for name, wnids in given.items():
        lost = [] if is_path(wnids) else [rows[one] for one in listed_wnids(wnids) or () if one in rows]
        if lost:
            shown = first_of((f"{row.source_id} ({row.rule.removeprefix('dropped: ')})" for row in lost), _SHOWN_LOST)
            warn(f"{name}: {len(lost):,} of its wnids became no category: {shown}")
