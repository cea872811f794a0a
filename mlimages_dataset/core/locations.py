"""Where files lie: a path of this machine, or a URL such as `s3://bucket/folder` that fsspec opens."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fsspec import available_protocols
from upath import UPath

from mlimages_dataset.core.errors import MLImagesError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

Location: TypeAlias = Path | UPath
"""A `Path` is a file of this machine; any other `UPath` is remote."""

_EXTRAS = {"s3": "s3"}
"""Our extra that installs what a protocol needs."""


def location(text: str) -> Location:
    """Return the place that a path or URL names.

    Raises:
        UsageError: nothing opens such URLs, what does is not installed, or the store does not answer.
    """
    if "://" not in text:
        return Path(text)
    protocol = text.partition("://")[0]
    if protocol not in available_protocols():
        raise UsageError(f"nothing opens {protocol}:// addresses", where=text, remedy="check how it begins")
    try:
        # Other processes write here too: a listing must not be remembered.
        place = UPath(text, use_listings_cache=False)
        if place.protocol in {"file", "local"}:
            return Path(place.path)
        place.exists()
    except ImportError as error:
        extra = f"pip install 'mlimages-dataset[{_EXTRAS[protocol]}]'" if protocol in _EXTRAS else "install it"
        raise UsageError(f"a package is missing ({error})", where=text, remedy=f"run: {extra}") from error
    except Exception as error:
        # A store's client raises errors of its own kinds.
        raise UsageError(
            f"the store does not answer ({reason(error)})", where=text, remedy="check the address and the credentials"
        ) from error
    return place


def user_cache() -> Path:
    """Return the folder of this user's caches (https://specifications.freedesktop.org/basedir-spec)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if given else Path.home() / ".cache") / "mlimages-dataset"


def is_local(place: Location) -> bool:
    """Return whether a place is on a file system of this machine."""
    return isinstance(place, Path)


def relative(place: Location, folder: Location) -> str:
    """Return the path of a place within a folder, with slashes."""
    return place.relative_to(folder).as_posix()  # type: ignore[arg-type]  # both are of one kind


def paths_outside(folder: Location, paths: Iterable[str]) -> list[str]:
    """Return those of some paths that lead out of the folder they are relative to, sorted.

    This is the one guard of what manifests, journals and tables name: whoever wrote them may be a stranger. A path
    leads out by its name (`..`, an absolute one, a backslash, a colon, an empty part, a zero byte), or because a folder
    on its way is a link to elsewhere. The last part may itself be a link: to remove or replace it is to remove or
    replace the link, and stores of published files link each file to where its bytes lie.
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
    """Return whether a folder's path, empty for the folder itself, stays in it, itself being no link to elsewhere."""
    return not path or is_inside(folder, f"{path}/file")


def is_plain(path: str) -> bool:
    """Return whether a relative path stays in its folder by its name alone, whatever links there are."""
    return not ("\\" in path or ":" in path or "\0" in path or {"", ".", ".."} & set(path.split("/")))


def _stays(folder: Path, path: str) -> bool:
    return (folder / path).resolve().is_relative_to(folder.resolve())


def remove_folder(folder: Location) -> None:
    """Remove a folder of this machine with all that is in it, of a link only the link; it need not be there."""
    if isinstance(folder, Path) and folder.is_symlink():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(str(folder), ignore_errors=True)


def as_text(name: str) -> str:
    """Return a name that UTF-8 can hold: file systems and archives keep bytes of any kind."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


@contextlib.contextmanager
def system_errors(place: Location) -> Iterator[None]:
    """Turn whatever a remote store's client raises into an `OSError`, as local files raise."""
    try:
        yield
    except (OSError, MLImagesError):
        raise
    except Exception as error:
        if is_local(place):
            raise
        raise OSError(reason(error)) from error


@contextlib.contextmanager
def unpacked(place: Location) -> Iterator[pa.NativeFile]:
    """Yield the bytes of a file, decompressed where its suffix says so: `.gz`, `.bz2`, `.zst` and others."""
    import pyarrow as pa  # noqa: PLC0415 - this module is imported before a command is known

    if isinstance(place, Path):
        with pa.input_stream(str(place), compression="detect") as stream:
            yield stream
        return
    try:
        compression = pa.Codec.detect(place.name).name
    except TypeError:  # what pyarrow says of a suffix that it does not know
        compression = None
    with system_errors(place), place.open("rb") as packed, pa.input_stream(packed, compression=compression) as stream:
        yield stream


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    said = getattr(error, "strerror", None) or str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__
