"""The input that a run's ranks need: decoding cores for each rank, and bytes per second from storage.

A network that waits for pictures looks like a slow network, and the hours of a plan hold only if the pictures arrive as
fast as the network processes them. So the speed of this machine's cores is measured on real pictures.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import DataLoader, Dataset

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import location
from mlimages_dataset.loaders.transforms import train_transform
from mlimages_dataset.samples import photographs
from mlimages_dataset.train.pictures import Pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.loaders.transforms import Transform

_SAMPLED = 200
_LEAST_OF_CORE = 40
_WARMING = 5
_MACHINE_RANKS = 8
"""GPUs per machine, as in the paper (section 4.1.4)."""


@dataclass(frozen=True, slots=True)
class CoreRate:
    """The speed at which a core makes training images from stored pictures while all cores do so.

    Attributes:
        images_per_second: pictures decoded, cropped and changed in colour per second of processor time.
        bytes_per_image: mean size of the stored pictures.
        image_size: side of the images, in pixels.
        pictures: number of different pictures measured.
        packaged: whether these are the packaged photographs, not the run's own pictures.
        cores: cores of this machine that the process may use.
    """

    images_per_second: float
    bytes_per_image: float
    image_size: int
    pictures: int
    packaged: bool
    cores: int

    def cores_for(self, images_per_second: float) -> int:
        """Return how many cores are needed for a number of images per second."""
        return math.ceil(images_per_second / self.images_per_second)


@dataclass(frozen=True, slots=True)
class Supply:
    """The decoding and storage that a run's ranks need.

    Attributes:
        images_per_second: images per second of all ranks.
        ranks: number of ranks.
        workers: decoding workers per process in the run file.
        rate: speed of this machine's cores.
        paced_on_cpu: `images_per_second` was measured on a CPU and not given.
    """

    images_per_second: float
    ranks: int
    workers: int
    rate: CoreRate
    paced_on_cpu: bool = False

    @property
    def cores_per_rank(self) -> int:
        """Return how many cores must decode for each rank."""
        return self.rate.cores_for(self.images_per_second / self.ranks)

    @property
    def bytes_per_second(self) -> float:
        """Return the bytes per second that the storage must deliver to all ranks."""
        return self.images_per_second * self.rate.bytes_per_image

    def lines(self) -> list[str]:
        """Return the needs as lines."""
        rate, needed = self.rate, self.cores_per_rank
        whose = "packaged photographs, smaller than most: name yours with --images" if rate.packaged else "of --images"
        made = f"one core here makes {rate.images_per_second:,.0f} images/s of {rate.image_size} pixels"
        stored = f"from pictures of {rate.bytes_per_image / 1e3:,.0f} kB ({rate.pictures:,} {whose})"
        of_rank = f"{_cores(needed)} must decode for each rank's {self.images_per_second / self.ranks:,.1f} images/s"
        of_machine = f"a machine of {_MACHINE_RANKS} such ranks needs {_cores(_MACHINE_RANKS * needed)} that decode"
        of_all, of_each = _bytes(self.bytes_per_second), _bytes(self.bytes_per_second / self.ranks)
        told = [
            f"{made}, {stored}",
            f"{of_rank}: {self._judgement()}",
            f"{of_machine}; this one has {rate.cores:,}",
            f"the storage must deliver {of_all}/s to all ranks, {of_each}/s to each",
        ]
        if self.paced_on_cpu:
            told.append(
                "the speed was measured on this CPU: for GPUs pass --images-per-second (python -m tests.gpu measures a "
                "GPU's; the paper's 128 M40 made 3,261)"
            )
        return told

    def _judgement(self) -> str:
        if self.workers >= self.cores_per_rank:
            return f"data.workers = {self.workers} is enough"
        if self.workers == 0:
            return "data.workers = 0 decodes in the training process, so the network waits"
        return (
            f"data.workers = {self.workers} is too few, and the network would wait: set {self.cores_per_rank}, or "
            "store smaller pictures (mlimages-build images ingest --short-edge)"
        )


class _Timed(Dataset[float]):
    """Processor seconds for each of some pictures; NaN for a picture that cannot be used."""

    def __init__(self, contents: Sequence[bytes], transform: Transform, times: int) -> None:
        self._contents = contents
        self._transform = transform
        self._times = times

    def __len__(self) -> int:
        return len(self._contents) * self._times

    def __getitem__(self, number: int) -> float:
        began = time.thread_time()
        try:
            self._transform(self._contents[number % len(self._contents)], np.random.default_rng(number))
        except DataError:
            return float("nan")
        return time.thread_time() - began


def core_rate(images: Location | None, image_size: int, *, cores: int | None = None, upright: bool = False) -> CoreRate:
    """Return the rate at which this machine's cores make training images, all of them at once.

    One process runs per core, because cores that share units or memory are slower together. Processor time is measured,
    so other work on the machine has little effect.

    Args:
        images: the folder of a run's pictures, of which 200 are measured; None for the packaged photographs.
        image_size: in pixels.
        cores: number of processes; None for the cores that this process may use.
        upright: turn pictures as their metadata say.

    Raises:
        UsageError: there is no such folder, or it holds no picture.
        DataError: none of the measured pictures can be used, or a table of the shards is damaged.
    """
    transform = train_transform(image_size, upright=upright)
    folder = location(str(photographs())) if images is None else images
    contents = _contents(folder, transform)
    n_cores = available_cores() if cores is None else cores
    times = math.ceil(max(_SAMPLED, n_cores * _LEAST_OF_CORE) / len(contents))
    timed = _Timed(contents, transform, times)
    for number in range(min(_WARMING, len(timed))):  # compile loops before the workers start
        timed[number]
    seconds = np.array(list(DataLoader(timed, batch_size=None, num_workers=n_cores)), float)
    if np.isnan(seconds).all():
        raise DataError(
            f"none of {len(contents):,} pictures can be used",
            where=folder,
            remedy=f"name other pictures with --images; mlimages-build images verify {folder} lists the bad ones",
        )
    return CoreRate(
        images_per_second=float(1 / np.nanmean(seconds)),
        bytes_per_image=float(np.mean([len(content) for content in contents])),
        image_size=image_size,
        pictures=len(contents),
        packaged=images is None,
        cores=available_cores(),
    )


def available_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _contents(folder: Location, transform: Transform) -> list[bytes]:
    """Return up to 200 pictures of a folder as they are stored, drawn evenly; those that cannot be read are left out.

    Raises:
        UsageError: there is no such folder, or it holds no picture.
        DataError: none can be read.
    """
    pictures = Pictures(folder, transform)
    numbers = np.linspace(0, len(pictures) - 1, min(_SAMPLED, len(pictures))).astype(int).tolist()
    contents, first = [], None
    for number in numbers:
        try:
            contents.append(pictures.content(number))
        except DataError as error:
            first = first or error
    if not contents:
        assert first is not None
        raise first
    return contents


def _cores(number: int) -> str:
    return f"{number:,} {'core' if number == 1 else 'cores'}"


def _bytes(number: float) -> str:
    """Return a number of bytes for people, with a decimal unit, as networks and disks are sold."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number / 1e3:,.1f} kB"
