"""Downloads published files, and checks that they are exactly what was published.

A file is downloaded to `NAME.part` and renamed when it is complete. A later attempt continues the part as long as the
publisher still serves the same entity (RFC 9110, sections 13.1.5 and 14: If-Range and range requests). `mlimages.lock`
in the output folder records size and SHA-256 of each file when it is first downloaded; later, a file that differs is an
error.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import requests
import urllib3

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DownloadError, MLImagesError, UsageError
from mlimages_dataset.core.locations import is_inside
from mlimages_dataset.sources.http import TRANSIENT_STATUSES, USER_AGENT, retry_after
from mlimages_dataset.sources.lock import LockRecord, read_lock, write_lock
from mlimages_dataset.sources.publishers import LOCK_NAME, UNKNOWN, select_files
from mlimages_dataset.tables.files import file_digest, give_name, write_bytes, write_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from mlimages_dataset.sources.publishers import Collection, PublishedFile

CHUNK_BYTES = 1 << 20

# With a compressed transfer, Content-Length and ranges would count other bytes than the stored ones.
REQUEST_HEADERS = {"Accept-Encoding": "identity", "User-Agent": USER_AGENT}


class FetchStatus(enum.StrEnum):
    """What happened to a file."""

    FETCHED = "fetched"
    """It was downloaded."""
    STANDS = "stands"
    """It existed and equals the recorded one."""
    RECORDED = "recorded"
    """A person had put it there; it is now in the lock file."""
    FAILED = "failed"
    """It could not be downloaded, or differs from the recorded or published one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one file.

    Attributes:
        file: the file.
        status: the result in one word.
        record: its record in the lock file; None if it failed.
        error: why it failed and how to obtain the file; None if it did not fail.
    """

    file: PublishedFile
    status: FetchStatus
    record: LockRecord | None = None
    error: MLImagesError | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to try again, and how long to wait for a server.

    Attributes:
        attempts: consecutive attempts without a byte of progress after which a file fails.
        first_wait: seconds before the second attempt, doubled each time.
        longest_wait: seconds; if a server asks to wait longer, the file fails.
        connect_timeout: seconds.
        read_timeout: seconds without a byte.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 120.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0


class Progress(Protocol):
    """Receives the progress of a fetch."""

    def received(self, file: PublishedFile, done: int, total: int) -> None:
        """Note that `done` of `total` bytes (`UNKNOWN` if the server did not say) are on the disk."""

    def finished(self, outcome: Outcome) -> None:
        """Note what happened to a file."""


class _NoProgress:
    def received(self, file: PublishedFile, done: int, total: int) -> None:
        pass

    def finished(self, outcome: Outcome) -> None:
        pass


def fetch_collection(
    collection: Collection,
    out: Path,
    *,
    only: Sequence[str] = (),
    progress: Progress | None = None,
    retry: RetryPolicy | None = None,
) -> tuple[Outcome, ...]:
    """Download the wanted files of a collection and return the outcome of each; a failure does not stop the others.

    Args:
        collection: the collection of the files.
        out: the folder to download into, which holds `mlimages.lock`.
        only: patterns of file names; none for the collection's default files.
        progress: receives the progress.
        retry: how often to try again, and how long to wait.

    Raises:
        UsageError: a pattern matches nothing, or the folder cannot be written.
        DataError: the lock file is damaged.
    """
    wanted = select_files(collection, only)
    progress = progress or _NoProgress()
    lock = read_lock(out)
    outcomes = []
    with requests.Session() as session:
        session.headers.update(REQUEST_HEADERS)
        for file in wanted:
            if not is_inside(out, file.name):
                raise UsageError(
                    f"the folder of {file.name} is a link to elsewhere", where=out, remedy="put a folder in its place"
                )
            download = _Download(session, file, out, progress, retry or RetryPolicy())
            outcome = _obtain(download, lock.get(file.name))
            if outcome.record is not None and outcome.record != lock.get(file.name):
                lock = {**lock, file.name: outcome.record}
                write_lock(out, lock)
            progress.finished(outcome)
            outcomes.append(outcome)
    return tuple(outcomes)


@dataclass(frozen=True, slots=True)
class _Download:
    """One file that is being downloaded into one folder."""

    session: requests.Session
    file: PublishedFile
    out: Path
    progress: Progress
    retry: RetryPolicy

    @property
    def target(self) -> Path:
        return self.out / self.file.name

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def part_entity(self) -> Path:
        """The file with the `_Entity` that the bytes of `part` belong to."""
        return self.target.with_name(self.target.name + ".part.json")


@dataclass(frozen=True, slots=True)
class _Entity:
    """One version of a published file, by the server's headers; a part is continued only for the same version."""

    url: str
    bytes: int
    etag: str
    last_modified: str
    md5: str

    @property
    def validator(self) -> str:
        """Return what If-Range accepts: a strong entity tag, else the date; empty if the server gave neither."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class _TransientError(Exception):
    """An attempt failed, and another one may succeed."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def _obtain(download: _Download, record: LockRecord | None) -> Outcome:
    file = download.file
    try:
        if download.target.exists():
            found = _record_of(download.target, file, etag="")
            _check_digest(download, found, record)
            return Outcome(file, FetchStatus.RECORDED if record is None else FetchStatus.STANDS, record or found)
        if not file.url:
            raise _unavailable(download, "its publisher offers it only through a web page")
        entity, sha256 = _download(download)
        arrived = LockRecord(file.url, download.part.stat().st_size, sha256, entity.etag, _now())
        _check_digest(download, arrived, record)
        give_name(download.part, download.target)
        download.part_entity.unlink(missing_ok=True)
        return Outcome(file, FetchStatus.FETCHED, record or arrived)
    except DownloadError as error:
        return Outcome(file, FetchStatus.FAILED, error=error)


