"""What a collection's folder becomes before a run: the places that the run file leaves open."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.train.schedule import steps_of_epoch

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.config import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A collection as a run reads it.

    Attributes:
        images: folder of the pictures that are learnt.
        labels: what is known of them; see `config.Data`.
        vocabulary: folder of the vocabulary; None for a task without one.
        measured_images: folder of the pictures that are measured on.
        measured_labels: what is known of these.
        n_images: number of pictures that are learnt.
        n_measured: number of those that are measured on.
        notes: a sentence for each thing that people must know.
    """

    images: Location
    labels: Location
    vocabulary: Location | None
    measured_images: Location
    measured_labels: Location
    n_images: int
    n_measured: int
    notes: tuple[str, ...] = ()

    def given_to(self, run: Run) -> Run:
        """Return a run with these places; one that counts its steps gets as many epochs as these take.

        A run that is not evaluated on its way does not name what it is measured on.
        """
        data = dataclasses.replace(
            run.data,
            images=self.images,
            labels=self.labels,
            vocabulary=self.vocabulary,
            validation_images=self.measured_images if run.evaluate_epochs else None,
            validation_labels=self.measured_labels if run.evaluate_epochs else None,
        )
        epochs = run.epochs
        if run.steps:
            epochs = -(-run.steps // steps_of_epoch(self.n_images, run.phase(0).batch_size))
        return dataclasses.replace(run, data=data, epochs=epochs)
