"""The stage that copies local pictures into shards: `mlimages-build images ingest`."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import unicodedata
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.documents import written_csv
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import as_text, reason, refuse_special, system_errors
from mlimages_dataset.images.check import Inspection, Limits
from mlimages_dataset.images.ingest import (
    BROKEN_MASK,
    CHUNK_MEMBERS,
    Checked,
    Form,
    checked,
    ids_of,
    members_of,
    whole_masks,
)
from mlimages_dataset.images.own_members import CAPTIONS_FILE, CAPTIONS_HEADER, LABELS_FILE, LABELS_HEADER
from mlimages_dataset.images.parts import (
    PART_IMAGES,
    ImagesSummary,
    PartCounts,
    WrittenPart,
    clear_shards,
    grouped,
    job_name,
    jobs_of,
    part_name,
    part_writer,
)
from mlimages_dataset.images.repeats import SeenIds
from mlimages_dataset.images.resize import TURNED, turned_lines
from mlimages_dataset.images.slices import count_noted
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage, Workplace
from mlimages_dataset.sources.folders import innermost_folder, without_folder
from mlimages_dataset.tables.files import HashingFile, Receipt, listing_digest, whole_file
from mlimages_dataset.tables.parquet import (
    scan_table,
)
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.members import Member
    from mlimages_dataset.images.resize import ResizeOptions
    from mlimages_dataset.pipeline.journal import Journal

INGEST = "ingest"
"""The name of the stage."""
_ENDS_BYTES = 1 << 20
_OF_CONTENT = frozenset(
    {
        Status.BROKEN,
        Status.EMPTY,
        Status.NOT_AN_IMAGE,
        Status.TOO_LARGE,
        Status.TOO_MANY_PIXELS,
        Status.UNSUPPORTED,
    }
)
"""What is wrong with a file for what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How sources are read.

    Attributes:
        form: how the sources are stored.
        limits: how large a picture may be.
        resize: what is re-encoded; None to keep the original bytes.
        class_ids: the ids of the classes in TFRecords' label vectors; if empty, the index of a class is its id.
        part_images: rows of a part.
        class_folders: names of folders that are classes, although they are such as parts of collections have.
        pictures_in: the name of folders that are no part of ids: YOLO's `images`, beside `labels`; empty for none.
    """

    form: Form = Form.AUTO
    limits: Limits = field(default_factory=Limits)
    resize: ResizeOptions | None = None
    class_ids: tuple[str, ...] = ()
    part_images: int = PART_IMAGES
    class_folders: tuple[str, ...] = ()
    pictures_in: str = ""

    def parameters(self) -> dict[str, Json]:
        """Return everything that decides the output, for the manifest."""
        return {
            "form": self.form.value,
            "limits": asdict(self.limits),
            "shrinking": None if self.resize is None else asdict(self.resize),  # the name in existing manifests
            "class_ids": hashlib.sha256("\n".join(self.class_ids).encode()).hexdigest() if self.class_ids else None,
            "part_images": self.part_images,
            **({"class_folders": list(self.class_folders)} if self.class_folders else {}),
            **({"pictures_in": self.pictures_in} if self.pictures_in else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSummary(ImagesSummary):
    """What became of the pictures of sources.

    Attributes:
        labels: the number of labels that the sources state.
        turned: saved pictures that were turned upright.
        captions: texts on pictures that the sources state.
        unread_labels: pictures with a file whose class cannot be read; their rows' detail says why.
        masks: pictures of what the pixels of saved pictures are, stored beside these.
        broken_masks: saved pictures with a mask that cannot be used; their rows' detail says why.
        links: pictures that are links to other pictures of their folder; their rows' detail says to which.
        doubtful_names: pictures of zip archives whose names are in an unknown encoding; their rows' detail says so.
    """

    labels: int
    turned: int = 0
    captions: int = 0
    unread_labels: int = 0
    masks: int = 0
    broken_masks: int = 0
    links: int = 0
    doubtful_names: int = 0

    def lines(self) -> list[str]:
        """Return the counts, the size of the pictures, and the number of labels and captions."""
        pictures = ImagesSummary(images=self.images, bytes=self.bytes, statuses=self.statuses)
        captions = [f"{self.captions:>12,}  captions in {CAPTIONS_FILE}"] if self.captions else []
        unread = [f"{self.unread_labels:>12,}  pictures with a label that cannot be read"] if self.unread_labels else []
        labels = f"{self.labels:>12,}  labels in {LABELS_FILE}"
        masks = [f"{self.masks:>12,}  masks of them, stored beside them"] if self.masks else []
        broken = [f"{self.broken_masks:>12,}  pictures with {BROKEN_MASK}"] if self.broken_masks else []
        links = [f"{self.links:>12,}  pictures that are links to others of their folder"] if self.links else []
        names = "names that are not in UTF-8 and may be garbled: unpack such an archive yourself (unzip -O GBK)"
        doubtful = [f"{self.doubtful_names:>12,}  {names}"] if self.doubtful_names else []
        rest = (*captions, *unread, *masks, *broken, *links, *doubtful)
        return [*pictures.lines(), *turned_lines(self.turned), labels, *rest]


def ingest_stage(sources: Sequence[Location], options: IngestOptions, out: Location) -> Stage[IngestSummary]:
    """Return the stage that copies the pictures of sources into a folder; its work is `ingest`.

    Raises:
        UsageError: a source is missing, or the folder `out` lies in it.
    """
    for source in sources:
        if not source.exists():
            raise UsageError("there is no such file or folder", where=source, remedy="check the path")
        if source.absolute() == out.absolute() or source.absolute() in out.absolute().parents:
            raise UsageError("the output folder is in it", where=source, remedy="name another folder for --out")
    return Stage(
        name=INGEST,
        parameters=options.parameters(),
        inputs=_fingerprints(sources),
        work=lambda at: ingest(sources, options, at),
        summary=IngestSummary,
        resumes=True,
        jobs_of=jobs_of,
    )


def ingest(sources: Sequence[Location], options: IngestOptions, at: Workplace) -> StageResult[IngestSummary]:
    """Write parts with one row per member, in the order of the sources, and the labels that the sources state.

    Raises:
        UsageError: a source has no known format.
        DataError: an archive or TFRecord file is truncated or damaged, or there is no member at all.
    """
    clear_shards(at.out, at.journal)
    reading = _Reading(sources, options)
    seen = SeenIds()
    parts: list[WrittenPart] = []
    with contextlib.ExitStack() as files, reading.forgotten_if_damaged(at.journal):
        stated = _Stated(at.out, files)
        for number, members in enumerate(grouped(reading.members(), options.part_images)):
            job = job_name(number)
            if at.journal.done(job, WrittenPart) is not None:
                _skip(members, at.out / part_name(number), seen, stated)
            write = functools.partial(_write_part, members, number, options, at, seen=seen, stated=stated)
            parts.append(at.journal.once(job, write, WrittenPart))
            at.engine.progress(parts[-1].counts.asked)
        if not parts:
            raise DataError("holds no file", where=sources[0], remedy="check the path")
    counts = sum((part.counts for part in parts), PartCounts.empty()).summary()
    receipts = [receipt for part in parts for receipt in part.receipts]
    receipts += stated.receipts()
    summary = IngestSummary(
        images=counts.images,
        bytes=counts.bytes,
        statuses=counts.statuses,
        labels=stated.labels,
        turned=count_noted(at.out, range(len(parts)), TURNED) if options.resize else 0,
        captions=stated.captions,
        unread_labels=stated.unread,
        masks=stated.masks,
        broken_masks=count_noted(at.out, range(len(parts)), BROKEN_MASK) if stated.masks else 0,
        links=stated.links,
        doubtful_names=stated.doubtful_names,
    )
    return StageResult(tuple(receipts), summary)


def _write_part(
    members: Iterator[Member], number: int, options: IngestOptions, at: Workplace, *, seen: SeenIds, stated: _Stated
) -> WrittenPart:
    """Write the members of a numbered part."""
    with part_writer(at.out, number, at.inputs) as writer:
        for one in checked(members, options.limits, options.resize, at.engine.mapper):
            if one.found.status is not Status.SAVED:
                writer.refuse(one.image_id, _noted(one.found, _file_of(one)))
                continue
            link = f"a link to {one.member.link}" if one.member.link else ""
            if seen.add(one.image_id, one.member.name):
                masks, wrong = whole_masks(one.member, options.limits)
                writer.save(
                    one.image_id, one.content, _noted(one.found, one.member.note, wrong, link, one.member.doubt), masks
                )
                stated.masks += len(one.member.masks)
            else:
                repeated = _repeated(one.member.name, seen.name_of(one.image_id))
                writer.refuse(one.image_id, _noted(repeated, one.member.note, link, one.member.doubt))
            stated.add(one.image_id, one.member)
    return writer.written


class _Reading:
    """Reads sources one after the other."""

    def __init__(self, sources: Sequence[Location], options: IngestOptions) -> None:
        self._sources = sources
        self._options = options
        self._read = 0
        self._before = 0

    def members(self) -> Iterator[Member]:
        """Yield the members of all sources."""
        options, several = self._options, len(self._sources) > 1
        stated = frozenset(options.class_folders)
        for source in self._sources:
            self._before = self._read
            for member in members_of(source, options.form, options.limits, options.class_ids):
                self._read += 1
                named = replace(member, source=as_text(source.name)) if several else member
                if options.pictures_in:
                    named = replace(named, path=without_folder(member.path, options.pictures_in))
                is_stated = bool(stated) and innermost_folder(member.path) in stated
                yield replace(named, is_in_class_folder=True) if is_stated else named

    @contextlib.contextmanager
    def forgotten_if_damaged(self, journal: Journal) -> Iterator[None]:
        """If a source is damaged, remove its finished parts from the journal.

        A checksum at the end of a source covers members that were read before it, so the next run, with a new copy of
        the source, must read them again.
        """
        try:
            yield
        except DataError:
            size = self._options.part_images
            for number in range(self._before // size, self._read // size + 1):
                journal.forget(job_name(number))
            raise


def _file_of(one: Checked) -> str:
    """Return the name of a file that is no usable picture, where its id lacks the suffix; empty where it does not."""
    told = one.found.status in _OF_CONTENT and one.member.path != one.image_id
    return f"file {one.member.path}" if told else ""


def _noted(found: Inspection, *notes: str) -> Inspection:
    return replace(found, detail="; ".join(text for text in (found.detail, *notes) if text))


def _repeated(name: str, earlier: str) -> Inspection:
    """Return what is wrong with a second picture of an id; `earlier` names the first, and is empty if nobody knows."""
    alike = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", earlier)
    why = " (the same letters: the names differ in their encoding only)" if alike and name != earlier else ""
    if name == earlier:
        why = " (the same name twice, or names that differ in their encoding only)"
    told = f"an earlier picture has the id{', ' if earlier else ''}{earlier}; this one is {name}{why}"
    return Inspection(Status.REPEATED_ID, told)


def _skip(members: Iterator[Member], part: Location, seen: SeenIds, stated: _Stated) -> None:
    """Skip the members of a part that an earlier run finished, and note their ids and labels."""
    for batch in scan_table(part, IMAGES, batch_rows=CHUNK_MEMBERS):
        # In batches: a TFRecord's member holds its picture in memory.
        listed = list(itertools.islice(members, batch.num_rows))
        for image_id, status, member in zip(ids_of(listed), batch.column("status").to_pylist(), listed, strict=True):
            if status == Status.SAVED:
                seen.add(image_id, member.name)
                stated.masks += len(member.masks)
            if status in {Status.SAVED, Status.REPEATED_ID}:
                stated.add(image_id, member)


class _Stated:
    """Writes what sources state of pictures, as CSV: labels, and captions.

    Attributes:
        labels: rows of labels.
        captions: rows of captions.
        unread: pictures of which something says a class that cannot be read.
        masks: of saved pictures.
        links: pictures that are links to others.
        doubtful_names: pictures whose names are in an unknown encoding.
    """

    def __init__(self, out: Location, files: contextlib.ExitStack) -> None:
        self._out, self._files = out, files
        self._sinks: dict[str, HashingFile] = {}
        self.labels = self.captions = self.unread = self.masks = self.links = self.doubtful_names = 0
        self._write(LABELS_FILE, LABELS_HEADER, [])

    def add(self, image_id: str, member: Member) -> None:
        """Append what is stated of one picture."""
        stated = member.all_labels()
        # All digits of a float32: with six, 0.9999999 would become 1, which means verified.
        rows = [
            (image_id, class_id, np.format_float_positional(np.float32(confidence), trim="-"))
            for class_id, confidence in stated
        ]
        self._write(LABELS_FILE, LABELS_HEADER, rows)
        if member.captions:
            self._write(CAPTIONS_FILE, CAPTIONS_HEADER, [(image_id, caption) for caption in member.captions])
        self.labels += len(rows)
        self.captions += len(member.captions)
        self.unread += bool(member.note)
        self.links += bool(member.link)
        self.doubtful_names += bool(member.doubt)

    def receipts(self) -> list[Receipt]:
        """Return the files written, which are whole by now."""
        return [
            Receipt(self._out / name, -1, sink.size, sink.digest.hexdigest(), "") for name, sink in self._sinks.items()
        ]

    def _write(self, name: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        """Append rows to a file, which begins with its header; one that nothing is written to is not there."""
        lines = list(rows)
        if name not in self._sinks:
            self._sinks[name] = self._files.enter_context(whole_file(self._out / name))
            lines = [header, *lines]
        self._sinks[name].write(written_csv(lines).encode())


def _fingerprints(sources: Sequence[Location]) -> dict[str, str]:
    """Return a digest of each source by its name; repeated names get a number.

    For a folder it is the digest of its listing. For a file it covers the size, the first and the last bytes only:
    archives may have 150 GB, and each row of the table has the digest of its picture.
    """
    found: dict[str, str] = {}
    for source in sources:
        name, number = source.name, 2
        while name in found:
            name, number = f"{source.name} ({number})", number + 1
        found[name] = listing_digest(source) if source.is_dir() else _ends_digest(source)
    return found


def _ends_digest(path: Location) -> str:
    refuse_special(path)
    try:
        with system_errors(path):
            size = path.stat().st_size
            with path.open("rb") as stream:
                first = stream.read(_ENDS_BYTES)
                stream.seek(max(0, size - _ENDS_BYTES))
                last = stream.read()
    except OSError as error:
        raise UsageError(
            f"cannot be read ({reason(error)})", where=path, remedy="check the path and its permissions"
        ) from error
    return hashlib.sha256(b"%d\n" % size + first + last).hexdigest()