def _record_of(path: Path, file: PublishedFile, *, etag: str) -> LockRecord:
    return LockRecord(file.url, path.stat().st_size, file_digest(path), etag, _now())


def _check_digest(download: _Download, found: LockRecord, record: LockRecord | None) -> None:
    """Raise `DownloadError` unless a file is the published one and the recorded one."""
    file, target = download.file, download.target
    if file.sha256 and found.sha256 != file.sha256:
        raise DownloadError(
            f"its SHA-256 is {found.sha256}, but {file.sha256} was published",
            where=target,
            remedy=f"obtain {file.name} from {file.page} and put it at {target} instead",
        )
    if record is not None and found.sha256 != record.sha256:
        on_disk, lock = target.exists(), download.out / LOCK_NAME
        cause = "it changed on the disk" if on_disk else f"it changed at the publisher, {file.url}"
        remedy = (
            f"remove {target.name} to fetch it again" if on_disk else f"put a copy of the recorded file at {target}"
        )
        raise DownloadError(
            f"{cause}: its SHA-256 is {found.sha256}, but {LOCK_NAME} recorded {record.sha256} on {record.date}",
            where=target,
            remedy=f"{remedy}, or remove the entry of {file.name} from {lock} to accept this one, and run again",
        )


def _unavailable(download: _Download, reason: str) -> DownloadError:
    file = download.file
    return DownloadError(
        f"{file.name} ({file.what}) cannot be fetched: {reason}",
        where=file.url or file.page,
        remedy=f"obtain it from {file.page}, put it at {download.target} and run the command again to record it",
    )


def _download(download: _Download) -> tuple[_Entity, str]:
    """Download the rest of `part`; return its entity and the SHA-256 of the whole.

    Raises:
        DownloadError: the address does not work, or the server failed too often.
    """
    retry, fruitless = download.retry, 0
    while True:
        before = _size(download.part)
        try:
            return _attempt(download)
        except _TransientError as fault:
            fruitless = 1 if _size(download.part) > before else fruitless + 1
            wait = retry.first_wait * 2 ** (fruitless - 1) if fault.wait is None else fault.wait
            if fruitless >= retry.attempts:
                raise _unavailable(download, f"{fault}, {fruitless} times") from fault
            if fault.wait is not None and wait > retry.longest_wait:
                raise _unavailable(download, f"{fault}, and its server asks to wait {wait:,.0f} s") from fault
            time.sleep(min(wait, retry.longest_wait))


def _attempt(download: _Download) -> tuple[_Entity, str]:
    """Download what is missing and append it to `part`; returns as `_download`.

    Raises:
        _TransientError: another attempt may succeed.
        DownloadError: no attempt can succeed.
    """
    known = _read_entity(download)
    have = _size(download.part) if known is not None else 0
    if known is not None and have == known.bytes:
        return known, _append(download, (), known)
    headers = {}
    # If the length is unknown, a server that sends less than the rest would go unnoticed.
    if known is not None and have and known.validator and known.bytes != UNKNOWN:
        headers = {"Range": f"bytes={have}-", "If-Range": known.validator}
    with _get(download, headers) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            _discard(download)
            raise _TransientError("its server does not continue a part")
        if response.status_code not in {requests.codes.ok, requests.codes.partial_content}:
            raise _refusal(download, response)
        entity = _described(download, response)
        if response.status_code == requests.codes.partial_content:
            if known is None or not _continues(response, entity, known, have):
                _discard(download)
                raise _TransientError("its server sent another range than requested")
            entity = known
        else:
            # Download the whole file again: the server does not support ranges, or the file has changed.
            _discard(download)
            write_bytes(download.part_entity, json.dumps(dataclasses.asdict(entity)).encode())
        return entity, _append(download, response.raw.stream(CHUNK_BYTES, decode_content=False), entity)


