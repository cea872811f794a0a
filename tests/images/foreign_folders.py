"""Folders of pictures as other people's tools write them: tar shards and Parquet files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.images.test_archives import tar_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.core.locations import Location
    from tests.images.folders import Place


def tar_folder(folder: Place, shards: Mapping[str, Mapping[str, bytes]]) -> Place:
    """Write tar files, given by path and by the content of their members."""
    for name, members in shards.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(tar_of(dict(members)))
    return folder


def img2dataset_folder(folder: Place, pictures: Sequence[bytes], *, of_shard: int = 2) -> Place:
    """Write shards as img2dataset does: `jpg`, `json` and `txt` of each key, and two files beside each shard."""
    for number, first in enumerate(range(0, len(pictures), of_shard)):
        members: dict[str, bytes] = {}
        rows = []
        for at, content in enumerate(pictures[first : first + of_shard]):
            key = f"{number:05d}{at:04d}"
            row = {"key": key, "url": f"https://host/{key}.jpg", "caption": f"picture {key}", "status": "success"}
            members |= {f"{key}.jpg": content, f"{key}.json": json.dumps(row).encode()}
            members[f"{key}.txt"] = row["caption"].encode()
            rows.append(row)
        tar_folder(folder, {f"{number:05d}.tar": members})
        write_parquet(folder / f"{number:05d}.parquet", pa.Table.from_pylist(rows))
        (folder / f"{number:05d}_stats.json").write_text(json.dumps({"count": len(rows)}))
    return folder


def features(**columns: Any) -> bytes:
    """Return metadata of Hugging Face."""
    return json.dumps({"info": {"features": columns}}).encode()


def class_label(*names: str) -> dict[str, Any]:
    """Return the feature of a column of classes."""
    return {"_type": "ClassLabel", "names": list(names)}


STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def image_table(images: Sequence[Any], kind: pa.DataType = STRUCT, **columns: Any) -> pa.Table:
    """Return a table with a column `image`, and others."""
    return pa.table({"image": pa.array(images, kind), **columns})


def write_parquet(path: Location, table: pa.Table, *, metadata: bytes = b"", **options: Any) -> None:
    """Write a file, perhaps with Hugging Face's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if metadata:
        table = table.replace_schema_metadata({b"huggingface": metadata})
    with path.open("wb") as sink:
        pq.write_table(table, sink, **options)
