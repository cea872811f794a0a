"""Streams give the samples of the map-style data set, each once, and go on where they were."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader
from upath import UPath

from mlimages_dataset.images import shards
from mlimages_dataset.loaders import Batch, Loader, MLImages, ShuffledSampler, StreamedImages, collate, train_transform
from tests.images.folders import image_folder
from tests.loaders.tables import SMALL, pictures, write_labels
from tests.loaders.test_dataset import data_set, same

if TYPE_CHECKING:
    from pathlib import Path

# torchdata asks torch for every name that it exports, deprecated ones included.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:UserWarning:torch")


def test_a_stream_is_the_block_shuffled_order(tmp_path: Path) -> None:
    data = data_set(tmp_path, 30, broken=[7], transform=train_transform(16))
    stream = StreamedImages(data, seed=3, block_rows=4, blocks_of_window=2, world=1, rank=0)
    sampler = ShuffledSampler(data, seed=3, block_rows=4, blocks_of_window=2, world=1, rank=0)
    loader = Loader(data, sampler, batch_size=6, max_bad_share=1)
    for epoch in range(2):
        stream.set_epoch(epoch)
        streamed = DataLoader(stream, batch_size=6, collate_fn=collate)
        assert all(same(one, other) for one, other in zip(streamed, loader, strict=True))


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_ranks_read_every_row_and_equally_many(tmp_path: Path, world: int) -> None:
    data = data_set(tmp_path, 30)
    of_ranks = [
        [sample.row for sample in StreamedImages(data, block_rows=4, blocks_of_window=2, world=world, rank=rank)]
        for rank in range(world)
    ]
    assert {len(rows) for rows in of_ranks} == {-(-30 // world)}
    assert set(itertools.chain(*of_ranks)) == set(range(30))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_where_it_was(tmp_path: Path, workers: int) -> None:
    data = data_set(tmp_path, 40, transform=train_transform(16))

    def loader() -> StatefulDataLoader[Batch]:
        stream = StreamedImages(data, block_rows=4, blocks_of_window=2, world=1, rank=0)
        return StatefulDataLoader(stream, batch_size=3, collate_fn=collate, num_workers=workers)

    whole = list(loader())
    assert sorted(itertools.chain(*(batch.rows.tolist() for batch in whole))) == list(range(40))
    for steps in (1, 6):
        cut = loader()
        head = list(itertools.islice(cut, steps))
        resumed = loader()
        resumed.load_state_dict(cut.state_dict())
        assert all(same(one, other) for one, other in zip([*head, *resumed], whole, strict=True))


def test_a_stream_that_was_left_begins_anew(tmp_path: Path) -> None:
    stream = StreamedImages(data_set(tmp_path, 12), block_rows=2, blocks_of_window=2, world=1, rank=0)
    head = list(itertools.islice(stream, 5))
    assert stream.state_dict()["given"] == 5
    whole = list(stream)
    assert [sample.row for sample in whole[:5]] == [sample.row for sample in head]
    assert len(whole) == 12


def test_persistent_workers_learn_of_the_next_epoch(tmp_path: Path) -> None:
    stream = StreamedImages(data_set(tmp_path, 12), block_rows=2, blocks_of_window=2, world=1, rank=0)
    loader = DataLoader(stream, batch_size=4, collate_fn=collate, num_workers=1, persistent_workers=True)
    epochs = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        epochs.append([batch.epoch for batch in loader])
    assert epochs == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("gap", [0, 600, 1 << 20])
def test_pictures_are_read_in_stretches_from_any_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: int
) -> None:
    monkeypatch.setattr(shards, "GAP_BYTES", gap)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    saved = pictures(10)
    folder = image_folder(
        UPath(f"memory://streamed-{gap}"), [dict(list(saved.items())[:6]), dict(list(saved.items())[6:])]
    )
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", [(name, "s", "", {1: 1.0}) for name in saved])
    data = MLImages(folder, labels, split=None, transform=SMALL, n_classes=3, cache=tmp_path / "cache")
    rows = np.array([0, 1, 3, 4, 5, 6, 9])
    assert list(data.catalogue.contents(rows)) == [list(saved.values())[row] for row in rows]
    assert sorted(sample.row for sample in StreamedImages(data, block_rows=3, world=1, rank=0)) == list(range(10))


def test_a_shard_that_ends_early_costs_only_what_is_not_there(tmp_path: Path) -> None:
    data = data_set(tmp_path, 6)
    shard = tmp_path / "images" / "shard-00000.tar"
    _, offset, length = data.catalogue.place(4)
    shard.write_bytes(shard.read_bytes()[: offset + length - 5])
    samples = list(StreamedImages(data, world=1, rank=0))
    assert sorted(bad.row for sample in samples for bad in sample.replaced) == [4, 5, 5]
    assert {sample.row for sample in samples} == {0, 1, 2, 3}