def _get(download: _Download, headers: Mapping[str, str]) -> requests.Response:
    timeout = (download.retry.connect_timeout, download.retry.read_timeout)
    try:
        return download.session.get(download.file.url, headers=headers, stream=True, timeout=timeout)
    except (requests.exceptions.ConnectTimeout, requests.exceptions.ReadTimeout) as error:
        raise _TransientError("its server does not answer in time") from error
    except requests.exceptions.SSLError as error:
        raise _unavailable(download, f"its server's certificate is not accepted ({_root_cause(error)})") from error
    except requests.exceptions.ConnectionError as error:
        cause = error.args[0] if error.args else error
        cause = getattr(cause, "reason", cause)
        if isinstance(cause, urllib3.exceptions.NameResolutionError):
            raise _unavailable(
                download, f"the host name {urlsplit(download.file.url).hostname} has no address"
            ) from error
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            raise _unavailable(download, f"no connection to its server ({_root_cause(error)})") from error
        raise _TransientError(f"the connection was lost ({_root_cause(error)})") from error
    except requests.exceptions.RequestException as error:
        raise _unavailable(download, f"its address cannot be requested ({error})") from error


def _root_cause(error: BaseException) -> str:
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refusal(download: _Download, response: requests.Response) -> Exception:
    reason = f"its server answers {response.status_code} {response.reason}".rstrip()
    if response.status_code not in TRANSIENT_STATUSES:
        return _unavailable(download, reason)
    return _TransientError(reason, wait=retry_after(response.headers.get("Retry-After")))


def _described(download: _Download, response: requests.Response) -> _Entity:
    """Return the entity that a response carries.

    Raises:
        DownloadError: the response does not hold the file's own bytes.
    """
    headers, name = response.headers, download.file.name
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type == "text/html" and not name.endswith((".html", ".htm")):
        raise _unavailable(download, "its server answers with a web page instead")
    encoding = headers.get("Content-Encoding", "identity").lower()
    # Some servers label an archive "encoded", but send the published bytes.
    if encoding != "identity" and not name.endswith((".gz", ".tgz")):
        raise _unavailable(download, f"its server sends it only with the content encoding {encoding}")
    length = headers.get("Content-Length", "")
    if not length.isdecimal() and headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise _unavailable(
            download, "its server does not state its length, so a truncated transfer would look complete"
        )
    return _Entity(
        url=download.file.url,
        bytes=int(length) if length.isdecimal() else UNKNOWN,
        etag=headers.get("ETag", ""),
        last_modified=headers.get("Last-Modified", ""),
        md5=_published_md5(response),
    )


def _published_md5(response: requests.Response) -> str:
    """Return the MD5 (hex) that Google Cloud Storage gives for the whole object; empty if there is none.

    https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash
    """
    if response.headers.get("x-goog-stored-content-encoding", "identity") != "identity":
        return ""
    match = re.search(r"md5=([A-Za-z0-9+/]+=*)", response.headers.get("x-goog-hash", ""))
    try:
        return base64.b64decode(match[1], validate=True).hex() if match else ""
    except binascii.Error:
        return ""


def _continues(response: requests.Response, entity: _Entity, known: _Entity, have: int) -> bool:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        return False
    same_length = match[2] == "*" or known.bytes in {UNKNOWN, int(match[2])}
    # A server that supports ranges but not If-Range would continue a changed file too.
    same_tag = entity.etag == known.etag if entity.etag else entity.last_modified in {"", known.last_modified}
    return same_length and same_tag


def _append(download: _Download, chunks: Iterable[bytes], entity: _Entity) -> str:
    """Append the received bytes to `part`, check that the entity is complete, and return the SHA-256 of the whole."""
    part = download.part
    with write_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        stream = part.open("a+b")
    with stream:
        sha256, md5 = _hash_so_far(stream)
        done = stream.tell()
        download.progress.received(download.file, done, entity.bytes)
        try:
            for chunk in chunks:
                with write_errors(part):
                    stream.write(chunk)
                sha256.update(chunk)
                md5.update(chunk)
                done += len(chunk)
                download.progress.received(download.file, done, entity.bytes)
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(f"the connection was lost after {done:,} bytes") from error
        with write_errors(part):
            stream.flush()
            os.fsync(stream.fileno())
    if _size(part) > done or UNKNOWN < entity.bytes < done:
        _discard(download)
        raise _TransientError("its server sent more bytes than it had announced")
    if done < entity.bytes:
        raise _TransientError(f"its server closed the connection after {done:,} of {entity.bytes:,} bytes")
    if entity.md5 and md5.hexdigest() != entity.md5:
        _discard(download)
        raise _unavailable(download, f"its MD5 is {md5.hexdigest()}, but its server announced {entity.md5}")
    return sha256.hexdigest()


def _hash_so_far(stream: IO[bytes]) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Return the SHA-256 and MD5 of a file from its start; the stream then stands at its end."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    stream.seek(0)
    while chunk := stream.read(CHUNK_BYTES):
        sha256.update(chunk)
        md5.update(chunk)
    return sha256, md5


def _read_entity(download: _Download) -> _Entity | None:
    """Return the entity of the bytes in `part`; None if there is no part, or its entity is unknown."""
    try:
        entity = _Entity(**parse_json(download.part_entity.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return entity if entity.url == download.file.url and download.part.exists() else None


def _discard(download: _Download) -> None:
    # Remove the bytes first: their description alone does no harm.
    with write_errors(download.part):
        download.part.unlink(missing_ok=True)
        download.part_entity.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
