"""What every kind of image store must do; a test of a kind calls `check_store`, which any project may import.

Whoever adds a kind makes a folder of it and names the pictures that the folder holds:

    def test_it_is_a_store(tmp_path):
        folder = ...  # holds two pictures and more
        check_store(folder, {"a": b"...", "b": b"..."}, tmp_path)
"""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.images.registry import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import ImageStore

ABSENT = "an id/that no picture has"


def check_store(
    folder: Location,
    pictures: Mapping[str, bytes],
    scratch: Path,
    masks: Mapping[str, Mapping[str, bytes]] = MappingProxyType({}),
) -> None:
    """Check the store that `open_store` finds in a folder.

    Args:
        folder: a folder of the kind to be tested.
        pictures: the encoded bytes of all its pictures by image id, two at least.
        scratch: an empty folder.
        masks: the encoded masks of pictures that have any, by image id and tag.
    """
    store = open_store(folder)
    assert str(store.folder) == str(folder)
    _check_pictures(store, pictures)
    _check_pictures(pickle.loads(pickle.dumps(store)), pictures)  # noqa: S301 - our own bytes
    _check_reading_together(store)
    assert {image_id: store.masks(k) for k, image_id in enumerate(store.image_ids.to_pylist())} == {
        image_id: masks.get(image_id, {}) for image_id in pictures
    }
    _check_finder(store, pictures, scratch)
    assert store.digest == open_store(folder).digest != "", "unchanged pictures have an unchanged digest"


def _check_pictures(store: ImageStore, pictures: Mapping[str, bytes]) -> None:
    ids = store.image_ids.to_pylist()
    assert pa.types.is_large_string(store.image_ids.type)
    assert len(store) == len(ids) == len(pictures)
    assert store.repeated_ids() == []
    assert ids == [store.image_id(k) for k in range(len(store))]
    assert {image_id: store.read(k) for k, image_id in enumerate(ids)} == dict(pictures)
    for k, image_id in enumerate(ids):
        path, offset, length = store.place(k)
        if offset < 0:
            continue  # only `read` gives it
        stored = path.read_bytes()
        assert stored[offset : offset + length if length >= 0 else None] == pictures[image_id]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(store.read, range(len(store)))) == [pictures[image_id] for image_id in ids]


def _check_reading_together(store: ImageStore) -> None:
    n = len(store)
    for numbers in ([], [n - 1], list(range(n)), list(range(0, n, 2)), [0, 0, n - 1]):
        found = list(store.read_many(np.array(numbers, np.int64)))
        assert found == [store.read(k) for k in numbers]


def _check_finder(store: ImageStore, pictures: Mapping[str, bytes], scratch: Path) -> None:
    ids = [*reversed(list(pictures)), ABSENT, "", next(iter(pictures))]
    finder = store.finder()
    some = [finder.find(*_columns(batch)) for batch in (ids[:2], [], ids[2:])]
    numbers = np.concatenate(some)
    assert numbers.dtype == np.int64
    assert [len(each) for each in some] == [2, 0, len(ids) - 2]
    assert (numbers >= 0).tolist() == [image_id in pictures for image_id in ids]
    finder.save(scratch / "store.arrow")
    found = store.found_at(scratch / "store.arrow")
    again = pickle.loads(pickle.dumps(store)).found_at(scratch / "store.arrow")  # noqa: S301 - our own bytes
    for image_id, k in zip(ids, numbers.tolist(), strict=True):
        if k >= 0:
            assert found.image_id(k) == again.image_id(k) == image_id
            assert found.read(k) == again.read(k) == pictures[image_id]


def _columns(image_ids: list[str]) -> tuple[pa.StringArray, pa.StringArray]:
    return pa.array(image_ids, pa.string()), pa.array([""] * len(image_ids), pa.string())
