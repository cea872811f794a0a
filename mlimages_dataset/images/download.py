"""Downloading a list of images into a folder of parts and shards, slice by slice.

Rows k * N to (k + 1) * N - 1 of the list are slice k, which becomes part k with its shard: so the list alone decides
which picture is in which file. Several slices run at once, so that one with slow hosts does not hold up the others.
Bodies wait in a spool file of their slice until all its rows have ended; then the shard and the part are written whole,
in the order of the list, and recorded in the journal. A crash loses only the slices that were under way.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.core.decoding import encode
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import remove_folder
from mlimages_dataset.images.decode_pool import ImageRules
from mlimages_dataset.images.download_run import DownloadRun, DownloadSummary, run_download, statuses_again
from mlimages_dataset.images.fetcher import FetchPolicy, Resolver
from mlimages_dataset.images.lists import ImageList, is_of_open_images
from mlimages_dataset.images.parts import WrittenPart, clear_shards, finished_parts, job_name, jobs_of
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import Stage, journal_of, run
from mlimages_dataset.tables.files import PARTIAL_PREFIX, digests, prefixed, write_errors
from mlimages_dataset.tables.parquet import table_digests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.progress import Report
    from mlimages_dataset.pipeline.journal import Finished
    from mlimages_dataset.pipeline.records import StageOutcome, StageResult
    from mlimages_dataset.pipeline.stage import Workplace

STAGE = "download"
OPEN_IMAGES_MIRROR = "https://open-images-dataset.s3.amazonaws.com/{subset}/{image_id}.jpg"

TIMEOUTS = frozenset({Status.TIMEOUT, Status.THROTTLED, Status.CUT, Status.NO_CONNECTION})
"""Failures that may be transient."""
LASTING = frozenset(
    {
        Status.SAVED,
        Status.BAD_ADDRESS,
        Status.OPTED_OUT,
        Status.PLACEHOLDER,
        Status.PRIVATE_ADDRESS,
        Status.REPEATED_ID,
        Status.TOO_LARGE,
        Status.TOO_MANY_PIXELS,
        Status.UNSAFE_NAME,
        Status.UNSUPPORTED,
    }
)
"""Outcomes that another attempt with the same parameters would give again."""
RETRIES: Mapping[str, frozenset[Status]] = {
    "timeouts": TIMEOUTS,
    "failed": frozenset(Status) - LASTING,
    "all": frozenset(Status) - {Status.SAVED, Status.REPEATED_ID},
}
"""The statuses of rows that are downloaded again, by the values of `--retry`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """How a list is downloaded.

    Attributes:
        mirrors: URL templates with `{image_id}` and perhaps `{subset}`, tried before the list's own URLs.
        thumbnails: try the list's thumbnails last.
        rules: what a body must be to be saved.
        policy: how URLs are downloaded.
        shard_images: rows of a slice.
        placeholder_repeats: the same bytes from so many different URLs count as a placeholder; 0 for never.
        workers: processes that check bodies and write shards.
    """

    mirrors: tuple[str, ...] = ()
    thumbnails: bool = False
    rules: ImageRules = field(default_factory=ImageRules)
    policy: FetchPolicy = field(default_factory=FetchPolicy)
    shard_images: int = 1000
    placeholder_repeats: int = 20
    workers: int = 2

    def parameters(self) -> dict[str, Json]:
        """Return the options that decide which pictures are saved, and as what; speed, timeouts and retries do not."""
        resize = self.rules.resize
        return {
            "mirrors": list(self.mirrors),
            "shard_images": self.shard_images,
            "decode": self.rules.decode,
            "max_bytes": self.rules.limits.bytes,
            "max_pixels": self.rules.limits.pixels,
            "short_edge": 0 if resize is None else resize.short_edge,
            "quality": 0 if resize is None else resize.quality,
            "placeholders": sorted(one.sha256 for one in self.rules.placeholders),
            "placeholder_targets": list(self.policy.placeholder_targets),
            "placeholder_repeats": self.placeholder_repeats,
            "allow_private": self.policy.allow_private,
            "ignore_opt_out": self.policy.ignore_opt_out,
            # Only where they differ from what manifests without them mean: those downloads go on as they are.
            **({} if resize is None else {"upright": "all" if resize.upright else "re-encoded"}),
            **({"thumbnails": True} if self.thumbnails else {}),
        }


