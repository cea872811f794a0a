"""Opening a catalogue: known by the digests of its inputs, and made first where it is not in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import reason, relative, user_cache
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.loaders.catalogue.build import write_catalogue
from mlimages_dataset.loaders.catalogue.layout import FORMAT
from mlimages_dataset.loaders.catalogue.read import Catalogue
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.tables.files import PARTIAL_PREFIX, file_digest
from mlimages_dataset.tables.parquet import table_parts
from mlimages_dataset.tables.parts import MANIFEST_NAME

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import Manifest


def open_catalogue(
    images: Sequence[Location], labels: Location, *, n_classes: int | None = None, cache: str | Path | None = None
) -> Catalogue:
    """Return the catalogue of some image stores and a label table; it is made first if the cache has none.

    Args:
        images: folders that `mlimages-build images` wrote, or of image files, which the table's `location` names or
            else its `image_id`. A picture that several have is taken from the first.
        labels: a folder of parts of a `labels`, `annotations` or `predictions` table, or one part.
        n_classes: the number of classes; None for what the manifest of the table says.
        cache: the folder to keep it in; None for the user's cache.

    Raises:
        UsageError: a folder or table is missing, the number of classes is not known, no labelled image has a picture,
            two files have the same image id, or the cache cannot be written.
        DataError, SchemaError: a table is damaged or of another schema, or a class index is too large.
    """
    if not images:
        raise UsageError("no folder of images is named", remedy="name a folder of images or of shards")
    parts = [labels] if labels.is_file() else table_parts(labels)
    manifest = _manifest_above(labels)
    n_classes = _n_classes(manifest, labels) if n_classes is None else n_classes
    stores = [open_store(folder) for folder in images]
    made_of = [FORMAT, n_classes, *(_digest(part, manifest) for part in parts), *(store.digest for store in stores)]

    def write(made: Path) -> None:
        write_catalogue(made, stores, parts, n_classes, made.parent)

    return Catalogue(cached_folder("catalogue", made_of, cache, write), stores)


def cached_folder(
    kind: str, made_of: Sequence[object], cache: str | Path | None, write: Callable[[Path], None]
) -> Path:
    """Return a folder of the cache, which is made first where it is not there; it appears only when it is complete.

    Args:
        kind: the first part of its name.
        made_of: what decides its content, as JSON has it; the digest is the second part.
        cache: the folder of the cache; None for the user's.
        write: writes the files into an empty folder, whose parent may hold scratch files.

    Raises:
        UsageError: the cache cannot be written.
    """
    name = f"{kind}-{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]}"
    path = (user_cache() if cache is None else Path(cache)) / name
    if not path.is_dir():
        with _only_maker(path) as scratch:
            if not path.is_dir():  # another process made it while this one waited
                made = scratch / path.name
                made.mkdir()
                write(made)
                _give_name(made, path)
    return path


def digests_of(parts: Sequence[Location], table: Location) -> list[str]:
    """Return the SHA-256 of each part of a table, as its manifest has it where there is one."""
    manifest = _manifest_above(table)
    return [_digest(part, manifest) for part in parts]


def split_folder(labels: Location, split: str | None) -> Location:
    """Return the folder of one split of a `labels` output, or `labels` itself if no split is asked for.

    Raises:
        UsageError: there is no such split.
    """
    if split is None:
        return labels
    folder = labels / split
    if not folder.is_dir():
        there = sorted(path.name for path in labels.iterdir() if path.is_dir()) if labels.is_dir() else []
        raise UsageError(
            f"there is no split {split!r} in it" + (f", only {', '.join(there)}" if there else ""),
            where=labels,
            remedy="name a folder that mlimages-build labels wrote, or split=None for one table",
        )
    return folder


def _manifest_above(labels: Location) -> tuple[Location, Manifest] | None:
    """Return the nearest folder with a manifest, at most two above a table, and the manifest; None for none."""
    folder = labels.absolute()
    for _ in range(3):
        if (folder / MANIFEST_NAME).is_file():
            return folder, read_manifest(folder)
        folder = folder.parent
    return None


def _digest(part: Location, manifest: tuple[Location, Manifest] | None) -> str:
    """Return a table's SHA-256, from the manifest if its size is as recorded there: reading all bytes takes long."""
    if manifest is not None:
        folder, of = manifest
        record = of.files.get(relative(part.absolute(), folder))
        if record is not None and record.bytes == part.stat().st_size:
            return record.sha256
    return file_digest(part)


def _n_classes(manifest: tuple[Location, Manifest] | None, labels: Location) -> int:
    """Return the number of classes as the stage that wrote a table counted it."""
    for record in () if manifest is None else manifest[1].stages.values():
        for summary in (record.summary, *record.summary.values()):
            if isinstance(summary, dict) and isinstance(counts := summary.get("images_of_class"), list):
                return len(counts)
    raise UsageError("no manifest gives the number of classes", where=labels, remedy="pass n_classes")


@contextlib.contextmanager
def _only_maker(path: Path) -> Iterator[Path]:
    """Hold the lock of a catalogue and yield a scratch folder beside it.

    If several processes want the same catalogue, one makes it and the others wait.

    Raises:
        UsageError: the cache cannot be written.
    """
    prefix = f"{PARTIAL_PREFIX}{path.name}-"
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = _lock_file(path.with_name(f".{path.name}.lock"))
            stack.callback(os.close, lock)
            if _is_locked(lock):
                for killed in path.parent.glob(f"{prefix}*"):
                    shutil.rmtree(killed, ignore_errors=True)
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent))
        except OSError as error:
            raise UsageError(
                f"no catalogue can be kept in it ({reason(error)})", where=path.parent, remedy="name another cache"
            ) from error
        yield Path(scratch)


def _lock_file(path: Path) -> int:
    """Return the descriptor of a file to lock, which another user of a shared cache may have made."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _is_locked(descriptor: int) -> bool:
    """Wait for the lock of a file and return whether there is one: some systems and network drives have none."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            return True
    return False


def _give_name(made: Path, path: Path) -> None:
    try:
        made.rename(path)
    except OSError:  # without locks, another process may have made it too
        if not path.is_dir():
            raise
