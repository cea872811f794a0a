"""A run tells its bad pictures, each once in an epoch, and stops if they are too large a share of an epoch."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.loaders.dataset import BadImage
from mlimages_dataset.train.bad_pictures import KIND
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.learner import make_learner
from mlimages_dataset.train.losses.registry import make_loss
from mlimages_dataset.train.stage import train_in
from mlimages_dataset.train.stopping import StopRequest
from tests.train.synthetic import CLASSES, N_CLASSES, N_IMAGES, Program, TensorFeed, network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mlimages_dataset.loaders.batch import Batch


@dataclass(frozen=True, slots=True)
class BadFeed(TensorFeed):
    """A feed in which the images before a number are bad."""

    n_bad: int = 0

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        """See `Feed`."""
        for batches in TensorFeed.steps(self, epoch, first_step):
            yield [dataclasses.replace(batch, replaced=self._bad(batch)) for batch in batches]

    def _bad(self, batch: Batch) -> tuple[BadImage, ...]:
        numbers = [int(image_id.removeprefix("image-")) for image_id in batch.image_ids]
        return tuple(BadImage(k, f"image-{k}", "cut") for k in numbers if k < self.n_bad)


def trained(out: Path, n_bad: int, share: float, **program: int) -> list[dict[str, object]]:
    """Train on a feed with bad images, and return the log's lines on them."""
    asked = Program(out=str(out), epochs=2, **program)  # type: ignore[arg-type]  # fields by name
    run = dataclasses.replace(asked.run(), data=dataclasses.replace(asked.run().data, bad_image_share=share))
    with computing(run.execution, run.seed) as device, StopRequest() as stop:
        learner = make_learner(run, network(), make_loss(run, N_CLASSES), device)
        feed = BadFeed(asked.batch_size, asked.passes, n_bad=n_bad)
        train_in(out, run, learner, feed, CLASSES, evaluate=None, stop=stop)
    return told(out)


def told(out: Path) -> list[dict[str, object]]:
    """Return the lines of a log on bad pictures."""
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == KIND]


@pytest.mark.parametrize("passes", [1, 4])
def test_the_first_bad_picture_is_told_at_once_and_all_at_the_end_of_each_epoch(
    tmp_path: Path, passes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *epochs = trained(tmp_path, 7, share=7 / N_IMAGES, passes=passes)
    assert str(first["sentence"]).endswith(" cannot be used (cut), and another picture takes its place")
    assert [(line["epoch"], line["pictures"], line["images"]) for line in epochs] == [(k, 7, 64) for k in (0, 1)]
    assert "and 2 more" in str(epochs[0]["sentence"]), "some are named"
    shown = capsys.readouterr().out
    assert all(str(line["sentence"]) in shown for line in (first, *epochs))


def test_without_bad_pictures_there_is_no_word_of_them(tmp_path: Path) -> None:
    assert trained(tmp_path, 0, share=0.0) == []


@pytest.mark.parametrize("n_bad", [1, 2, 3, 32, 64])
def test_a_share_of_an_epoch_is_the_limit_however_small_the_epoch(tmp_path: Path, n_bad: int) -> None:
    trained(tmp_path / "just", n_bad, share=n_bad / N_IMAGES)
    with pytest.raises(DataError, match=r"pictures cannot be used, more than .*, or raise data\.bad_image_share$"):
        trained(tmp_path / "more", n_bad, share=(n_bad - 0.5) / N_IMAGES)


def test_a_run_that_ends_within_an_epoch_is_judged_by_the_whole_epoch(tmp_path: Path) -> None:
    lines = trained(tmp_path, 8, share=8 / N_IMAGES, steps=1)
    assert lines, "they are told"
    assert lines[-1]["images"] == 16
