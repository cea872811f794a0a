"""The batches of a run, divided into steps and passes, from any step on.

Legend: B images of a step, over all ranks and passes; step s reads the positions s B to (s + 1) B - 1 of its epoch,
whatever the number of ranks.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.loaders import (
    ClassAwareSampler,
    Loader,
    MLImages,
    RepeatFactorSampler,
    ShuffledSampler,
    SoftBalanceSampler,
    StreamedImages,
    collate,
)
from mlimages_dataset.loaders.loader import told_once
from mlimages_dataset.loaders.streaming import batch_sizes
from mlimages_dataset.train import distributed
from mlimages_dataset.train.config import SamplerName
from mlimages_dataset.train.schedule import steps_of_epoch
from mlimages_dataset.train.stopping import outlive_sigterm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.loaders.dataset import CataloguedImages
    from mlimages_dataset.loaders.samplers import OrderSampler
    from mlimages_dataset.train.checkpoint import StateDict
    from mlimages_dataset.train.config import Phase, Run
    from mlimages_dataset.train.tasks.task import AnyTask


def make_feed(
    run: Run, task: AnyTask, data: CataloguedImages[Any, Any], device: torch.device
) -> ImageFeed | StreamFeed:
    """Return the feed of a run on this rank.

    Raises:
        ConfigError: a batch cannot be divided over the ranks or into passes.
        UsageError: a sampler draws by class, but no image has a class.
    """
    if not run.data.streamed:
        return ImageFeed(run, task, data, device)
    assert isinstance(data, MLImages)  # the run file has been checked
    return StreamFeed(run, task, data, device)


class ImageFeed:
    """The batches of a run from a data set of images; see `loop.Feed`."""

    def __init__(self, run: Run, task: AnyTask, data: CataloguedImages[Any, Any], device: torch.device) -> None:
        """Open the feed of this rank.

        Raises:
            ConfigError: a batch cannot be divided over the ranks or into passes.
        """
        self._run = run
        self._task = task
        self._data = data
        self._pin = device.type == "cuda"
        self._samplers: dict[Phase, OrderSampler] = {}
        for phase in run.phases:
            images_of_pass(run, phase, distributed.n_ranks())

    def n_steps(self, epoch: int) -> int:
        """See `Feed`."""
        phase = self._run.phase(epoch)
        return steps_of_epoch(self._sampler(phase).order.length(epoch), phase.batch_size)

    def smallest_pass(self, phase: Phase) -> int:
        """Return the least images that a rank takes through the network at once in an epoch of a phase."""
        n_ranks, left = distributed.n_ranks(), self._sampler(phase).order.length(0) % phase.batch_size
        of_pass = images_of_pass(self._run, phase, n_ranks)
        return -(-left // n_ranks) % of_pass or of_pass  # all ranks read the same number

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[ImageBatch]]:
        """See `Feed`."""
        phase, options = self._run.phase(epoch), self._run.data
        sampler = self._sampler(phase)
        sampler.epoch, sampler.start = epoch, first_step * phase.batch_size
        of_pass = images_of_pass(self._run, phase, sampler.world)
        self._task.look(self._data, self._run, phase, training=True)
        loader = iter(
            Loader(
                self._data,
                sampler,
                batch_size=of_pass,
                workers=options.workers,
                max_bad_share=1.0,  # the loop counts bad pictures, see `bad_pictures`
                pin_memory=self._pin,
                prefetch_factor=options.prefetch if options.workers else None,
                worker_init_fn=outlive_sigterm,
                # A loader draws a seed for its workers: from its own generator, because a resumed run draws once more.
                generator=torch.Generator().manual_seed(self._run.seed),
            )
        )
        passes = phase.batch_size // (of_pass * sampler.world)
        while batches := list(itertools.islice(loader, passes)):
            yield batches

    def finish(self, images: Tensor) -> Tensor:
        """See `Feed`."""
        return self._data.finish(images)

    def state(self, epoch: int, step: int) -> StateDict:
        """See `Feed`."""
        phase = self._run.phase(epoch)
        order = self._sampler(phase).order
        return {"epoch": epoch, "position": min(step * phase.batch_size, order.length(epoch)), "order": order.name}

    def _sampler(self, phase: Phase) -> OrderSampler:
        if phase not in self._samplers:
            self._samplers[phase] = make_sampler(self._data, phase, self._run.seed)
        return self._samplers[phase]


class StreamFeed:
    """The batches of a run from shards that are read in long stretches; see `loop.Feed`.

    Every rank reads a stretch of the epoch's order, and every worker a part of it. A worker's last pass may be smaller,
    so an epoch can have some more steps than with `ImageFeed`. A run that was interrupted within an epoch resumes only
    with the same numbers of ranks and workers and passes of the same size; between epochs these may change.
    """

    def __init__(self, run: Run, task: AnyTask, data: MLImages, device: torch.device) -> None:
        """Open the feed of this rank; raises as `make_feed`."""
        self._run = run
        self._task = task
        self._data = data
        self._pin = device.type == "cuda"
        for phase in run.phases:
            images_of_pass(run, phase, distributed.n_ranks())

    def n_steps(self, epoch: int) -> int:
        """See `Feed`."""
        phase = self._run.phase(epoch)
        return -(-len(self._passes(phase)) // self._passes_of_step(phase))

    def smallest_pass(self, phase: Phase) -> int:
        """Return the least images that a rank takes through the network at once in an epoch of a phase."""
        return min(self._passes(phase))

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[ImageBatch]]:
        """See `Feed`."""
        phase, options = self._run.phase(epoch), self._run.data
        passes, of_pass = self._passes_of_step(phase), images_of_pass(self._run, phase, distributed.n_ranks())
        self._task.look(self._data, self._run, phase, training=True)
        stream = self._stream(phase)
        stream.set_epoch(epoch)
        stream.go_on_after(first_step * passes, batch_size=of_pass, workers=options.workers)
        loader = iter(
            DataLoader(
                stream,
                batch_size=of_pass,
                num_workers=options.workers,
                collate_fn=collate,
                pin_memory=self._pin,
                prefetch_factor=options.prefetch if options.workers else None,
                worker_init_fn=outlive_sigterm,
                generator=torch.Generator().manual_seed(self._run.seed),  # as in `ImageFeed`
            )
        )
        with told_once():
            while batches := list(itertools.islice(loader, passes)):
                yield batches

    def finish(self, images: Tensor) -> Tensor:
        """See `Feed`."""
        return self._data.finish(images)

    def state(self, epoch: int, step: int) -> StateDict:
        """See `Feed`."""
        phase, n_ranks = self._run.phase(epoch), distributed.n_ranks()
        of_pass, workers = images_of_pass(self._run, phase, n_ranks), max(self._run.data.workers, 1)
        divided = f"streamed by {n_ranks} x {workers} workers in passes of {of_pass} images"
        return {"epoch": epoch, "step": step, "order": f"{self._stream(phase).order.name}, {divided}"}

    def _stream(self, phase: Phase) -> StreamedImages:
        return StreamedImages(
            self._data,
            seed=self._run.seed,
            block_rows=phase.block_images,
            blocks_of_window=phase.blocks_of_window,
        )

    def _passes(self, phase: Phase) -> list[int]:
        """Return the sizes of an epoch's passes, which are the same on every rank."""
        of_pass = images_of_pass(self._run, phase, distributed.n_ranks())
        return batch_sizes(len(self._stream(phase)), of_pass, max(self._run.data.workers, 1))

    def _passes_of_step(self, phase: Phase) -> int:
        n_ranks = distributed.n_ranks()
        return phase.batch_size // (images_of_pass(self._run, phase, n_ranks) * n_ranks)


