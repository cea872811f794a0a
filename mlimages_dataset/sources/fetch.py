"""The publishers' full files: where they are, and how to hold exactly what was published.

The packaged `publishers.toml` names each collection's files. A file arrives in `NAME.part`, which a later attempt
continues from where it was cut as long as the publisher still serves the same entity (RFC 9110, sections 13.1.5 and
14: If-Range and range requests), and takes its own name only when all of it is there. `mlimages.lock` in the output
folder records size and SHA-256 of each file at its first arrival; from then on a file that differs is an error.
This is the only module that knows HTTP.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import difflib
import enum
import fnmatch
import hashlib
import json
import os
import re
import time
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from mlimages_dataset.core.errors import ConfigError, DataError, DownloadError, MLImagesError, UsageError
from mlimages_dataset.core.locations import is_inside, is_plain
from mlimages_dataset.tables.files import file_digest, give_name, write_bytes, write_errors
from mlimages_dataset.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

LOCK_NAME = "mlimages.lock"
LOCK_FORMAT = "mlimages.lock/1"
CHUNK_BYTES = 1 << 20
UNKNOWN = -1
"""A size that nobody has told."""

# A compressed transfer would leave Content-Length and ranges about other bytes than those we keep.
REQUEST_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"mlimages-dataset/{__version__}"}
PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a publisher.

    Attributes:
        name: its path below the output folder, with forward slashes.
        url: its address; empty where the publisher hands it out through a web page only.
        what: what it holds.
        reader: the command that reads it.
        licence: its licence.
        page: where to look for it when the address is dead.
        approximate_bytes: `UNKNOWN` where nobody has told.
        sha256: the digest it must have; empty where the first fetch records it.
    """

    name: str
    what: str
    url: str = ""
    reader: str = ""
    licence: str = ""
    page: str = ""
    approximate_bytes: int = UNKNOWN
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """The files of one publisher; `default` are the patterns of those fetched when none is asked for."""

    name: str
    title: str
    licence: str
    page: str
    default: tuple[str, ...]
    files: tuple[PublishedFile, ...]

    def matching(self, patterns: Iterable[str]) -> tuple[PublishedFile, ...]:
        """Return the files whose names match any of the patterns (`*`, `?`, `[...]`)."""
        return tuple(file for file in self.files if any(fnmatch.fnmatchcase(file.name, each) for each in patterns))


@dataclass(frozen=True, slots=True)
class LockRecord:
    """What a file was at its first arrival; `etag` is empty where the publisher gave none or a person placed it."""

    url: str
    bytes: int
    sha256: str
    etag: str
    date: str


class Status(enum.StrEnum):
    """How a file came to be, or not to be, in the output folder."""

    FETCHED = "fetched"
    STANDS = "stands"
    RECORDED = "recorded"
    """Somebody had put it there; it is in the lock file from now on."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: its record in the lock file, or the error that says how to obtain it."""

    file: PublishedFile
    status: Status
    record: LockRecord | None = None
    error: MLImagesError | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server.

    Attributes:
        attempts: without a byte of progress, before a file is given up.
        first_wait: seconds before the second attempt, doubled each time.
        longest_wait: seconds; a server that asks for more is given up.
        connect_timeout: seconds.
        read_timeout: seconds without a byte.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 120.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0


class Progress(Protocol):
    """Hears how a fetch goes."""

    def received(self, file: PublishedFile, done: int, total: int) -> None:
        """Hear that `done` of `total` bytes (`UNKNOWN` where the server did not say) are on the disk."""

    def finished(self, outcome: Outcome) -> None:
        """Hear what became of a file."""


class _Silence:
    def received(self, file: PublishedFile, done: int, total: int) -> None:
        pass

    def finished(self, outcome: Outcome) -> None:
        pass


_Item = TypeVar("_Item")
_Record = TypeVar("_Record", PublishedFile, Collection, LockRecord)


def read_publishers(path: Path | None = None) -> Mapping[str, Collection]:
    """Return the collections by name: the packaged ones, or those of a TOML file of the same form.

    Raises:
        UsageError: there is no such file.
        ConfigError: it is no TOML, or an entry is not of the form that `publishers.toml` explains.
    """
    source = resources.files("mlimages_dataset.sources").joinpath("publishers.toml") if path is None else path
    try:
        tables = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})", where=source, remedy="check the path") from error
    except ValueError as error:
        raise ConfigError(f"is not valid TOML ({error})", where=source, remedy="correct it") from error
    return {name: _collection(name, table, source) for name, table in tables.items()}


