"""PyTorch's DataLoader with a position that can be saved, and a count of bad pictures."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from torch.utils.data import DataLoader

from mlimages_dataset.core.errors import MLImagesError, UsageError
from mlimages_dataset.loaders.batch import ImageBatch
from mlimages_dataset.loaders.dataset import BadImages
from mlimages_dataset.loaders.samplers import OrderSampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlimages_dataset.loaders.dataset import CataloguedImages
    from mlimages_dataset.loaders.samplers import SamplerState


_SET_HERE = {
    "num_workers": "pass workers=",
    "shuffle": "the sampler gives the order: pass ShuffledSampler(data) or EvaluationSampler(data)",
    "batch_sampler": "pass a sampler and batch_size=",
    "collate_fn": "leave it out: the data set has its own",
    "in_order": "leave it out: a place in an epoch counts batches in their order",
}
"""Options of PyTorch's loader that are decided here, and what to do instead."""
_Batch = TypeVar("_Batch", bound=ImageBatch)


class Loader(DataLoader[Any], Generic[_Batch]):
    """Batches of a data set in the order of a sampler, epoch after epoch.

    At the end of an epoch the sampler moves to the next one. `state_dict` counts the batches that the loop received,
    not those that workers have prefetched.

    Args:
        data: the data set.
        sampler: the order of the samples.
        batch_size: samples of a batch, per rank.
        workers: worker processes; 0 to make samples in this one.
        max_bad_share: the share of samples with a bad picture, 0 to 1, above which an error is raised.
        options: of `torch.utils.data.DataLoader`, such as `pin_memory`, `prefetch_factor` or `drop_last`.

    Raises:
        UsageError: the data set or the sampler is not one of this package, an option has another name here, or
            `max_bad_share` is not within 0 to 1.

    Attributes:
        bad: the bad pictures so far.
        waited: seconds that the loop has waited for batches.
    """

    def __init__(
        self,
        data: CataloguedImages[Any, _Batch],
        sampler: OrderSampler,
        *,
        batch_size: int,
        workers: int = 0,
        max_bad_share: float = 0.05,
        **options: Any,
    ) -> None:
        _check(data, sampler, options)
        super().__init__(
            data, batch_size=batch_size, sampler=sampler, num_workers=workers, collate_fn=data.collate, **options
        )
        self.order_sampler = sampler
        self.bad = BadImages(max_bad_share)
        self.waited = 0.0
        self._place = sampler.place(sampler.epoch, sampler.start)

    def __iter__(self) -> Iterator[_Batch]:  # type: ignore[override]  # torch declares its own iterator's class
        sampler = self.order_sampler
        epoch, left = sampler.epoch, len(self)
        before = time.perf_counter()
        try:
            for batch in self._batches():
                self.waited += time.perf_counter() - before
                self.bad.add(len(batch), batch.replaced)
                self._place = sampler.state_after(batch)
                left -= 1
                yield batch
                before = time.perf_counter()
        finally:
            # A loop that counts its steps asks for no batch after the last one. Not if the user has set another epoch.
            if sampler.epoch == epoch and left <= 0:
                self.set_epoch(epoch + 1)

    def _batches(self) -> Iterator[_Batch]:
        with told_once():
            yield from super().__iter__()

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch, unless the loader is already in it."""
        self.order_sampler.set_epoch(epoch)
        self._place = self.order_sampler.place(self.order_sampler.epoch, self.order_sampler.start)

    def state_dict(self) -> SamplerState:
        """Return the place after the last batch that was yielded."""
        return self._place

    def load_state_dict(self, state: SamplerState) -> None:
        """Go to a saved place.

        Raises:
            UsageError: it belongs to another order, or it is no place.
        """
        self.order_sampler.load_state_dict(state)
        self._place = state


def _check(data: object, sampler: object, options: Mapping[str, object]) -> None:
    """Raise `UsageError` if a loader's data set, sampler or options are those of PyTorch."""
    plain = "torch.utils.data.DataLoader takes it, with collate_fn=data.collate of the whole data set"
    if not hasattr(data, "collate"):
        raise UsageError(f"a {type(data).__name__} is no data set of mlimages_dataset", remedy=plain)
    if not isinstance(sampler, OrderSampler):
        kind = "None" if sampler is None else f"a {type(sampler).__name__}"
        raise UsageError(
            f"the sampler is {kind}, and Loader needs one of mlimages_dataset.loaders",
            remedy="pass ShuffledSampler(data) to train, or EvaluationSampler(data) to evaluate",
        )
    for name in options:
        if name in _SET_HERE:
            raise UsageError(f"Loader has no option {name}", remedy=_SET_HERE[name])


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """Raise a worker's error as it was; torch would put the worker's traceback into the message."""
    try:
        yield
    except MLImagesError as error:
        if told := _told(error):
            raise told from error
        raise


def _told(error: MLImagesError) -> MLImagesError | None:
    """Return a worker's error without the traceback that torch added; None for an error of this process."""
    kind = type(error)
    _, mark, sentence = error.what.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")
    return kind(sentence.rstrip()) if mark else None
