"""Pictures that a run cannot decode: told at the first one, counted at the end of each epoch, refused if too many."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlimages_dataset.loaders.dataset import BadImages
from mlimages_dataset.train import distributed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.train.logs import RunLog

KIND = "bad pictures"
"""The kind of the log's lines."""
OPTION = "data.bad_image_share"
_SHOWN = 5


class BadPictures:
    """The bad pictures of a run, epoch after epoch."""

    def __init__(self, most: float, log: RunLog) -> None:
        """Count nothing yet; `most` is the share of an epoch's images that may be bad, 0 to 1."""
        self._log = log
        self._nothing = BadImages(most, option=OPTION)
        self._told = False
        self.begin(0, n_images=0, skipped=0)

    def begin(self, epoch: int, *, n_images: int, skipped: int) -> None:
        """Begin to count an epoch.

        Args:
            epoch: its number.
            n_images: images of this rank in it.
            skipped: those of them that an earlier start of the run has read.
        """
        self._epoch, self._skipped = epoch, skipped
        self._found = replace(self._nothing, least=min(BadImages.SETTLED, n_images), rows=set())

    def add(self, batches: Sequence[ImageBatch], step: int) -> None:
        """Count the batches of a step of this rank, and tell the run's first bad picture.

        Raises:
            DataError: too many are bad, counted over at least a thousand images or the epoch.
        """
        for batch in batches:
            self._found.add(len(batch), batch.replaced)
        if self._found.first and not self._told:
            self._told = True
            bad = self._found.first[0]
            sentence = f"{bad.image_id} cannot be used ({bad.reason}), and another picture takes its place"
            self._log.said(KIND, step, sentence, {"epoch": self._epoch})

    def end(self, step: int, *, whole: bool) -> None:
        """Tell the bad pictures of all ranks; every rank calls it.

        Args:
            step: the run's last step.
            whole: the epoch was read to its end.

        Raises:
            DataError: the whole epoch has too many.
        """
        of_ranks = distributed.gathered((self._found, self._skipped))
        found = sum((found for found, _ in of_ranks), self._nothing)
        if found.count:
            shown = replace(found, first=found.first[:_SHOWN])
            values = {"epoch": self._epoch, "pictures": found.count, "images": found.samples}
            self._log.said(KIND, step, f"epoch {self._epoch}: {shown}", values)
        if whole:
            found.check(found.samples + sum(skipped for _, skipped in of_ranks))
