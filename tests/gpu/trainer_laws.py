"""Laws of the whole trainer on a device: a golden curve, every precision, resuming, ranks; on real shards."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mlimages_dataset.train.checkpoint import Checkpoint, newest_checkpoint, read_checkpoint
from mlimages_dataset.train.config import Device
from tests.gpu.loss_laws import refuse_compiling
from tests.gpu.pictures import refuse_missing
from tests.gpu.program import Specification, as_argument, train
from tests.gpu.trials import BrokenLawError, Job, NotTriedError
from tests.train.synthetic import Program, train_synthetic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.train.config import Run

GOLDEN = Path(__file__).with_name("golden_curve.json")
CURVES = ("released", "paper")
STEPS, SMALL_STEPS = 20, 6
_KILLED = -9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OnDevice(Program):
    """The synthetic program of the trainer's tests, on a device."""

    device: str = "cpu"

    def run(self) -> Run:
        """Return the run."""
        run = Program.run(self)
        return dataclasses.replace(run, execution=dataclasses.replace(run.execution, device=Device(self.device)))


def golden_curve(job: Job) -> str:
    """The losses of 20 steps of a tiny network are those that a CPU had."""
    golden, worst = json.loads(GOLDEN.read_text()), 0.0
    for loss in CURVES:
        worst = max(worst, furthest(curve_of(job.path(f"golden-{loss}"), loss, job.device), golden[loss]))
    return judged(worst, 5e-3)


def curve_of(out: Path, loss: str, device: str) -> list[float]:
    """Return the losses of the tiny network's 20 steps."""
    train_synthetic(OnDevice(out=str(out), loss=loss, device=device))
    return losses(out)


def started(job: Job, name: str, **changes: object) -> Specification:
    """Return the specification of a run of the job, with some of its fields changed."""
    base = Specification(
        folder=job.folder,
        out=str(job.path(f"run-{name}")),
        device=job.device,
        steps=SMALL_STEPS if job.small else STEPS,
        batch_size=16 if job.small else 32,
        image_size=32 if job.small else 64,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # fields by name


def trained(job: Job, asked: Specification) -> None:
    """Run a specification in this process.

    Raises:
        NotTriedError: there are no shards.
    """
    refuse_missing(job)
    _free_memory(job)
    train(asked)


def trained_apart(job: Job, asked: Sequence[Specification], *, ranks: int = 0, expected: int = 0) -> None:
    """Run specifications in a process of their own, or under torchrun on ranks.

    Raises:
        BrokenLawError: it ends with another code than expected.
        NotTriedError: the time was up, or there are no shards.
    """
    refuse_missing(job)
    _free_memory(job)
    program = ["-m", "tests.gpu.program", as_argument(asked)]
    # The machine's own name may have no address where there is no network.
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node"]
    command = [sys.executable, *([*launcher, str(ranks)] if ranks else []), *program]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(1, job.left()), check=False)
    except subprocess.TimeoutExpired as error:
        raise NotTriedError("time") from error
    sys.stdout.write(done.stdout + done.stderr)
    if done.returncode != expected:
        raise BrokenLawError(f"the run ended with {done.returncode}: {_telling(done.stderr)}")


def _free_memory(job: Job) -> None:
    """Let other processes have what this one keeps of a GPU's memory for later."""
    if job.device == "cuda":
        torch.cuda.empty_cache()


def _telling(stderr: str) -> str:
    """Return the line of what a program said that tells most: its error, or else its last one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line and "ChildFailedError" not in line]
    return (errors or lines or ["it said nothing"])[-1]


def losses(out: Path | str) -> list[float]:
    """Return the loss of every step that a run's log tells; what is not finite is NaN."""
    lines = map(json.loads, (Path(out) / "log.jsonl").read_text().splitlines())
    return [math.nan if line["loss"] is None else line["loss"] for line in lines if line["kind"] == "train"]


def furthest(found: Sequence[float], expected: Sequence[float]) -> float:
    """Return the largest difference of two curves by the size of the second; infinite where their lengths differ."""
    if len(found) != len(expected):
        return math.inf
    gaps = [abs(one - other) / abs(other) for one, other in zip(found, expected, strict=True)]
    return math.inf if any(map(math.isnan, gaps)) else max(gaps)


def near(found: Sequence[float], expected: Sequence[float], *, first: float, most: float) -> str:
    """Return in words how far two curves are apart, of which the first loss knows nothing of any update yet.

    Raises:
        BrokenLawError: the first losses differ by more than `first`, or some by more than `most`, by their size.
    """
    beginning = furthest(found[:1], expected[:1])
    if not beginning <= first:
        raise BrokenLawError(f"the first losses differ by {beginning:.1e}, more than {first:.0e}")
    return f"{judged(furthest(found, expected), most)}, the first by {beginning:.1e}"


