"""A part is a table of every row and a shard of the saved ones, and both appear whole."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.parts import PartCounts, WrittenPart, part_writer
from mlimages_dataset.images.shards import ShardReader
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.journal import Journal
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_stay_in_order_and_say_where_the_bytes_are(tmp_path: Path) -> None:
    with part_writer(tmp_path, 3, {"list": "digest"}) as writer:
        writer.save("a", b"aaa", Inspection(Status.SAVED, "", 4, 2, ".jpg"))
        writer.refuse("b", Inspection(Status.NOT_AN_IMAGE, "a web page"))
        writer.save("c", b"c", Inspection(Status.SAVED, "16 bits", 1, 1, ".png"))
    rows = read_table(tmp_path / "part-00003.parquet", IMAGES).to_pylist()
    assert [(row["image_id"], row["status"], row["detail"], row["shard"]) for row in rows] == [
        ("a", "saved", "", "shard-00003.tar"),
        ("b", "not_an_image", "a web page", ""),
        ("c", "saved", "16 bits", "shard-00003.tar"),
    ]
    assert [rows[1][name] for name in ("offset", "bytes", "width", "height", "digest")] == [-1, -1, -1, -1, ""]
    for row, content in ((rows[0], b"aaa"), (rows[2], b"c")):
        assert ShardReader(tmp_path).read(row["shard"], row["offset"], row["bytes"]) == content
        assert row["digest"] == hashlib.sha256(content).hexdigest()
    assert writer.written.counts == PartCounts({"saved": 2, "not_an_image": 1}, 4)
    assert [receipt.path.name for receipt in writer.written.receipts] == ["part-00003.parquet", "shard-00003.tar"]


def test_a_part_of_failures_has_no_shard(tmp_path: Path) -> None:
    with part_writer(tmp_path, 0, {}) as writer:
        writer.refuse("a", Inspection(Status.EMPTY, ""))
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.parquet"]


def test_details_may_quote_bytes_of_any_kind(tmp_path: Path) -> None:
    said = b"404 \xff\xfe".decode(errors="surrogateescape")
    with part_writer(tmp_path, 0, {}) as writer:
        writer.refuse("a", Inspection(Status.HTTP_ERROR, said))
    assert read_table(tmp_path / "part-00000.parquet", IMAGES)["detail"].to_pylist() == ["404 ÿþ"]


def cut_after(saved: int, folder: Path) -> None:
    with part_writer(folder, 0, {}) as writer:
        for _ in range(saved):
            writer.save("a", b"a", Inspection(Status.SAVED, "", 1, 1, ".jpg"))
        raise InterruptedError


@pytest.mark.parametrize("saved", [0, 1])
def test_a_cut_part_leaves_nothing(tmp_path: Path, saved: int) -> None:
    with pytest.raises(InterruptedError):
        cut_after(saved, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_journal_keeps_a_part(tmp_path: Path) -> None:
    with part_writer(tmp_path, 0, {}) as writer:
        writer.save("a", b"a", Inspection(Status.SAVED, "", 1, 1, ".jpg"))
        writer.refuse("b", Inspection(Status.EMPTY, ""))
    journal = Journal.of(tmp_path, {}, {})
    journal.record("0", writer.written.finished())
    found = journal.finished("0")
    assert found is not None
    assert WrittenPart.of(found) == writer.written


COUNTS = st.builds(
    PartCounts, st.dictionaries(st.sampled_from([s.value for s in Status]), st.integers(1, 9)), st.integers(0, 99)
)


@given(COUNTS, COUNTS)
def test_counts_add_up(one: PartCounts, other: PartCounts) -> None:
    both = one + other
    assert (both.asked, both.saved, both.bytes) == (
        one.asked + other.asked,
        one.saved + other.saved,
        one.bytes + other.bytes,
    )
    assert both == other + one
    assert one + PartCounts.empty() == one
