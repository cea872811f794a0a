"""Locations of files: a local path, or a URL such as `s3://bucket/folder` that fsspec opens."""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import stat
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from mlimages_dataset.core.errors import MLImagesError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa
    from upath import UPath
else:

    class UPath(abc.ABC):  # noqa: B024 - instances are those of another class
        """Stands for `upath.UPath`, whose import takes 0.3 s and is needed for URLs only."""

        @classmethod
        def __subclasshook__(cls, kind: type) -> bool:
            """Return whether a class is one of universal-pathlib; without it imported, none is."""
            real = getattr(sys.modules.get("upath"), "UPath", None)
            return real is not None and issubclass(kind, real)


Location: TypeAlias = Path | UPath
"""A `Path` is local; any other `UPath` is remote."""

_EXTRAS = {"s3": "s3"}
"""The extra of this package that installs the client of each protocol."""
_LONGEST_NAME = 200
"""Bytes of a folder's name: file systems take 255, and the names of marks of a stage hold it and some 40 more."""
_NO_SIGNS = frozenset('/\\:*?"<>|')
"""What Windows has in no name (https://learn.microsoft.com/windows/win32/fileio/naming-a-file)."""
_NO_KINDS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, halves of a pair, and ends of a line."""
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {one + sign for one in ("com", "lpt") for sign in "123456789\u00b9\u00b2\u00b3"}
)
"""Names that are devices on Windows, with any suffix (as above)."""


def location(text: str) -> Location:
    """Return the location that a path or URL names.

    Raises:
        UsageError: it names none, the protocol is unknown, its client is not installed, or the store does not answer.
    """
    refuse_no_path(text)
    if "://" not in text:
        return Path(text)
    from fsspec import available_protocols  # noqa: PLC0415 - 0.2 s, which local paths need not pay
    from upath import UPath  # noqa: PLC0415 - as above

    protocol = text.partition("://")[0]
    if protocol not in available_protocols():
        raise UsageError(f"the protocol {protocol}:// is not supported", where=text, remedy="check how the URL begins")
    try:
        # Other processes write here too, so a listing must not be cached.
        place = UPath(text, use_listings_cache=False)
        if place.protocol in {"file", "local"}:
            return Path(place.path)
        place.exists()
    except ImportError as error:
        extra = f"pip install 'mlimages-dataset[{_EXTRAS[protocol]}]'" if protocol in _EXTRAS else "install it"
        raise UsageError(f"a package is missing ({error})", where=text, remedy=f"run: {extra}") from error
    except Exception as error:
        # A store's client raises its own exceptions.
        raise UsageError(
            f"the store does not answer ({reason(error)})", where=text, remedy="check the address and the credentials"
        ) from error
    return place


def is_url(text: str) -> bool:
    """Return whether a text names a place of another machine; no store is asked.

    >>> is_url("s3://bucket"), is_url("file:///data"), is_url("data")
    (True, False, False)
    """
    protocol, sign, _ = text.partition("://")
    return bool(sign) and protocol not in {"file", "local"}


def refuse_no_path(text: str, what: str = "a path") -> None:
    """Raise a `UsageError` for a text that can be the path of nothing: an empty one would be the working folder."""
    if not text.strip():
        raise UsageError(f"{what} is an empty text", remedy="name a file or a folder (. is the one you are in)")
    try:
        is_path = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        is_path = False
    if not is_path:
        raise UsageError(f"{what} is {text!a}, which cannot be a path", remedy="correct it")


def user_cache() -> Path:
    """Return the folder of this user's caches (https://specifications.freedesktop.org/basedir-spec)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "mlimages-dataset"


def is_local(place: Location) -> bool:
    """Return whether a location is on a local file system."""
    return isinstance(place, Path)


def relative(place: Location, folder: Location) -> str:
    """Return the path of a location relative to a folder, with slashes."""
    return place.relative_to(folder).as_posix()  # type: ignore[arg-type]  # both are of one kind


