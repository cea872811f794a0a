"""Kill every command that writes a folder, and the trainer, at random moments: nothing unfinished ever counts.

    python -m tests.adversary.kills --kills 100 [--name labels] [--seed 2019]

A command is killed again and again in one folder until it ends, then it begins in a new one. After each kill, what the
manifest records must be the file of an undisturbed run, and `verify` must not call a cut folder fine; at each end the
folder must be that of an undisturbed run, with nothing left over. Of the trainer, every checkpoint with a final name
must be readable, and the last one's weights equal to the bit.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import click
import torch

from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables.files import PARTIAL_PREFIX
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.train.__main__ import main as train
from mlimages_dataset.train.checkpoint import newest_checkpoint, read_checkpoint
from tests.adversary.each_command import COMMANDS, DOWNLOAD, served, words, write_given
from tests.crashes import digests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TRAINER = "pretrain"
RUN = """
epochs = 3
[model]
name = "resnet18"
[loss]
name = "binary-cross-entropy"
[schedule]
learning_rate = 0.01
batch_size = 8
[[phases]]
batch_size = 8
image_size = 32
[execution]
device = "cpu"
precision = "float32"
deterministic = true
threads = 1
[data]
workers = 0
[checkpoints]
every_steps = 2
keep = 3
"""


class Subject(Protocol):
    """What is killed."""

    def call(self, out: Path) -> None:
        """Write the folder `out`, in this process, below the folder of the inputs."""

    def check_cut(self, out: Path) -> None:
        """Check a folder after a kill."""

    def check_end(self, out: Path) -> None:
        """Check a folder after an end."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `mlimages-build`, with the digests of its files in an undisturbed folder."""

    name: str
    expected: Mapping[str, str]

    def call(self, out: Path) -> None:
        """See `Subject`."""
        main_command()(words(self.name, out))

    def check_cut(self, out: Path) -> None:
        """See `Subject`."""
        if (out / MANIFEST_NAME).exists():
            recorded = digests(out)
            assert all(self.expected.get(path) == digest for path, digest in recorded.items()), self.name
            assert recorded == self.expected or verify_folder(out), f"{self.name}: all fine, and {out} is cut"

    def check_end(self, out: Path) -> None:
        """See `Subject`."""
        assert digests(out) == self.expected
        assert verify_folder(out) == []
        _check_nothing_left(out)


@dataclass(frozen=True, slots=True)
class Trainer:
    """The trainer, with the weights that an undisturbed run ends with."""

    expected: Mapping[str, torch.Tensor]

    def call(self, out: Path) -> None:
        """See `Subject`."""
        train([TRAINER, "run.toml", *_DATA, "--out", str(out)])

    def check_cut(self, out: Path) -> None:
        """See `Subject`."""
        for path in (out / "checkpoints").glob("step-*.pt"):
            read_checkpoint(path)

    def check_end(self, out: Path) -> None:
        """See `Subject`."""
        found = _weights(out)
        assert found.keys() == self.expected.keys()
        assert all(torch.equal(found[name], value) for name, value in self.expected.items())
        _check_nothing_left(out)


def main_command() -> click.Command:
    """Return `mlimages-build`."""
    (point,) = entry_points(group="console_scripts", name="mlimages-build")
    found = point.load()
    assert isinstance(found, click.Command)
    return found


_DATA = ("--images", "photos", "--labels", "labels/train", "--vocabulary", "vocabulary")


def _weights(out: Path) -> dict[str, torch.Tensor]:
    path = newest_checkpoint(out)
    assert path is not None
    return read_checkpoint(path).model


def _check_nothing_left(out: Path) -> None:
    left = [path.relative_to(out).as_posix() for path in out.rglob(f"{PARTIAL_PREFIX}*")]
    assert not left, f"left over: {left}"


def subject_of(name: str, given: Path) -> tuple[Subject, float]:
    """Return what is killed, and the seconds of its undisturbed run."""
    whole = given / "whole" / name.replace(" ", "-")
    first: Subject = Trainer({}) if name == TRAINER else Command(name, {})
    seconds = 0.0
    for _ in range(2):  # the first may compile
        shutil.rmtree(whole, ignore_errors=True)
        start = time.monotonic()
        ended = _ended(_forked(first, given, whole))
        assert ended == 0, f"{name}: see {_log(given)}"
        seconds = time.monotonic() - start
    return (Trainer(_weights(whole)) if name == TRAINER else Command(name, digests(whole))), seconds


def kill_often(name: str, given: Path, kills: int, seed: int) -> int:
    """Kill a command so many times, and return how often it came to its end in between.

    Args:
        name: of `NAMES`.
        given: the folder of `write_given`.
        kills: how often.
        seed: of the moments.

    Raises:
        AssertionError: something unfinished counted, or a rerun did not finish.
    """
    subject, seconds = subject_of(name, given)
    moments = random.Random(f"{seed} {name}")  # noqa: S311 - moments, not secrets
    out, ends, killed = given / "cut", 0, 0
    shutil.rmtree(out, ignore_errors=True)
    while killed < kills or out.exists():
        child = _forked(subject, given, out)
        time.sleep(moments.uniform(0, seconds) if killed < kills else 0)
        if killed < kills:
            os.kill(child, signal.SIGKILL)
        code = _ended(child)
        if code == -signal.SIGKILL:
            killed += 1
            if out.exists():
                subject.check_cut(out)
            continue
        assert code == 0, f"{name}: a rerun ends with {code}; see {_log(given)}"
        ends += 1
        subject.check_end(out)
        shutil.rmtree(out)
    return ends


def _forked(subject: Subject, given: Path, out: Path) -> int:
    """Return the process that calls a subject; it begins without the seconds that imports take."""
    child = os.fork()
    if child == 0:
        _call_and_exit(subject.call, given, out)
    return child


def _call_and_exit(call: Callable[[Path], None], given: Path, out: Path) -> NoReturn:
    code = 70
    try:
        log = os.open(_log(given), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(given)
        call(out)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _log(given: Path) -> Path:
    return given / "log"


def _ended(child: int) -> int:
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


NAMES = (*sorted(COMMANDS), DOWNLOAD, TRAINER)


@click.command()
@click.option("--kills", default=100, show_default=True, help="Of each command.")
@click.option("--name", "names", multiple=True, type=click.Choice(NAMES), help="By default all.")
@click.option("--seed", default=2019, show_default=True)
def main(kills: int, names: tuple[str, ...], seed: int) -> None:
    """Kill commands at random moments."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder)
        write_given(given)
        (given / "run.toml").write_text(RUN)
        for name in names or NAMES:
            with served(given) if name == DOWNLOAD else contextlib.nullcontext():
                ends = kill_often(name, given, kills, seed)
            click.echo(f"{name:<24} {kills} kills, {ends} ends: every rerun finished with the same files")


if __name__ == "__main__":
    main()