def _collection(name: str, table: object, source: object) -> Collection:
    where = f"{source}, [{name}]"
    if not isinstance(table, dict):
        raise ConfigError("is no table", where=where, remedy="write it as [name] and [[name.files]]")
    entries, default = _list_of(dict, table.get("files")), _list_of(str, table.get("default", ["*"]))
    if not entries:
        raise ConfigError("names no file", where=where, remedy="add a [[name.files]] entry")
    if not default:
        raise ConfigError("default is no list of patterns", where=where, remedy='write default = ["*"]')
    inherited = {"licence": table.get("licence", ""), "page": table.get("page", "")}
    files = tuple(_from_table(PublishedFile, {**inherited, **entry}, where) for entry in entries)
    names = [file.name for file in files]
    for file in files:
        _check_published(file, where)
        if names.count(file.name) > 1:
            raise ConfigError(f"{file.name} stands twice", where=where, remedy="give each file a name of its own")
    fields = {"title": name, **inherited, **table, "name": name, "default": tuple(default), "files": files}
    return _from_table(Collection, fields, where)


def _list_of(kind: type[_Item], value: object) -> list[_Item]:
    """Return a value that is a list of such items, an empty list for any other."""
    return value if isinstance(value, list) and all(isinstance(item, kind) for item in value) else []


def _from_table(kind: type[_Record], table: Mapping[str, object], where: object) -> _Record:
    """Return a record of a table's entries, each of the type its field is annotated with."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ConfigError(
                f"unknown key {key}",
                where=where,
                remedy=f"did you mean {near[0]}?" if near else f"use {', '.join(fields)}",
            )
        wanted = {"str": str, "int": int}.get(str(fields[key].type), tuple)
        if not isinstance(value, wanted):
            raise ConfigError(f"{key} is {value!r}, not a {wanted.__name__}", where=where, remedy="correct it")
    missing = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name not in table]
    if missing:
        raise ConfigError(f"an entry lacks {', '.join(missing)}", where=where, remedy="add it")
    return kind(**table)  # type: ignore[arg-type]  # checked above, field by field


def _check_published(file: PublishedFile, where: object) -> None:
    if not is_plain(file.name) or file.name == LOCK_NAME:
        raise ConfigError(f"{file.name!r} is no path below the output folder", where=where, remedy="name it otherwise")
    if file.url and urlsplit(file.url).scheme not in {"http", "https"}:
        raise ConfigError(f"{file.url} is not an http or https address", where=where, remedy="give such an address")
    if not file.page:
        raise ConfigError(f"{file.name} has no page", where=where, remedy="say where to look for the file")


def select_files(collection: Collection, only: Sequence[str] = ()) -> tuple[PublishedFile, ...]:
    """Return the files whose names match any of the patterns, the collection's default without any.

    Raises:
        UsageError: a pattern matches no file.
    """
    patterns = only or collection.default
    for pattern in patterns:
        if not collection.matching([pattern]):
            names = [file.name for file in collection.files]
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
            raise UsageError(
                f"no file of {collection.name} matches {pattern}",
                remedy=f"did you mean {near[0]}? --list shows them all" if near else "--list shows them all",
            )
    return collection.matching(patterns)


def fetch_collection(
    collection: Collection,
    out: Path,
    *,
    only: Sequence[str] = (),
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> tuple[Outcome, ...]:
    """Return what became of each wanted file; those that cannot be obtained do not keep the others from it.

    Args:
        collection: whose files.
        out: the folder they go to, which holds `mlimages.lock`.
        only: patterns of file names; the collection's default where there are none.
        progress: hears how it goes.
        patience: how long to wait for a server.

    Raises:
        UsageError: a pattern matches nothing, or the folder cannot be written.
        DataError: the lock file is not one.
    """
    wanted = select_files(collection, only)
    listener: Progress = progress or _Silence()
    lock = read_lock(out)
    outcomes = []
    with requests.Session() as session:
        session.headers.update(REQUEST_HEADERS)
        for file in wanted:
            if not is_inside(out, file.name):
                raise UsageError(
                    f"the folder of {file.name} is a link to elsewhere", where=out, remedy="put a folder in its place"
                )
            download = _Download(session, file, out, listener, patience or Patience())
            outcome = _obtain(download, lock.get(file.name))
            if outcome.record is not None and outcome.record != lock.get(file.name):
                lock = {**lock, file.name: outcome.record}
                write_lock(out, lock)
            listener.finished(outcome)
            outcomes.append(outcome)
    return tuple(outcomes)


def read_lock(out: Path) -> Mapping[str, LockRecord]:
    """Return what the output folder's lock file records, by file name; nothing where there is none yet.

    Raises:
        DataError: it is not a lock file of this format.
    """
    path = out / LOCK_NAME
    remedy = "restore it, or remove it to record the files as they are now"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != LOCK_FORMAT:
            raise DataError(f"its format is {content['format']}, not {LOCK_FORMAT}", where=path, remedy=remedy)
        return {name: _from_table(LockRecord, record, path) for name, record in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(f"is not a whole lock file ({error})", where=path, remedy=remedy) from error


def write_lock(out: Path, lock: Mapping[str, LockRecord]) -> None:
    """Write the lock file, whole."""
    files = {name: dataclasses.asdict(record) for name, record in sorted(lock.items())}
    content = json.dumps({"format": LOCK_FORMAT, "files": files}, indent=2, ensure_ascii=False) + "\n"
    write_bytes(out / LOCK_NAME, content.encode())


@dataclass(frozen=True, slots=True)
class _Download:
    """One file on its way into one folder."""

    session: requests.Session
    file: PublishedFile
    out: Path
    progress: Progress
    patience: Patience

    @property
    def target(self) -> Path:
        return self.out / self.file.name

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def part_entity(self) -> Path:
        """The file that says which entity the bytes of `part` belong to."""
        return self.target.with_name(self.target.name + ".part.json")


@dataclass(frozen=True, slots=True)
class _Entity:
    """One state of a published file, as a server's headers tell it; a part is continued for the same entity only."""

    url: str
    bytes: int
    etag: str
    last_modified: str
    md5: str

    @property
    def validator(self) -> str:
        """Return what If-Range accepts: a strong entity tag, else the date; empty where the server gave neither."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class _PassingFaultError(Exception):
    """An attempt that failed in a way that another attempt may mend."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def _obtain(download: _Download, record: LockRecord | None) -> Outcome:
    file = download.file
    try:
        if download.target.exists():
            found = _record_of(download.target, file, etag="")
            _check_digest(download, found, record)
            return Outcome(file, Status.RECORDED if record is None else Status.STANDS, record or found)
        if not file.url:
            raise _by_hand(download, "the publisher hands it out through a web page only")
        entity, sha256 = _download(download)
        arrived = LockRecord(file.url, download.part.stat().st_size, sha256, entity.etag, _now())
        _check_digest(download, arrived, record)
        give_name(download.part, download.target)
        download.part_entity.unlink(missing_ok=True)
        return Outcome(file, Status.FETCHED, record or arrived)
    except DownloadError as error:
        return Outcome(file, Status.FAILED, error=error)


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
        whence = "it changed on the disk" if on_disk else f"it changed at the publisher, {file.url}"
        remedy = (
            f"remove {target.name} to fetch it again" if on_disk else f"put a copy of the recorded file at {target}"
        )
        raise DownloadError(
            f"{whence}: its SHA-256 is {found.sha256}, but {LOCK_NAME} recorded {record.sha256} on {record.date}",
            where=target,
            remedy=f"{remedy}, or remove the entry of {file.name} from {lock} to accept this one, and run again",
        )