def paths_outside(folder: Location, paths: Iterable[str]) -> list[str]:
    """Return the paths that lead out of the folder they are relative to, sorted.

    All paths in manifests, journals and tables are checked here, because a stranger may have written these files. A
    path leads out by its name (`..`, an absolute path, a backslash, a colon, an empty part, a zero byte), or because a
    folder on its way is a link to elsewhere. The last part may itself be a link: removing or replacing it only removes
    or replaces the link, and stores of published files link each file to its content.
    """
    named = sorted(set(paths))
    outside = {path for path in named if not is_plain(path)}
    if isinstance(folder, Path):
        parents = {path: path.rpartition("/")[0] for path in named if path not in outside}
        leaving = {parent for parent in set(parents.values()) if parent and not _stays(folder, parent)}
        outside |= {path for path, parent in parents.items() if parent in leaving}
    return [path for path in named if path in outside]


def is_inside(folder: Location, path: str) -> bool:
    """Return whether a path stays in the folder it is relative to, see `paths_outside`."""
    return not paths_outside(folder, [path])


def folder_stays(folder: Location, path: str) -> bool:
    """Return whether the path of a sub-folder (empty: the folder itself) stays inside and is no link to elsewhere."""
    return not path or is_inside(folder, f"{path}/file")


def is_plain(path: str) -> bool:
    """Return whether a relative path stays in its folder by its name alone; links are not considered."""
    return not ("\\" in path or ":" in path or "\0" in path or {"", ".", ".."} & set(path.split("/")))


def is_folder_name(name: str) -> bool:
    r"""Return whether a name given by a user can be that of a folder on Linux, macOS and Windows, beside its marks.

    Manifests and tables hold such names, and a folder that one system wrote is copied to another. A name has at most
    200 bytes, no `/ \ : * ? " < > |` and no control character or end of a line, ends with neither a blank nor a dot,
    and is none that Windows keeps for devices, such as `con` or `nul.txt`.
    """
    return bool(name) and name == as_folder_name(name)


def as_folder_name(name: str, other: str = "_", *, longest: int = _LONGEST_NAME) -> str:
    """Return a name as one of at most so many bytes that a folder can have, see `is_folder_name`.

    It is `other` if nothing of the name remains.

    >>> as_folder_name("labels 10:30?"), as_folder_name("con.txt"), as_folder_name("cats. "), as_folder_name("..", "it")
    ('labels 10_30_', 'con_.txt', 'cats', 'it')
    """
    plain = "".join("_" if sign in _NO_SIGNS or unicodedata.category(sign) in _NO_KINDS else sign for sign in name)
    stem, dot, rest = plain.partition(".")
    if stem.strip().casefold() in _DEVICES:
        plain = f"{stem.rstrip()}_{dot}{rest}"
    made = plain.encode()[:longest].decode(errors="ignore").rstrip(" .")
    return made if made.strip() else other


def _stays(folder: Path, path: str) -> bool:
    return (folder / path).resolve().is_relative_to(folder.resolve())


def remove_folder(folder: Location) -> None:
    """Remove a local folder with its content; of a link remove only the link. The folder need not exist."""
    if isinstance(folder, Path) and folder.is_symlink():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(str(folder), ignore_errors=True)


