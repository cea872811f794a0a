"""Sections in processes of their own: one that crashes, hangs or poisons its GPU leaves the others alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.gpu.report import Row, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.gpu.trials import Job, Section

ROOT = Path(__file__).parents[2]
_GRACE_SECONDS = 10
_LEAST_SECONDS = 5


def environment(folder: Path, device: str) -> dict[str, str]:
    """Return the environment of every process: caches lie in the folder, and ranks meet on this machine."""
    kept = {name: value for name, value in os.environ.items() if name not in {"RANK", "LOCAL_RANK", "WORLD_SIZE"}}
    ours = {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        # Laws compare with float32; TensorFloat-32 has ten bits. Speeds are of bfloat16, which it does not touch.
        "NVIDIA_TF32_OVERRIDE": "0",
    }
    # A machine without a network may not know its own name; these may be set otherwise by who knows better.
    defaults = {"NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo", "PYTHONUNBUFFERED": "1"}
    if device == "cpu":
        defaults["OMP_NUM_THREADS"] = "1"  # ranks and workers share few cores
    return {**defaults, **kept, **ours}


def run_sections(sections: Sequence[Section], job: Job, *, told: Callable[[Row], None]) -> list[Row]:
    """Return the rows of all sections, each told as soon as its section ends."""
    rows: list[Row] = []
    for section in sections:
        for row in run_section(section, job):
            told(row)
            rows.append(row)
    return rows


def run_section(section: Section, job: Job, *, module: str = "tests.gpu.work") -> list[Row]:
    """Return the rows of one section, run by `python -m MODULE SECTION JOB ROWS` in a process of its own."""
    if job.left() < max(_LEAST_SECONDS, min(trial.seconds for trial in section.trials)):
        return [Row(section.name, trial.what, Status.NOT_TRIED, "time", trial.law) for trial in section.trials]
    file, log = (job.path(f"{section.name.replace(' ', '-')}.{suffix}") for suffix in ("rows", "log"))
    began, own_limit = time.time(), section.most_seconds
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", module, section.name, job.to_json(), str(file)],
            cwd=ROOT,
            env=environment(Path(job.folder), job.device),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=max(1.0, min(own_limit, job.left())))
        finally:
            _end_group(process)
    lines = file.read_text().splitlines() if file.is_file() else []
    done = [Row.from_json(line) for line in lines]
    return done + _missing(section, len(done), code, hung=time.time() - began >= own_limit, log=log)


def _missing(section: Section, n_done: int, code: int | None, *, hung: bool, log: Path) -> list[Row]:
    """Return rows for the trials of a section whose process ended before them."""
    missing = section.trials[n_done:]
    if not missing:
        return []
    if code is None and not hung:
        return [Row(section.name, trial.what, Status.NOT_TRIED, "time", trial.law) for trial in missing]
    why = f"no end after {section.most_seconds:.0f} s" if code is None else f"its process ended with {code}"
    said = last_line(log)
    first, *others = missing
    rows = [Row(section.name, first.what, Status.FAILED, f"{why}: {said}" if said else why, first.law)]
    return rows + [
        Row(section.name, trial.what, Status.NOT_TRIED, f"the process ended at: {first.what}", trial.law)
        for trial in others
    ]


def last_line(log: Path) -> str:
    """Return the last line of a log that says anything."""
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; torchrun ends its ranks where it is asked to, not where it is killed."""
    for ending in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _GRACE_SECONDS
        try:
            os.killpg(process.pid, ending)
            while time.monotonic() < until:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.05)
        except ProcessLookupError:
            break
    process.wait()
