"""Vocabularies of class lists in memory or in files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mlimages_dataset.api import folders
from mlimages_dataset.api.frames import file_of, is_path, place, strings, table_of, told_as, written
from mlimages_dataset.core.decoding import PACKAGED
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import NoSummary, Stage
from mlimages_dataset.pipeline.stage import run as run_stage
from mlimages_dataset.recipes.recipe import packaged_file
from mlimages_dataset.sources.inputs import is_stream
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.stage import VOCABULARY, VocabularyFiles, vocabulary_digests, vocabulary_stage, write_tables
from mlimages_dataset.vocab.stage import read_vocabulary as _read_vocabulary
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, Vocabulary

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.api.frames import Given, PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.sources.inputs import Stream
    from mlimages_dataset.vocab.stage import VocabularySummary

_SHOWN_CLASSES = 5


def build_vocabulary(
    *,
    imagenet: PathLike | Stream | Sequence[str] | None = None,
    open_images: PathLike | Stream | None = None,
    finer: PathLike | Stream | Sequence[str] | None = None,
    classes: Mapping[str, Given | Stream] | None = None,
    image_counts: Sequence[PathLike] = (),
    minimum_images: Mapping[str, int] | None = None,
    box_hierarchy: PathLike | None = None,
    reviewed: PathLike | None = None,
    wordnet: str | os.PathLike[str] | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
) -> Vocabulary:
    """Merge class lists into one vocabulary of WordNet 3.0 synsets under the four roots.

    A path may be `packaged:NAME` for a class list that comes with the package: `imagenet11k.txt`,
    `imagenet_fall2011.txt`, `open_images_boxable.csv`. A class of your own (`classes`) that becomes no category is told
    in a warning; `Vocabulary.mapping` tells what became of every class, and why.

    Args:
        imagenet: wnids, or a synset list with one a line.
        open_images: Open Images' class list, V1 or V2 to V7. An open file does as well for every class list.
        finer: wnids, or a synset list, from which refinements of kept categories are added.
        classes: your own class lists by a name for each: a frame with the columns id and name, or a file of them.
        image_counts: files with the images of each class (`mlimages-build tally`, or ImageNet's ReleaseStatus.xml).
        minimum_images: how many images a source's classes need, where counts are given; Open Images' 650 by default.
        box_hierarchy: Open Images' bbox_labels_600_hierarchy.json.
        reviewed: reviewed decisions (TOML) instead of the packaged ones.
        wordnet: a folder of WordNet 3.0 instead of the packaged nouns.
        out: the folder to write into: new, empty, or of an earlier build.
        overwrite: replace what was built with other parameters or inputs.

    Raises:
        UsageError, DataError: a list is missing or malformed, or there is none.
        VocabularyError: a reviewed decision does not fit WordNet.

    Source: Tencent ML-Images, section 3.1.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> pets = pd.DataFrame({"id": ["d", "c"], "name": ["dog", "house cat"]})
    >>> vocabulary = ml.build_vocabulary(imagenet="packaged:imagenet11k.txt", classes={"pets": pets})
    >>> vocabulary.category("d").wnid
    'n02084071'
    """
    given = dict(classes or {})
    if imagenet is None and open_images is None and not given:
        raise UsageError("no class list is given", remedy="pass imagenet, open_images or classes")
    for name in given:
        if not isinstance(name, str) or not name or name in {IMAGENET, OPEN_IMAGES}:
            raise UsageError(f"{name!r} is no name for a class list of your own", remedy="give it another name")
    sources = {*given, IMAGENET, OPEN_IMAGES}
    if strangers := [name for name in minimum_images or {} if name not in sources]:
        raise UsageError(f"minimum_images names {strangers[0]!r}, of which there is no class list", remedy="correct it")
    with contextlib.ExitStack() as stack:
        inputs = stack.enter_context(_Inputs.opened())
        files = VocabularyFiles(
            imagenet=inputs.synsets(imagenet, "imagenet"),
            open_images=inputs.file(open_images, "open_images"),
            finer=inputs.synsets(finer, "finer"),
            classes=tuple((name, inputs.classes(name, one)) for name, one in given.items()),
            image_counts=tuple(place(one, what="image_counts") for one in image_counts),
            box_hierarchy=_place(box_hierarchy, "box_hierarchy"),
            reviewed=_place(reviewed, "reviewed"),
            wordnet=None if wordnet is None else Path(wordnet),
            minimum_images=tuple({**dict(VocabularyFiles().minimum_images), **(minimum_images or {})}.items()),
        )
        output, own = folders.output(out, overwrite=overwrite)
        try:
            with told_as(inputs.names):
                outcome = run_stage(vocabulary_stage(files), output)
        except BaseException:
            folders.discard(own)
            raise
    vocabulary = _read_vocabulary(output.path)
    if own is not None:
        folders.kept_by(vocabulary, own)
    _warn_of_losses(vocabulary, given, outcome.summary)
    return vocabulary


def read_vocabulary(folder: PathLike) -> Vocabulary:
    """Return the vocabulary that `build_vocabulary` or `mlimages-build vocab` wrote into a folder.

    Raises:
        UsageError: its tables are not there.
        SchemaError, DataError: they are of another version, or damaged.
    """
    return _read_vocabulary(place(folder, what="folder"))


def folder_of(given: Vocabulary | PathLike) -> Location:
    """Return the folder of a vocabulary's tables, which is written where there is none yet.

    Raises:
        UsageError: its folder holds another vocabulary by now.
    """
    if is_path(given):
        return place(given, what="vocabulary")
    vocabulary = as_vocabulary(given)
    if vocabulary.folder is None:
        own = folders.scratch()
        work = functools.partial(_tables, vocabulary)
        run_stage(Stage(name=VOCABULARY, parameters={}, inputs={}, work=work, summary=NoSummary), OutputFolder(own))
        object.__setattr__(vocabulary, "folder", own)  # a cache: the tables say nothing that the value does not
        folders.kept_by(vocabulary, own)
        return own
    changed = vocabulary_digests(vocabulary.folder) != vocabulary.digests
    if changed and _read_vocabulary(vocabulary.folder) != vocabulary:
        raise UsageError("the folder holds another vocabulary by now", where=vocabulary.folder, remedy="read it again")
    return vocabulary.folder


def as_vocabulary(given: Vocabulary | PathLike) -> Vocabulary:
    """Return a vocabulary, or read it from its folder.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, Vocabulary):
        return given
    return _read_vocabulary(place(given, what="vocabulary"))