def _by_hand(download: _Download, reason: str) -> DownloadError:
    file = download.file
    return DownloadError(
        f"{file.name} ({file.what}) cannot be fetched: {reason}",
        where=file.url or file.page,
        remedy=f"obtain it from {file.page}, put it at {download.target} and run the command again to record it",
    )


def _download(download: _Download) -> tuple[_Entity, str]:
    """Return the entity that `part` now holds all of, and its SHA-256.

    Raises:
        DownloadError: the address is dead, or the server failed too often.
    """
    patience, fruitless = download.patience, 0
    while True:
        before = _size(download.part)
        try:
            return _attempt(download)
        except _PassingFaultError as fault:
            fruitless = 1 if _size(download.part) > before else fruitless + 1
            wait = patience.first_wait * 2 ** (fruitless - 1) if fault.wait is None else fault.wait
            if fruitless >= patience.attempts:
                raise _by_hand(download, f"{fault}, {fruitless} times") from fault
            if fault.wait is not None and wait > patience.longest_wait:
                raise _by_hand(download, f"{fault}, and its server wants a pause of {wait:,.0f} s") from fault
            time.sleep(min(wait, patience.longest_wait))


def _attempt(download: _Download) -> tuple[_Entity, str]:
    """Ask for what is missing and append it; `_PassingFaultError` where another attempt may do better."""
    known = _read_entity(download)
    have = _size(download.part) if known is not None else 0
    if known is not None and have == known.bytes:
        return known, _append(download, (), known)
    headers = {}
    # Where the length is unknown, a server that continues with less than all of the rest could not be told.
    if known is not None and have and known.validator and known.bytes != UNKNOWN:
        headers = {"Range": f"bytes={have}-", "If-Range": known.validator}
    with _get(download, headers) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            _discard(download)
            raise _PassingFaultError("its server does not continue a part")
        if response.status_code not in {requests.codes.ok, requests.codes.partial_content}:
            raise _refusal(download, response)
        entity = _described(download, response)
        if response.status_code == requests.codes.partial_content:
            if known is None or not _continues(response, entity, known, have):
                _discard(download)
                raise _PassingFaultError("its server continued another part than was asked for")
            entity = known
        else:
            # The whole again: this server knows no ranges, or the file is another one by now.
            _discard(download)
            write_bytes(download.part_entity, json.dumps(dataclasses.asdict(entity)).encode())
        return entity, _append(download, response.raw.stream(CHUNK_BYTES, decode_content=False), entity)


