"""Checkpoints: files that hold everything a run needs to resume as if it had never stopped.

A file appears under its name only when it is complete and on the disk. Every tensor is replicated on every rank, so
rank 0 alone writes, from a copy in the CPU's memory, in a thread while training goes on. Files hold tensors, numbers,
texts and containers of these, and are read without executing anything.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import re
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import reason
from mlimages_dataset.tables.files import whole_file, write_errors
from mlimages_dataset.train.saved import NotWholeError, read_saved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.core.locations import Location

FORMAT = "mlimages-checkpoint/1"
FOLDER = "checkpoints"
BEST = "best.pt"
DAMAGED_SUFFIX = ".damaged"
_REMEDY = (
    "name a checkpoint of `pretrain`; `convert` makes one from other weights, and --weights starts a run from them"
)
_SHOWN = 3
_NAME = re.compile(r"step-(\d{9})\.pt")

StateDict: TypeAlias = dict[str, Any]  # as for torch.save: tensors, numbers and containers of these, by name


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run.

    Attributes:
        epoch: the current epoch, from 0.
        step: finished steps of this epoch.
        total_steps: finished steps of the run.
        best: best value so far of the measure that chooses the best checkpoint; -1 for none yet.
    """

    epoch: int = 0
    step: int = 0
    total_steps: int = 0
    best: float = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        progress: the progress of the run.
        model_name: the network's name for `create_model`.
        n_classes: number of classes of the head.
        image_size: side of the square images in the last phase, in pixels.
        vocabulary: digest of the vocabulary whose classes the head predicts.
        science: the settings that decide what is learnt, see `science.science`.
        model: the network's parameters and buffers.
        average: their moving average; empty without one.
        optimizer: state of the optimiser.
        loss: the loss's buffers: streaks and step.
        scaler: state of float16's loss scaling; empty without it.
        generators: the state of every rank's random generators.
        sampler: the sampler's position in the epoch.
        calibration: how scores become probabilities, see `Calibration.state`; empty for `softmax`.
    """

    progress: RunProgress
    model_name: str
    n_classes: int
    image_size: int
    vocabulary: str
    science: dict[str, str]
    model: StateDict
    average: StateDict
    optimizer: StateDict
    loss: StateDict
    scaler: StateDict
    generators: list[StateDict]
    sampler: StateDict
    calibration: StateDict = dataclasses.field(default_factory=dict)

    def norm_epsilon(self, where: object) -> float:
        """Return the constant that batch normalisation adds to the variance.

        Raises:
            DataError: the settings do not say it.
        """
        try:
            return float(self.science["model.batch_norm_epsilon"])
        except (KeyError, ValueError) as error:
            raise DataError("it does not say model.batch_norm_epsilon", where=where, remedy=_REMEDY) from error

    def at_size(self, image_size: int) -> Self:
        """Return the checkpoint for images of another size: a detector's longest side grows or shrinks likewise."""
        settings = dict(self.science)
        if _LONG_SIDE in settings:
            long_side = json.loads(settings[_LONG_SIDE]) * image_size / self.image_size
            settings[_LONG_SIDE] = json.dumps(max(round(long_side), image_size))
        return dataclasses.replace(self, image_size=image_size, science=settings)

    def weights(self) -> StateDict:
        """Return the weights to evaluate: the moving average if there is one, else the parameters themselves."""
        prefix = "module."  # prefix of torch's AveragedModel
        averaged = {name.removeprefix(prefix): value for name, value in self.average.items() if name.startswith(prefix)}
        return averaged or self.model


_LONG_SIDE = "detection.long_side"
_KINDS: dict[str, type] = {
    "progress": dict,
    "model_name": str,
    "n_classes": int,
    "image_size": int,
    "vocabulary": str,
    "science": dict,
    "model": dict,
    "average": dict,
    "optimizer": dict,
    "loss": dict,
    "scaler": dict,
    "generators": list,
    "sampler": dict,
}
"""Fields that a file must hold. (Fields added later have a default, and may be missing.)"""


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically.

    Raises:
        UsageError: the folder cannot be written, or the disk is full.
    """
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    with whole_file(path) as sink:
        torch.save({**content, "format": FORMAT, "progress": asdict(checkpoint.progress)}, cast("IO[bytes]", sink))


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint in the CPU's memory.

    Raises:
        UsageError: there is no such file.
        DataError: it is not a complete checkpoint of this format.
    """
    if not path.is_file():
        raise UsageError("there is no such checkpoint", where=path, remedy="name a .pt file of a run's checkpoints")
    if path.suffix == ".safetensors":
        raise UsageError("holds weights, but is not a checkpoint", where=path, remedy=_REMEDY)
    content = read_saved(path, kind="checkpoint", remedy=_REMEDY)
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != FORMAT or not isinstance(content, dict):
        raise DataError(f"its format is {found}, not {FORMAT}", where=path, remedy=_REMEDY)
    return _checkpoint_of(content, path)