def make_sampler(data: CataloguedImages[Any, Any], phase: Phase, seed: int) -> OrderSampler:
    """Return the sampler of a phase, for this rank.

    Raises:
        UsageError: it draws by class, but no image has a class.
    """
    if phase.sampler is SamplerName.SHUFFLED:
        return ShuffledSampler(data, seed=seed)
    if phase.sampler is SamplerName.BLOCKS:
        return ShuffledSampler(data, seed=seed, block_rows=phase.block_images, blocks_of_window=phase.blocks_of_window)
    if phase.sampler is SamplerName.REPEAT_FACTOR:
        return RepeatFactorSampler(data, seed=seed)
    if phase.sampler is SamplerName.CLASS_AWARE:
        return ClassAwareSampler(data, seed=seed)
    return SoftBalanceSampler(data, balance=phase.balance, seed=seed)


def images_of_pass(run: Run, phase: Phase, n_ranks: int) -> int:
    """Return the number of images in a pass of a rank.

    Raises:
        ConfigError: a batch cannot be divided over the ranks or into passes.
    """
    of_rank, left = divmod(phase.batch_size, n_ranks)
    if left:
        raise ConfigError(
            f"a batch of {phase.batch_size:,} images cannot be divided over {n_ranks:,} ranks",
            remedy="choose a batch_size that is a multiple of the number of ranks",
        )
    asked = run.execution.images_per_pass or of_rank
    if of_rank % min(asked, of_rank):
        raise ConfigError(
            f"a rank's {of_rank:,} images of a batch cannot be divided into passes of {asked:,}",
            remedy="choose images_per_pass so that it divides batch_size / ranks",
        )
    return min(asked, of_rank)
