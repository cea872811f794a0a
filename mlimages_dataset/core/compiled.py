"""Compilation of loops by Numba, when a wheel is built or at the first call, and where machine code is kept.

A wheel may have the machine code of the loops (scripts/build_backend.py): it is only read, so nobody pays for
compilation, also where no folder can be written. On x86 it is for all processors of the last ten years. Machine code
of another kind of processor, another version of Numba or Python or another source of a loop's module is never used;
there, each loop is compiled at its first call and kept.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import llvmlite.binding as llvm  # type: ignore[import-untyped]  # it has no annotations
import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime.nrt import rtsys

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import numpy as np
    from numpy.typing import NDArray

_Function = TypeVar("_Function", bound="Callable[..., object]")
_FOLDER = "NUMBA_CACHE_DIR"
"""The variable by which Numba is told where to keep machine code: https://numba.readthedocs.io (Environment)."""
SHIPPED = Path(__file__).parent / "machine_code"
"""Machine code that came with the package."""
_COMMON = ("x86-64-v3", "")
"""The name of a processor, and what it has beyond that, for machine code that most x86 processors since 2013 run."""
_OF_COMMON = frozenset(
    {
        *("cmov", "cx8", "fxsr", "mmx", "sse", "sse2", "cx16", "sahf", "popcnt", "sse3", "sse4.1", "sse4.2", "ssse3"),
        *("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"),
    }
)
"""What such a processor has, as LLVM names it: https://gitlab.com/x86-psABIs/x86-64-ABI (table 3.1)."""
_loops: list[Any] = []
"""All compiled functions: Numba's dispatchers, which have no annotations."""


def compiled(function: _Function) -> _Function:
    """Return a function as machine code that runs without the interpreter's lock, kept on the disk for later runs.

    Where it did not come with the package, it is kept beside the module, or in the user's cache where the package's
    folder cannot be written. Where neither can be, it is kept until this process ends, for the processes that this one
    starts.

    A slice that is assigned (`a[:n] = b[:n]`) takes Numba 3 s longer to compile than a loop, for the text of an error.
    """
    return _machine_code(function)


def vectorised(function: _Function) -> _Function:
    """Return a function as `compiled` does, but let loops over floats become vector instructions.

    So sums are taken in any order, and division by zero gives infinity instead of an exception. Results may differ in
    the last bits between kinds of processors.
    """
    return _machine_code(function, vectors=True)


def _machine_code(function: _Function, *, vectors: bool = False) -> _Function:
    errors: Literal["numpy", "python"] = "numpy" if vectors else "python"
    # Without what C would call, which nobody does: a twentieth of the time of compilation.
    options: dict[str, Any] = {"no_cfunc_wrapper": True}
    machine_code: Any = numba.njit(nogil=True, error_model=errors, fastmath=vectors, **options)(function)
    try:
        machine_code._cache = _Cache(function)  # noqa: SLF001 - as Numba's own `enable_caching` does
    except RuntimeError:  # Numba found no folder that can be written
        _keep_until_exit()
        machine_code._cache = _Cache(function)  # noqa: SLF001 - as above
    _loops.append(machine_code)
    return cast("_Function", machine_code)


