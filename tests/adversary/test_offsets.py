"""Tables of images whose places in shards are wrong: an error of ours that names the shard, nothing from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.tables.parts import MANIFEST_NAME
from tests.cli.conftest import command, main_command, script  # noqa: F401 - fixtures
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

SHARD = "shard-00000.tar"
WRONG: dict[str, tuple[str, Any, str]] = {
    "an offset beyond the shard": ("offset", 10**12, f"{SHARD}: ends before"),
    "the largest offset": ("offset", 2**63 - 1, f"{SHARD}: ends before"),
    "a negative offset": ("offset", -512, f"{SHARD}: has no"),
    "an offset amid another picture": ("offset", 700, f"{SHARD}: the picture of dog/1 has another digest"),
    "more bytes than the shard": ("bytes", 2**31 - 1, f"{SHARD}: ends before"),
    "more bytes than the memory": ("bytes", 2**50, f"{SHARD}: ends before"),
    "no bytes": ("bytes", 0, f"{SHARD}: the picture of dog/1 has another digest"),
    "negative bytes": ("bytes", -5, f"{SHARD}: has no"),
    "another shard": ("shard", "shard-00009.tar", "shard-00009.tar: cannot be read"),
    "a shard elsewhere": ("shard", "../shard-00000.tar", "is not a shard inside it"),
    "no shard": ("shard", "", "is not a shard inside it"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_place_that_is_not_there_is_told(wrong: str, command: Command, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    column, value, told = WRONG[wrong]
    (tmp_path / "photos" / "dog").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "photos" / "dog" / f"{number}.jpg").write_bytes(picture(number))
    shards = tmp_path / "shards"
    assert command("images", "ingest", tmp_path / "photos", "--out", shards, "--workers", "1").code == 0
    (part,) = shards.glob("part-*.parquet")
    table = pq.read_table(part)
    rows = table.to_pylist()
    assert rows[1]["image_id"] == "dog/1"
    rows[1][column] = value
    pq.write_table(pa.Table.from_pylist(rows, table.schema), part)
    manifest = json.loads((shards / MANIFEST_NAME).read_text())
    changed = {"bytes": part.stat().st_size, "sha256": hashlib.sha256(part.read_bytes()).hexdigest()}
    manifest["files"][part.name] |= changed
    (shards / MANIFEST_NAME).write_text(json.dumps(manifest))

    store = open_store(shards)
    assert store.read(0)
    if "digest" not in told:  # a read does not compare digests, a copy does
        with pytest.raises(MLImagesError, match=re.escape(told)):
            store.read(1)
    ran = command("images", "subset", "--images", shards, "--max-images", "3", "--shards", "--out", tmp_path / "copy")
    assert ran.code in {1, 2}
    assert told in ran.err
