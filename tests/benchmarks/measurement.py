"""Contests: the same work by several contenders, each in a process of its own, in turn, several times over.

A contender's time is from the start of its work to the end; that of `mlimages-build` includes starting the command,
that of a peer importing its library. So does processor time, which other programs on the machine change least.
Its memory is that of all its processes, sampled four times a second; what they share counts once where that is known.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

SAMPLED_EVERY_SECONDS = 0.25
COMMAND = (
    "import sys; from importlib.metadata import entry_points; "
    "(command,) = entry_points(group='console_scripts', name='mlimages-build'); sys.exit(command.load()())"
)
_PEERS = ("pyarrow", "duckdb", "polars", "pandas", "networkx")


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: as the table names it.
        work: is called with the folder to write into, in a process of its own; it may return its own count of seconds.
        sample: the share of the work that it does; its time is extrapolated from it.
    """

    name: str
    work: Callable[[Path], float | None]
    sample: float = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's outcome.

    Attributes:
        task: what was done.
        size: of how many `unit`.
        unit: images or rows.
        who: the contender.
        seconds: of each repetition.
        cpu_seconds: of all processes and processors, of each repetition: what a busy machine changes least.
        ratio: median over the repetitions of our time by this one's.
        cpu_ratio: the same of processor time.
        mebibytes: the most memory of any repetition.
        sample: the share of the work that was done; `seconds` are extrapolated from it.
    """

    task: str
    size: int
    unit: str
    who: str
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    ratio: float
    mebibytes: float
    sample: float = 1.0
    cpu_ratio: float = 1.0

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.seconds)


def contest(
    task: str, size: int, unit: str, contenders: Sequence[Contender], folder: Path, *, repeat: int
) -> list[Row]:
    """Return the outcome of each contender, of which the first is ours; each writes into a folder below `folder`."""
    rows = [Row(task, size, unit, one.name, (), (), 1.0, 0.0, one.sample) for one in contenders]
    for _ in range(repeat):
        for number, one in enumerate(contenders):
            seconds, cpu_seconds, mebibytes = _measured(one.work, folder / f"contender-{number}")
            rows[number] = replace(
                rows[number],
                seconds=(*rows[number].seconds, seconds / one.sample),
                cpu_seconds=(*rows[number].cpu_seconds, cpu_seconds / one.sample),
                mebibytes=max(rows[number].mebibytes, mebibytes),
            )
            print(
                f"{task}: {one.name}: {seconds / one.sample:.1f} s, {mebibytes:,.0f} MiB", file=sys.stderr, flush=True
            )
    ours, of_ours = rows[0].seconds, rows[0].cpu_seconds
    return [replace(row, ratio=_ratio(ours, row.seconds), cpu_ratio=_ratio(of_ours, row.cpu_seconds)) for row in rows]


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def command(*words: str | Path) -> None:
    """Run `mlimages-build` as its users do.

    Raises:
        CalledProcessError: it failed; what it said was printed.
    """
    # An installed package has its byte code; without it, every start would compile the sources again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words_of_python = [sys.executable, "-c", COMMAND, *map(str, words)]
    subprocess.run(words_of_python, check=True, stdout=subprocess.DEVNULL, env=environment)


def _measured(work: Callable[[Path], float | None], out: Path) -> tuple[float, float, float]:
    """Return the seconds of a work in a process of its own, those of all processors, and the most MiB of its family."""
    shutil.rmtree(out, ignore_errors=True)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_timed, args=(work, out, there))
    process.start()
    assert process.pid is not None
    peak, ended = [0.0], threading.Event()
    sampler = threading.Thread(target=_sample, args=(psutil.Process(process.pid), peak, ended))
    sampler.start()
    process.join()
    ended.set()
    sampler.join()
    if process.exitcode:
        raise RuntimeError(f"a contender ended with {process.exitcode}")
    seconds, cpu_seconds = here.recv()
    return float(seconds), float(cpu_seconds), peak[0]


def _cpu_seconds() -> float:
    """Return the seconds of processors that this process and those which it started and that have ended took."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _timed(work: Callable[[Path], float | None], out: Path, result: Connection) -> None:
    start, before = time.perf_counter(), _cpu_seconds()
    own = work(out)
    seconds = time.perf_counter() - start
    result.send((seconds if own is None else own, _cpu_seconds() - before))


def _sample(process: psutil.Process, peak: list[float], ended: threading.Event) -> None:
    while not ended.wait(SAMPLED_EVERY_SECONDS):
        total = 0
        try:
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for member in family:
            try:
                memory = member.memory_full_info()
                total += getattr(memory, "pss", memory.rss)
            except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended meanwhile
                continue
        peak[0] = max(peak[0], total / (1 << 20))


def table(rows: Sequence[Row]) -> str:
    """Return the outcomes as a Markdown table."""
    lines = [
        "| task | size | who | time | spread | ours / theirs | CPU time | ours / theirs | memory |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        who = row.who if row.sample == 1 else f"{row.who} (from {row.sample:.1%} of the rows)"
        spread = f"{min(row.seconds):.1f} to {max(row.seconds):.1f} s" if len(row.seconds) > 1 else ""
        ratio = f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.3f}"
        lines.append(
            f"| {row.task} | {row.size:,} {row.unit} | {who} | {row.median:.1f} s | {spread} | {ratio} | "
            f"{statistics.median(row.cpu_seconds):.1f} s | {row.cpu_ratio:.2f} | "
            f"{row.mebibytes:,.0f} MiB |"
        )
    return "\n".join(lines)


def machine() -> str:
    """Return in one line what the figures were measured on."""
    memory = psutil.virtual_memory().total / (1 << 30)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PEERS)
    today = dt.datetime.now(tz=dt.UTC).date()
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {processors()} cores, {memory:.0f} GiB; Python {platform.python_version()}, {versions}; "
        f"{today}, load before the run {load:.1f}"
    )


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
