"""A tally counts the different images of each class, however files are cut and images divided."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment import tally as tallying
from mlimages_dataset.augment.tally import images_of_classes
from mlimages_dataset.sources import pieces

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = ["a", "b", "c.jpg", "c", "x/d.png", "x/d", "ü"]
rows_of_files = st.lists(
    st.lists(st.tuples(st.sampled_from(IMAGES), st.sampled_from(["dog", "cat", "a, b"]), st.sampled_from("01"))),
    min_size=1,
    max_size=3,
)


def write_csv(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("image_id", "label", "confidence"), *rows])
    return path


@pytest.mark.parametrize("bucket_bytes", [8, 1 << 27])
@settings(max_examples=25)
@given(files=rows_of_files, piece_bytes=st.sampled_from([1, 50, 1 << 26]))
def test_images_are_counted_once_however_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    bucket_bytes: int,
    files: list[list[tuple[str, str, str]]],
    piece_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("tally")
    paths = [write_csv(folder / f"{number}.csv", rows) for number, rows in enumerate([*files, [("z", "dog", "1")]])]
    expected: dict[str, set[str]] = {"dog": {"z"}}
    for image, name, says in (row for rows in files for row in rows):
        if says == "1":
            expected.setdefault(name, set()).add(image.removesuffix(".jpg").removesuffix(".png"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces, "PIECE_BYTES", piece_bytes)
        patched.setattr(tallying, "_BUCKET_BYTES", bucket_bytes)
        found, rejects = images_of_classes("csv", paths, folder / "out.csv")
    assert found == {name: len(images) for name, images in expected.items()}
    assert not rejects.count
    assert not list(folder.glob(".partial*"))