def write_vocabulary(vocabulary: Vocabulary, folder: PathLike) -> None:
    """Write a vocabulary's tables into a new or empty folder, as `read_vocabulary` and the command read them."""
    folders.copy(folder_of(vocabulary), (CATEGORIES, MAPPING), VOCABULARY, folder)


def _tables(vocabulary: Vocabulary, at: Workplace) -> StageResult[NoSummary]:
    return StageResult(write_tables(vocabulary, at.out, at.inputs), NoSummary())


@dataclasses.dataclass(frozen=True, slots=True)
class _Inputs:
    """Files of what was given in memory, and how errors name them."""

    folder: Path
    names: dict[Location, str] = dataclasses.field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Iterator[_Inputs]:
        """Yield a folder for such files, which goes when the block ends."""
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
        wnids = cast("Sequence[str]", given)
        path.write_text("".join(f"{wnid}\n" for wnid in wnids), encoding="utf-8")
        self.names[path] = f"the wnids of {what}"
        return path

    def classes(self, name: str, given: Given | Stream) -> Location:
        """Return a class list as a file."""
        if is_path(given) or is_stream(given):
            found = self.file(given, f"classes[{name!r}]")  # type: ignore[arg-type]  # it is no frame
            assert found is not None
            return found
        what = f"the frame of classes[{name!r}]"
        table = table_of(given, what=what)
        columns = {column: strings(table, column, what=what) for column in ("id", "name")}
        path = self.folder / f"classes-{len(self.names)}.parquet"
        self.names[path] = what
        return written(columns, path)


def _place(given: PathLike | None, what: str) -> Location | None:
    if isinstance(given, str) and given.startswith(PACKAGED):
        return packaged_file(given.removeprefix(PACKAGED))
    return None if given is None else place(given, what=what)


def _warn_of_losses(vocabulary: Vocabulary, own: Mapping[str, object], summary: VocabularySummary) -> None:
    """Warn of each class of a user's own list that became no category, or whose id is given again."""
    for source in own:
        if again := summary.repeated_ids.get(source):
            warnings.warn(
                f"ids of {source!r} are given more than once, and the first row counts: {list(again)}",
                stacklevel=3,
            )
        rows = [row for row in vocabulary.mapping if row.source == source]
        dropped = [row for row in rows if row.class_index < 0]
        if dropped:
            rules = ", ".join(f"{rule}: {n}" for rule, n in sorted(Counter(row.rule for row in dropped).items()))
            first = ", ".join(repr(row.source_name or row.source_id) for row in dropped[:_SHOWN_CLASSES])
            more = " ..." if len(dropped) > _SHOWN_CLASSES else ""
            warnings.warn(
                f"of {len(rows)} classes of {source!r}, {len(dropped)} became no category ({rules}): {first}{more}; "
                "see Vocabulary.mapping",
                stacklevel=3,
            )
