"""Sections of trials that hold, fail, hang, crash and run late, for the tests of the runner: as `tests.gpu.work` is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.gpu.trials import BrokenLawError, Job, NotTriedError, Section, Trial, rows_of


def holds(job: Job) -> str:
    """Tell the device."""
    return f"on {job.device}"


def broken(job: Job) -> str:  # noqa: ARG001 - as a trial is called
    """Break a law."""
    raise BrokenLawError("2 is not 3")


def impossible(job: Job) -> str:  # noqa: ARG001 - as a trial is called
    """Find that it cannot be tried."""
    raise NotTriedError("there is one GPU")


def raises(job: Job) -> str:  # noqa: ARG001 - as a trial is called
    """Fail as any program may."""
    raise ValueError("no such thing\nand more")


def killed(job: Job) -> str:  # noqa: ARG001 - as a trial is called
    """Crash."""
    sys.stderr.write("illegal memory access\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def hangs(job: Job) -> str:
    """Hang, with a child that hangs too."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    job.path("child").write_text(str(child.pid))
    time.sleep(600)
    return ""


SECTIONS = (
    Section("mixed", (Trial("a", holds, 0, law=True), Trial("b", broken, 0, law=True), Trial("c", impossible, 0))),
    Section("speeds", (Trial("d", raises, 0), Trial("e", holds, 1e6), Trial("f", holds, 0))),
    Section("crash", (Trial("g", holds, 0), Trial("h", killed, 0, law=True), Trial("i", holds, 0, law=True))),
    Section("hang", (Trial("j", hangs, -10, law=True), Trial("k", holds, -4))),
    Section("late", (Trial("l", hangs, 0, law=True), Trial("m", holds, 0))),
)


def main() -> None:
    """Do as `tests.gpu.work` does."""
    name, job, rows = sys.argv[1:]
    section = next(section for section in SECTIONS if section.name == name)
    with Path(rows).open("a", encoding="utf-8") as stream:
        for row in rows_of(section, Job.from_json(job)):
            stream.write(row.to_json() + "\n")
            stream.flush()


if __name__ == "__main__":
    main()