class _Cache(FunctionCache):
    """Numba's cache of a function's machine code, which looks first at what came with the package."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # Numba annotates little
        self._function = function

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code for a signature, None if there is none; see Numba."""
        # Numba would first import all that it can compile, for 0.3 s; machine code needs only its memory management.
        # These are its own affairs (tried with 0.68), so setup.cfg bounds its version.
        rtsys.initialize(target_context)
        key = self._index_key(sig, target_context.codegen())  # type: ignore[no-untyped-call]  # Numba annotates little
        with self._guard_against_spurious_io_errors():
            data = self._shipped(key) or self._cache_file.load(key)  # type: ignore[no-untyped-call]  # as above
            if data is not None:
                return self._impl.rebuild(target_context, data)
        return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]  # as above

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code for a signature; see Numba, which numbers files without a lock."""
        with _alone(Path(self.cache_path)):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]  # as above

    def _shipped(self, key: tuple[Any, tuple[str, ...], Any]) -> Any:
        """Return what came with the package for a key of the cache: a signature, a processor, and the function."""
        signature, processor, function = key
        file = shipped(self._function, SHIPPED)
        for_this = file.load((signature, processor, function))
        if for_this is not None or not runs_common_code():
            return for_this
        return file.load((signature, (processor[0], *_COMMON), function))

    def ship(self, folder: Path, sig: Any, compiled_as: Any) -> None:
        """Write the machine code for a signature into a folder."""
        key = self._index_key(sig, compiled_as.codegen)  # type: ignore[no-untyped-call]  # as above
        shipped(self._function, folder).save(key, self._impl.reduce(compiled_as))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder until the end of the block, where the system can."""
    descriptor = None
    with contextlib.suppress(OSError):  # it is not there yet, or its file system has no locks
        if fcntl is not None:
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def shipped(function: Callable[..., object], folder: Path) -> Any:
    """Return the file of a function's machine code in a folder, which holds nothing if the source is another."""
    code = function.__code__
    name = f"{function.__module__}.{function.__qualname__}.py{sys.version_info[0]}{sys.version_info[1]}"
    return IndexDataCacheFile(str(folder), name, _digest(code.co_filename))  # type: ignore[no-untyped-call]  # as above


@functools.cache
def _digest(source: str) -> str:
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()


@functools.cache
def runs_common_code() -> bool:
    """Return whether this processor runs machine code for most x86 processors since 2013."""
    return {name for name, has in llvm.get_host_cpu_features().items() if has} >= _OF_COMMON


def environment_for_others() -> dict[str, str]:
    """Return the variables with which Numba compiles for most x86 processors; none on another kind of processor."""
    return dict(zip(("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"), _COMMON, strict=True)) if runs_common_code() else {}


def ship(folder: Path) -> int:
    """Write the machine code of all that this process has compiled into a folder; return the number of functions."""
    folder.mkdir(parents=True, exist_ok=True)
    n = 0
    for loop in _loops:
        for compiled_as in loop.overloads.values():
            loop._cache.ship(folder, compiled_as.signature.args, compiled_as)  # noqa: SLF001 - see `_machine_code`
            n += 1
    return n


def _keep_until_exit() -> None:
    """Let Numba keep machine code in a new folder, which is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="mlimages-loops-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_FOLDER] = folder
    numba.config.reload_config()  # type: ignore[no-untyped-call]  # Numba annotates little


def are_kept(modules: Collection[str]) -> bool:
    """Return whether machine code of each compiled function of some modules came with the package or is kept."""
    return all(_is_kept(loop) for loop in _loops if loop.py_func.__module__ in modules)


def _is_kept(loop: Any) -> bool:
    # Numba has no public way to ask; a key of its index is a signature, a processor, and the function.
    names = [llvm.get_host_cpu_name()] + ([_COMMON[0]] if runs_common_code() else [])
    if any(processor[1] in names for _, processor, _ in shipped(loop.py_func, SHIPPED)._load_index()):  # noqa: SLF001
        return True
    source = Path(loop.py_func.__code__.co_filename)
    kept = Path(loop.stats.cache_path).glob(f"{source.stem}.{loop.py_func.__qualname__}-*.nbi")
    return any(path.stat().st_mtime >= source.stat().st_mtime for path in kept)


@compiled
def sort_in_place(values: NDArray[np.uint16] | NDArray[np.int32] | NDArray[np.int64]) -> None:
    """Sort some integers, by insertion at shrinking distances.

    Numba takes seconds to compile numpy's sort, which is no faster for the few labels of an image.
    Source: Shell 1959, A high-speed sorting procedure, CACM 2:30; distances by a factor of 9/4 (Tokuda 1992).
    """
    n = len(values)
    gap = 1
    while 4 * gap < n:
        gap = gap * 9 // 4 + 1
    while gap > 0:
        for x in range(gap, n):
            moving = values[x]
            y = x
            while y >= gap and values[y - gap] > moving:
                values[y] = values[y - gap]
                y -= gap
            values[y] = moving
        gap = gap * 4 // 9