def judged(worst: float, most: float) -> str:
    """Return the largest difference of two curves in words.

    Raises:
        BrokenLawError: it is more than `most`.
    """
    if not worst <= most:
        raise BrokenLawError(f"losses differ by {worst:.1e}, more than {most:.0e}")
    return f"losses differ by at most {worst:.1e}"


def float32(job: Job) -> str:
    """The losses of a ResNet-18 on real pictures are those of the CPU."""
    trained(job, started(job, "float32"))
    if job.small:
        curve = losses(job.path("run-float32"))
        judged(furthest(curve, curve), 0.0)  # finite
        return f"{len(curve)} finite losses, {curve[0]:,.1f} to {curve[-1]:,.1f}; there is no GPU to compare with"
    trained(job, started(job, "on-cpu", device="cpu"))
    return near(losses(job.path("run-float32")), losses(job.path("run-on-cpu")), first=1e-3, most=0.05)


def _near_float32(job: Job, name: str, first: float, most: float, **changes: object) -> str:
    if not job.path("run-float32").is_dir():  # the section that makes it was not asked for
        trained(job, started(job, "float32"))
    trained(job, started(job, name, **changes))
    return near(losses(job.path(f"run-{name}")), losses(job.path("run-float32")), first=first, most=most)


def bfloat16(job: Job) -> str:
    """Finite, and near float32's."""
    return _near_float32(job, "bfloat16", 0.02, 0.1, precision="bfloat16")


def float16(job: Job) -> str:
    """Finite, and near float32's; the gradient scaler skips steps until it has found its scale."""
    return _near_float32(job, "float16", 0.01, 0.25, precision="float16")


def channels_first(job: Job) -> str:
    """The memory layout changes rounding alone."""
    return _near_float32(job, "channels-first", 1e-3, 0.05, channels_last=False)


def compiled(job: Job) -> str:
    """A compiled network computes the same."""
    refuse_compiling(job)
    return _near_float32(job, "compiled", 1e-3, 0.05, compile=True)


def fused(job: Job) -> str:
    """The loss's compiled kernels compute the same in a run."""
    refuse_compiling(job)
    return _near_float32(job, "fused", 1e-4, 0.05, fused_loss=True)


def resumed(job: Job) -> str:
    """A run that is killed and started again equals the run that was not, bit for bit."""
    every = 2 if job.small else 5
    whole = started(
        job,
        "whole",
        deterministic=True,
        save_every=every,
        precision="float32" if job.small else "bfloat16",
        threads=torch.get_num_threads(),  # of both processes: the order of CPU sums depends on it
    )
    cut = dataclasses.replace(whole, out=str(job.path("run-cut")))
    half = whole.steps // 2
    trained(job, whole)
    trained_apart(job, [dataclasses.replace(cut, die_after=half + 1)], expected=_KILLED)
    kept = _last(cut.out).progress.total_steps
    trained(job, cut)
    if losses(whole.out) != losses(cut.out):
        raise BrokenLawError(f"losses differ by {furthest(losses(cut.out), losses(whole.out)):.1e}")
    if names := differing(_last(whole.out), _last(cut.out)):
        raise BrokenLawError(f"the last checkpoints differ in {', '.join(names)}")
    return f"killed at step {half + 1}, gone on from {kept}: all bits of {whole.steps} steps are equal"


def _last(out: str) -> Checkpoint:
    path = newest_checkpoint(Path(out))
    if path is None:
        raise BrokenLawError(f"{Path(out).name} has no checkpoint")
    return read_checkpoint(path)


def differing(left: Checkpoint, right: Checkpoint) -> list[str]:
    """Return the names of what is not equal, bit for bit, in two checkpoints."""
    names = [one.name for one in dataclasses.fields(Checkpoint)]
    return [name for name in names if not _equal(getattr(left, name), getattr(right, name))]


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    return left == right


def one_rank(job: Job) -> str:
    """One rank that torchrun started, with NCCL (gloo on a CPU), computes what a plain process does."""
    alone = started(job, "alone", frozen=True)
    trained(job, alone)
    trained_apart(job, [dataclasses.replace(alone, out=str(job.path("run-one-rank")))], ranks=1)
    return judged(furthest(losses(job.path("run-one-rank")), losses(alone.out)), 1e-3)


def several_ranks(job: Job) -> str:
    """As many ranks as there are GPUs (two on a CPU) compute what one does with the joint batch."""
    if job.gpus == 1:
        raise NotTriedError("there is one GPU")
    ranks = 2 if job.small else job.gpus
    batch_size = 16 * ranks
    one, all_of_them = (
        started(job, name, loss="paper", frozen=True, batch_size=batch_size) for name in ("joint", "ranks")
    )
    trained(job, one)
    trained_apart(job, [all_of_them], ranks=ranks)
    return f"{ranks} ranks: " + judged(furthest(losses(all_of_them.out), losses(one.out)), 1e-3)