def _checkpoint_of(content: dict[str, Any], path: Path) -> Checkpoint:
    """Return the checkpoint in a file's content, which anyone may have made."""
    missing = sorted(name for name in _KINDS if name not in content)
    unknown = sorted(str(name) for name in content if name not in Checkpoint.__slots__)
    other = sorted(
        name
        for name, kind in _KINDS.items()
        if name in content and not (isinstance(content[name], kind) and _holds(name, content[name]))
    )
    for what, names in (("lacks", missing), ("holds an unknown", unknown), ("holds another kind of", other)):
        if names:
            raise DataError(f"it {what} {', '.join(names)}: it is of another version", where=path, remedy=_REMEDY)
    try:
        return Checkpoint(**{**content, "progress": RunProgress(**content["progress"])})
    except TypeError as error:
        raise DataError(f"it is of another version ({reason(error)})", where=path, remedy=_REMEDY) from error


def _holds(name: str, value: Any) -> bool:
    """Return whether a field's container holds what it should, as far as readers rely on it."""
    if name == "progress":
        return all(isinstance(one, int | float) for one in value.values())
    if name in {"model", "average"}:
        return all(isinstance(key, str) and isinstance(one, Tensor) for key, one in value.items())
    if name == "science":
        return all(isinstance(key, str) and _is_setting(one) for key, one in value.items())
    return True