def _get(download: _Download, headers: Mapping[str, str]) -> requests.Response:
    timeout = (download.patience.connect_timeout, download.patience.read_timeout)
    try:
        return download.session.get(download.file.url, headers=headers, stream=True, timeout=timeout)
    except (requests.exceptions.ConnectTimeout, requests.exceptions.ReadTimeout) as error:
        raise _PassingFaultError("its server does not answer in time") from error
    except requests.exceptions.SSLError as error:
        raise _by_hand(download, f"its server's certificate is not accepted ({_root_cause(error)})") from error
    except requests.exceptions.ConnectionError as error:
        cause = error.args[0] if error.args else error
        cause = getattr(cause, "reason", cause)
        if isinstance(cause, urllib3.exceptions.NameResolutionError):
            raise _by_hand(download, f"the name {urlsplit(download.file.url).hostname} has no address") from error
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            raise _by_hand(download, f"its server does not take the call ({_root_cause(error)})") from error
        raise _PassingFaultError(f"the connection was lost ({_root_cause(error)})") from error
    except requests.exceptions.RequestException as error:
        raise _by_hand(download, f"its address leads nowhere ({error})") from error


def _root_cause(error: BaseException) -> str:
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _refusal(download: _Download, response: requests.Response) -> Exception:
    reason = f"its server answers {response.status_code} {response.reason}".rstrip()
    if response.status_code not in PASSING_STATUSES:
        return _by_hand(download, reason)
    return _PassingFaultError(reason, wait=_retry_after(response))


def _retry_after(response: requests.Response) -> float | None:
    header = response.headers.get("Retry-After")
    try:
        return None if header is None else urllib3.Retry().parse_retry_after(header)
    except urllib3.exceptions.InvalidHeader:
        return None


def _described(download: _Download, response: requests.Response) -> _Entity:
    """Return the entity that a response carries, or raise `DownloadError` where it is not the file's own bytes."""
    headers, name = response.headers, download.file.name
    content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type == "text/html" and not name.endswith((".html", ".htm")):
        raise _by_hand(download, "its server answers with a web page instead")
    encoding = headers.get("Content-Encoding", "identity").lower()
    # Some servers call an archive "encoded"; its bytes are nevertheless those that were published.
    if encoding != "identity" and not name.endswith((".gz", ".tgz")):
        raise _by_hand(download, f"its server insists on sending it encoded as {encoding}")
    length = headers.get("Content-Length", "")
    if not length.isdecimal() and headers.get("Transfer-Encoding", "").lower() != "chunked":
        raise _by_hand(download, "its server does not say how long it is, so that a cut could not be told from its end")
    return _Entity(
        url=download.file.url,
        bytes=int(length) if length.isdecimal() else UNKNOWN,
        etag=headers.get("ETag", ""),
        last_modified=headers.get("Last-Modified", ""),
        md5=_published_md5(response),
    )


def _published_md5(response: requests.Response) -> str:
    """Return the MD5 (hex) that Google Cloud Storage gives for the whole object, empty where there is none.

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
    # A server that knows ranges but not If-Range continues a changed file, too.
    same_tag = entity.etag == known.etag if entity.etag else entity.last_modified in {"", known.last_modified}
    return same_length and same_tag


def _append(download: _Download, chunks: Iterable[bytes], entity: _Entity) -> str:
    """Append what arrives to `part` and check that it is all of the entity; return the SHA-256 of all of it."""
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
            raise _PassingFaultError(f"the connection was lost after {done:,} bytes") from error
        with write_errors(part):
            stream.flush()
            os.fsync(stream.fileno())
    if _size(part) > done or UNKNOWN < entity.bytes < done:
        _discard(download)
        raise _PassingFaultError("more bytes arrived than its server had announced")
    if done < entity.bytes:
        raise _PassingFaultError(f"its server closed the connection after {done:,} of {entity.bytes:,} bytes")
    if entity.md5 and md5.hexdigest() != entity.md5:
        _discard(download)
        raise _by_hand(download, f"what arrived has the MD5 {md5.hexdigest()}, but its server announced {entity.md5}")
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
    """Return the entity of the bytes in `part`; none where there is no part, or nobody knows what it is a part of."""
    try:
        entity = _Entity(**json.loads(download.part_entity.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return entity if entity.url == download.file.url and download.part.exists() else None


def _discard(download: _Download) -> None:
    # The bytes go first: without them, what is said about them misleads nobody.
    with write_errors(download.part):
        download.part.unlink(missing_ok=True)
        download.part_entity.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