def as_text(name: str) -> str:
    r"""Return a name that UTF-8 can encode: names in file systems and archives may hold any bytes.

    Each part of a path is read as lines of lists are, see `decoded_bytes`: so names in one encoding stay different, and
    a picture has the id that a list in the same encoding gives it.

    >>> as_text("cat/caf\udce9.jpg"), as_text("cat/1.jpg")
    ('cat/café.jpg', 'cat/1.jpg')
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return "/".join(decoded_bytes(part.encode(errors="surrogateescape")) for part in name.split("/"))
    return name


def refuse_no_unicode(place: Location) -> None:
    """Raise a `UsageError` if the name of a file or of a folder above it is not valid Unicode."""
    text = str(place)
    if as_text(text) != text:
        raise UsageError(
            "has a name that is not valid Unicode", where=ascii(text), remedy="rename it, or a folder above it"
        )


def decoded_bytes(written: bytes) -> str:
    """Return bytes as text: UTF-8, else Windows-1252, with Latin-1 where that defines a byte not; no two others alike.

    A text that is not UTF-8 may be the same as another that is.
    """
    for encoding in ("utf-8", "cp1252"):
        try:
            return written.decode(encoding)
        except UnicodeDecodeError:
            continue
    return written.decode("latin-1")


_SPECIAL = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def refuse_special(place: Location, remedy: str = "write what it gives into a file, or remove it") -> None:
    """Raise a `UsageError` if a path is a pipe, socket or device: opening it may wait forever, and it is read once."""
    if not isinstance(place, Path):
        return
    try:
        mode = place.stat().st_mode
    except (OSError, ValueError):  # whoever opens it says why
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = next((kind for is_of, kind in _SPECIAL if is_of(mode)), "no file")
        raise UsageError(f"is {kind}, and a file is wanted", where=place, remedy=remedy)


@contextlib.contextmanager
def system_errors(place: Location) -> Iterator[None]:
    """Turn the exceptions of a remote store's client into `OSError`, which local files raise."""
    try:
        yield
    except (OSError, MLImagesError):
        raise
    except Exception as error:
        if is_local(place):
            raise
        raise OSError(reason(error)) from error


@contextlib.contextmanager
def listing(folder: Location) -> Iterator[None]:
    """Turn what keeps a folder from being listed into a `UsageError` that names it."""
    try:
        with system_errors(folder):
            yield
    except OSError as error:
        raise UsageError(f"cannot be listed ({reason(error)})", where=folder, remedy="check its permissions") from error


@contextlib.contextmanager
def unpacked(place: Location) -> Iterator[pa.NativeFile]:
    """Yield the bytes of a file, decompressed according to its suffix: `.gz`, `.bz2`, `.zst` and others.

    Raises:
        UsageError: its name is not valid Unicode, which Arrow does not open, or it is a pipe, socket or device.
    """
    import pyarrow as pa  # noqa: PLC0415 - this module is imported before a command is known

    refuse_no_unicode(place)
    refuse_special(place)
    if isinstance(place, Path):
        with pa.input_stream(str(place), compression="detect") as stream:
            yield stream
        return
    try:
        compression = pa.Codec.detect(place.name).name
    except TypeError:  # pyarrow's message for an unknown suffix
        compression = None
    with system_errors(place), place.open("rb") as packed, pa.input_stream(packed, compression=compression) as stream:
        yield stream


def refuse_obstacle(error: OSError, place: Location) -> None:
    """Raise a `UsageError` if a folder is where a file should be written or removed, or the other way round.

    Args:
        error: of the operating system.
        place: what could not be written or removed.
    """
    if found := obstacle(error, place):
        what, where = found
        raise UsageError(what, where=where, remedy="remove or rename it, or name another place") from error


def obstacle(error: OSError, place: Location | None = None) -> tuple[str, Path] | None:
    """Return what an error says of a folder where a file should be, or the other way round, and its path; else None.

    Args:
        error: of the operating system.
        place: what was to be opened, written or removed; None if only the error may say it.
    """
    if not isinstance(error, (IsADirectoryError, NotADirectoryError, FileExistsError)):
        return None
    path = place or named_path(error)
    if not isinstance(path, Path):
        return None
    found = next((one for one in (path, *path.parents) if one.exists()), path)
    return "is a folder where a file should be" if found.is_dir() else "is a file where a folder should be", found


def named_path(error: OSError) -> Path | None:
    """Return the path that an error names, the second of two; None without one: an open file is named by its number."""
    named = error.filename2 or error.filename
    return Path(os.fsdecode(named)) if named and isinstance(named, (str, bytes, os.PathLike)) else None


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its class if the message is empty."""
    said = getattr(error, "strerror", None) or str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__