def _is_setting(value: object) -> bool:
    """Return whether a value is a setting as `science.science` writes them."""
    try:
        parse_json(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a run resumes.

    Attributes:
        path: the checkpoint; None if the run starts from the beginning.
        set_aside: a sentence for each newer, damaged checkpoint.
    """

    path: Path | None
    set_aside: tuple[str, ...] = ()


def resumption(folder: Path) -> Resumption:
    """Return where the run in a folder resumes: at its newest undamaged checkpoint.

    Newer damaged ones are renamed, so that they do not count among the newest that are kept; otherwise undamaged ones
    would be removed in their place.

    Raises:
        DataError: all are damaged; or the newest holds objects that could run a program, or is of another version.
        UsageError: one cannot be read or renamed.
    """
    damaged: list[NotWholeError] = []
    for path in sorted(_numbered(folder), reverse=True):
        try:
            read_checkpoint(path)
        except NotWholeError as error:
            damaged.append(error)
        else:
            return Resumption(path, tuple(_set_aside(error, path) for error in damaged))
    if damaged:
        raise DataError(
            f"all {len(damaged):,} checkpoints of the run are damaged; the newest {damaged[0].what}",
            where=damaged[0].where,
            remedy="replace it by an undamaged copy, or remove them to start again",
        )
    return Resumption(None)


def _set_aside(error: NotWholeError, whole: Path) -> str:
    """Rename a damaged checkpoint and return a sentence that says so."""
    path = Path(str(error.where))
    with write_errors(path):
        path.replace(path.with_name(path.name + DAMAGED_SUFFIX))
    return f"{path} {error.what}: it is now {path.name}{DAMAGED_SUFFIX}, and the run resumes from {whole.name}"


def found_checkpoint(place: Location) -> Path:
    """Return the checkpoint at a place: a file, or the newest of a run's folder.

    Raises:
        UsageError: it is remote, or a folder without any.
    """
    if not isinstance(place, Path):
        raise UsageError("is remote", where=place, remedy="copy the checkpoint to this machine")
    if not place.is_dir():
        return place
    newest = newest_checkpoint(place)
    if newest is None:
        raise UsageError("holds no checkpoint", where=place, remedy="name a checkpoint, or a run that has saved one")
    return newest


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint with the most steps in a run's folder, None if there is none."""
    return max(_numbered(folder), default=None)


def checkpoint_path(folder: Path, total_steps: int) -> Path:
    """Return the path of a run's checkpoint after `total_steps` steps."""
    return folder / FOLDER / f"step-{total_steps:09d}.pt"


def best_path(folder: Path) -> Path:
    """Return the path of a run's best checkpoint."""
    return folder / FOLDER / BEST


def rotate(folder: Path, keep: int) -> None:
    """Remove all but the newest checkpoints of a run; the best one has its own name and stays."""
    for path in sorted(_numbered(folder))[:-keep]:
        path.unlink(missing_ok=True)


class CheckpointWriter:
    """Writes a run's checkpoints one after the other, on request in a thread, and removes the oldest."""

    def __init__(self, folder: Path, *, keep: int, asynchronous: bool) -> None:
        self._folder = folder
        self._keep = keep
        self._asynchronous = asynchronous
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def newest(self) -> Path | None:
        """Wait until all checkpoints are on the disk, and return the newest; None if there is none.

        Raises:
            UsageError: as `save`.
        """
        self.wait()
        return newest_checkpoint(self._folder)

    def save(self, checkpoint: Checkpoint, *, best: bool = False, wait: bool = True) -> None:
        """Write a checkpoint, and if it is the best so far, write it also under the best one's name.

        Its tensors are copied before this returns. Without `wait`, an error of the writing is raised by the next call.

        Raises:
            UsageError: the folder cannot be written, or the disk is full.
        """
        self.wait()
        if wait or not self._asynchronous:
            self._write(checkpoint, best=best)
            return
        self._thread = threading.Thread(target=self._try, args=(_copied(checkpoint), best), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Wait until all checkpoints are on the disk; raises as `save`."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _try(self, checkpoint: Checkpoint, best: bool) -> None:  # noqa: FBT001 - a thread's arguments
        try:
            self._write(checkpoint, best=best)
        except BaseException as error:  # noqa: BLE001 - raised again by the next call that waits
            self._error = error

    def _write(self, checkpoint: Checkpoint, *, best: bool) -> None:
        # The best one first: a run that resumes from a checkpoint that records it would never write it again.
        if best:
            save_checkpoint(best_path(self._folder), checkpoint)
        save_checkpoint(checkpoint_path(self._folder, checkpoint.progress.total_steps), checkpoint)
        rotate(self._folder, self._keep)


def generator_state() -> StateDict:
    """Return the state of this process's random generators as tensors and numbers."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - the global generator, from which other code draws
    version, numbers, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(numbers), next_gauss],
    }


def set_generator_state(state: Mapping[str, Any]) -> None:
    """Set this process's random generators as `generator_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - as above
    version, numbers, next_gauss = state["python"]
    random.setstate((version, tuple(numbers), next_gauss))


def check_vocabulary(checkpoint: Checkpoint, path: Path, vocabulary: str, n_classes: int) -> None:
    """Raise `UsageError` unless a checkpoint predicts the classes of the vocabulary with this digest."""
    if checkpoint.n_classes < n_classes:
        raise UsageError(
            f"its head has {checkpoint.n_classes:,} classes, but the vocabulary has {n_classes:,}",
            where=path,
            remedy="name the vocabulary that it was trained with, or fine-tune it to this one (finetune)",
        )
    if checkpoint.vocabulary != vocabulary:
        raise UsageError(
            f"it was trained with another vocabulary (digest {checkpoint.vocabulary[:12]}, not {vocabulary[:12]})",
            where=path,
            remedy="name the vocabulary that it was trained with, or fine-tune it to this one (finetune)",
        )


def check_science(found: Mapping[str, str], wanted: Mapping[str, str], path: Path) -> None:
    """Raise `UsageError` if a run differs from the run of a checkpoint."""
    differing = [name for name in sorted(found.keys() | wanted.keys()) if found.get(name) != wanted.get(name)]
    if differing:
        told = first_of((f"{name} was {found.get(name)} and is now {wanted.get(name)}" for name in differing), _SHOWN)
        raise UsageError(
            f"it belongs to another run: {told}",
            where=path,
            remedy="name another --out, or the same run file as before",
        )


def check_order(checkpoint: Checkpoint, position: Mapping[str, Any], path: Path) -> None:
    """Raise `UsageError` if a checkpoint was saved within an epoch whose order differs from the run's.

    Args:
        checkpoint: the checkpoint from which the run resumes.
        position: the state of the run's feed at the checkpoint's epoch and step; an order includes the number of
            images, not their ids.
        path: path of the checkpoint.
    """
    if checkpoint.progress.step and checkpoint.sampler != position:
        raise UsageError(
            f"it was saved within an epoch of {checkpoint.sampler.get('order')}, but the run now has "
            f"{position.get('order')}",
            where=path,
            remedy="use the same images and labels as before (streamed images also need the same ranks and workers, "
            "and passes of the same size, until the epoch ends), or another --out",
        )


def _copied(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(**{name: _on_cpu(getattr(checkpoint, name)) for name in Checkpoint.__slots__})


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _on_cpu(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(inner) for inner in value)
    return copy.copy(value)


def _numbered(folder: Path) -> Sequence[Path]:
    return [path for path in (folder / FOLDER).glob("step-*.pt") if _NAME.fullmatch(path.name)]
