"""Lists of every form are read in order, in slices, with the ids that repeat."""

from __future__ import annotations

import base64
import gzip
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.lists import ImageList, ListRow, is_of_open_images

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = hashlib.md5(b"a picture", usedforsecurity=False).digest()
OPEN_IMAGES = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
    "Thumbnail300KURL,Rotation\n"
    '0a,train,https://example.org/0.jpg,l,c,p,"Doe, J.","A ""title""\nof two lines",9,{md5},,0.0\n'
    "0b,train,https://example.org/1.jpg,l,c,p,\xff,t,,,https://example.org/1_z.jpg,270.0\n"
    "0c,train,https://example.org/2.jpg,l,c,p,a,t,,,,45\n"
)


def test_open_images_tables_carry_digests_and_sizes(tmp_path: Path) -> None:
    text = OPEN_IMAGES.replace("{md5}", base64.b64encode(DIGEST).decode())
    for name, content in (("a.csv", text.encode("latin-1")), ("a.csv.gz", gzip.compress(text.encode("latin-1")))):
        path = tmp_path / name
        path.write_bytes(content)
        images = ImageList([path])
        assert list(images.slices(10)) == [
            [
                ListRow("0a", "https://example.org/0.jpg", "train", DIGEST, 9, rotation=0),
                ListRow(
                    "0b", "https://example.org/1.jpg", "train", rotation=270, thumbnail="https://example.org/1_z.jpg"
                ),
                ListRow("0c", "https://example.org/2.jpg", "train", unread="Rotation '45'"),
            ]
        ]
        assert is_of_open_images([path])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=30), min_size=1, max_size=3), st.integers(1, 12))
def test_slices_cover_the_files_in_order_and_mark_what_repeats(
    tmp_path: Path, files: list[list[str]], size: int
) -> None:
    paths = []
    for number, ids in enumerate(files):
        paths.append(tmp_path / f"{number}.parquet")
        locations = [f"http://h/{number}/{at}" for at in range(len(ids))]
        pq.write_table(pa.table({"id": pa.array(ids, pa.string()), "url": pa.array(locations, pa.string())}), paths[-1])
    images = ImageList(paths)
    slices = list(images.slices(size))
    asked = [one for rows in slices for one in rows]
    every = [image_id for ids in files for image_id in ids]
    assert [one.image_id for one in asked] == every
    assert [one.repeated for one in asked] == [image_id in every[:at] for at, image_id in enumerate(every)]
    assert all(len(rows) == size for rows in slices[:-1])
    assert images.rows == len(every)
    assert images.repeated == len(every) - len(set(every))
    numbers = np.arange(0, len(every), 2)
    found = [location for batch in images.locations_of(numbers) for location in batch.to_pylist()]
    assert found == [asked[at].location for at in numbers]


def test_nulls_and_other_types_are_read_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    table = pa.table({"id": [1, 2], "url": ["http://h/a", None], "size": [5, None], "md5": [DIGEST.hex(), "odd"]})
    pq.write_table(table, path)
    assert list(ImageList([path]).slices(5)) == [
        [ListRow("1", "http://h/a", "", DIGEST, 5), ListRow("2", "", unread="md5 'odd'")]
    ]


def test_bytes_and_numbers_of_any_length_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for kind in (pa.binary(), pa.large_binary()):
        table = {"id": pa.array([b"a", None, b"\xff"], kind), "url": ["u", "v", "w"], "size": ["7", "9" * 5000, "-1"]}
        pq.write_table(pa.table(table), path)
        unread = "size '99999999999999999999'"
        assert list(ImageList([path]).slices(9)) == [
            [ListRow("a", "u", size=7), ListRow("", "v", unread=unread), ListRow("\xff", "w")]
        ]


def test_a_list_of_no_rows_has_no_slice(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("image_id,url\n")
    assert list(ImageList([path]).slices(5)) == []


def test_damaged_and_missing_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        ImageList([tmp_path / "none.csv"])
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not")
    with pytest.raises(DataError, match="Parquet"):
        ImageList([broken])
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("image_id,url\n1,a\n2\n")
    with pytest.raises(DataError, match=r"ragged\.csv.*cannot be read to its end as CSV"):
        ImageList([ragged])
    with pytest.raises(UsageError, match="part-"):
        ImageList([tmp_path])