def download(
    given: Sequence[Location],
    out: Location,
    options: DownloadOptions,
    *,
    overwrite: bool = False,
    retry: str = "",
    resolver: Resolver | None = None,
    spool: Path | None = None,
    report: Report = lambda _: None,
    every: float = 1.0,
) -> StageOutcome[DownloadSummary]:
    """Download a list of images into a folder, or continue an interrupted run.

    Args:
        given: the list, see `mlimages_dataset.images.lists`.
        out: a new or empty folder, or one with this download, finished or interrupted.
        options: how it is downloaded.
        overwrite: replace another download in the folder.
        retry: which rows of a finished download to try again, a key of `RETRIES`; empty for none.
        resolver: resolves host names; None for the system's.
        spool: a folder of this machine for spool files; None for `out`.
        report: is called with the progress.
        every: seconds between two reports.

    Raises:
        UsageError, DataError: the list or the folder cannot be used.
    """
    _allow_descriptors()

    def work(at: Workplace) -> StageResult[DownloadSummary]:
        with contextlib.ExitStack() as stack:
            scratch = _spool_folder(at.out, spool, stack)
            images = ImageList(given, scratch=scratch)
            if options.thumbnails and not images.has_thumbnails:
                raise UsageError(
                    "there are no thumbnails: a file has no column Thumbnail300KURL",
                    where=given[0],
                    remedy="use Open Images' image tables, or leave out --thumbnails",
                )
            clear_shards(at.out, at.journal)
            downloading = DownloadRun(images, at.out, options, at.inputs, at.journal, scratch)
            stack.callback(downloading.close)
            return run_download(downloading, resolver, report, every)

    stage = Stage(
        name=STAGE,
        parameters=options.parameters(),
        inputs=_digests(given),
        work=work,
        summary=DownloadSummary,
        resumes=True,
        jobs_of=jobs_of,
    )
    output = OutputFolder(out, overwrite=overwrite)
    if not retry:
        return run(stage, output)
    first = None if STAGE in output.manifest.stages else run(stage, output)
    _reopen(output, stage, RETRIES[retry])
    last = run(stage, output)
    return last if first is None else replace(last, fresh=True)


def chosen_mirrors(named: Sequence[str], given: Sequence[Location]) -> tuple[str, ...]:
    """Return the URL templates of mirrors; if none is named, Open Images' bucket for lists of its image tables.

    Raises:
        UsageError: a name is neither known nor a URL template with `{image_id}`.
        DataError: a file of the list lacks the columns of a list.
    """
    if not named:
        return (OPEN_IMAGES_MIRROR,) if is_of_open_images(given) else ()
    if "none" in named:
        return ()
    templates = tuple(OPEN_IMAGES_MIRROR if one == "open-images" else one for one in named)
    for template in templates:
        if not template.startswith(("http://", "https://")) or "{image_id}" not in template:
            raise UsageError(
                f"{template!r} is not a mirror", remedy="give a URL with {image_id} in it, open-images or none"
            )
    return templates


def _digests(given: Sequence[Location]) -> dict[str, str]:
    files = [path for path in given if not path.is_dir()]
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise UsageError("there is no such file", where=missing, remedy="check the path")
    found = prefixed("list", digests(files))
    for number, folder in enumerate((path for path in given if path.is_dir()), 1):
        found |= table_digests(f"table {number}", folder)
    return found


def _spool_folder(folder: Location, spool: Path | None, stack: contextlib.ExitStack) -> Path:
    """Return a new folder for spool files, which is removed when the stack is closed."""
    if spool is None and isinstance(folder, Path):
        inside = folder / f"{PARTIAL_PREFIX}spool"
        remove_folder(inside)
        with write_errors(inside):
            inside.mkdir(parents=True)
        stack.callback(remove_folder, inside)
        return inside
    with write_errors(spool or folder):
        return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=spool, prefix="mlimages-spool-")))


def _allow_descriptors() -> None:
    """Raise this process's limit of open files, the default of which is too low for many connections."""
    try:
        import resource  # noqa: PLC0415 - Windows has no such limit
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _reopen(output: OutputFolder, stage: Stage[DownloadSummary], statuses: frozenset[Status]) -> None:
    """Mark the rows of a finished download with these statuses to be downloaded again, if there are any."""
    record = output.manifest.stages[STAGE]
    if dict(record.parameters) != encode(stage.parameters) or dict(record.inputs) != dict(stage.inputs):
        return  # another download: the stage refuses it
    parts = finished_parts(output.standing(STAGE))
    entries = [(job_name(number), _reopened(part, statuses)) for number, part in parts]
    if any(statuses_again(entry) for _, entry in entries):
        output.reopen(STAGE, journal_of(stage, output), entries)


def _reopened(part: WrittenPart, statuses: frozenset[Status]) -> Finished:
    """Return the journal's entry of a finished slice, with the statuses of its rows that are to be tried again."""
    again = sorted(status.value for status in statuses if part.counts.rows.get(status))
    finished = part.finished()
    return replace(finished, content={**finished.content, "again": again})
