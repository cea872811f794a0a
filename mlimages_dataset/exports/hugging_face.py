"""A folder that Hugging Face's `datasets` loads, with a data set card.

https://huggingface.co/docs/hub/datasets-manual-configuration. The library is not needed to write it.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mlimages_dataset.core.markdown import as_markdown, as_markdown_url
from mlimages_dataset.exports.counts import ExportCounts, everything, summed
from mlimages_dataset.exports.publication import ORIGIN_NAMES, description
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import Receipt, whole_file, write_bytes
from mlimages_dataset.tables.parquet import COMPRESSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.exports.publication import Publication
    from mlimages_dataset.exports.writing import Export, Job, PartWritten, Written

CARD_FILE = "README.md"
SPLIT_NAMES = {"train": "train", "val": "validation"}
"""What `datasets` calls the splits."""


def write(export: Export) -> Written:
    """Write Parquet files for each split, the vocabulary's tables and the card."""
    jobs = [
        (part, export.at.out / "data" / f"{SPLIT_NAMES[split]}-{number:05d}-of-{len(parts):05d}.parquet")
        for split, parts in export.splits.items()
        for number, part in enumerate(parts)
    ]
    results = list(export.done(functools.partial(_write_shard, wnids=export.wnids), jobs))
    shards = [shard for shard, _ in results]
    sizes: dict[str, tuple[int, int]] = {}
    for split in export.splits:
        name = SPLIT_NAMES[split]
        of_split = [shard for shard in shards if shard.path.name.startswith(f"{name}-")]
        sizes[name] = sum(shard.rows for shard in of_split), sum(shard.bytes for shard in of_split)
    card = write_bytes(export.at.out / CARD_FILE, hugging_face_card(export.publication, export.wnids, sizes).encode())
    return [*export.vocabulary_tables(), *shards, card], summed(counts for _, counts in results)


def hugging_face_schema(wnids: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of label tables for `datasets`, in which `ClassLabel` numbers are int64."""
    label = pa.struct([("class_index", pa.int64()), ("confidence", pa.float32()), ("origin", pa.int64())])
    texts = [(name, pa.string()) for name in ("image_id", "source", "location")]
    return pa.schema([*texts, ("labels", pa.list_(label))], metadata={"huggingface": hugging_face_features(wnids)})


def hugging_face_features(wnids: Sequence[str]) -> bytes:
    """Return the JSON that Hugging Face's `datasets` reads from a Parquet file's metadata under `huggingface`.

    A category's `ClassLabel` name is its wnid: names of categories are not unique, and its number is the class index.
    """
    text = {"dtype": "string", "_type": "Value"}
    label = {
        "class_index": {"names": list(wnids), "_type": "ClassLabel"},
        "confidence": {"dtype": "float32", "_type": "Value"},
        "origin": {"names": list(ORIGIN_NAMES), "_type": "ClassLabel"},
    }
    features = {"image_id": text, "source": text, "location": text, "labels": [label]}
    return json.dumps({"info": {"features": features}}).encode()


def hugging_face_card(publication: Publication, wnids: Sequence[str], splits: Mapping[str, tuple[int, int]]) -> str:
    """Return the README.md of a data set repository: YAML for machines, then a page for people.

    Args:
        publication: the publisher's facts.
        wnids: wnid of each category, by class index.
        splits: rows and bytes of each split.
    """
    head = [f"pretty_name: {json.dumps(publication.name)}"]
    head += [f"license: {json.dumps(publication.license)}"] if publication.license else []
    head += ["task_categories:", "- image-classification", "configs:", "- config_name: labels", "  default: true"]
    head += ["  data_files:"]
    for split in splits:
        head += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    for table in ("categories", "mapping"):
        head += [f"- config_name: {table}", f"  data_files: {table}.parquet"]
    head += ["dataset_info:", "- config_name: labels", "  features:", *_yaml_features(wnids), "  splits:"]
    for split, (rows, size) in splits.items():
        head += [f"  - name: {split}", f"    num_bytes: {size}", f"    num_examples: {rows}"]
    return "\n".join(["---", *head, "---", *_page(publication, len(wnids), {k: n for k, (n, _) in splits.items()}), ""])


def _write_shard(job: Job, *, wnids: Sequence[str]) -> PartWritten:
    """Write a part as Parquet with the schema for `datasets`."""
    part, path = job
    schema = hugging_face_schema(wnids)
    counts = ExportCounts()
    with (
        whole_file(path) as sink,
        pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"), schema, compression=COMPRESSION, write_page_checksum=True
        ) as writer,
    ):
        for rows, columns in label_batches(part, len(wnids)):
            writer.write_table(pa.Table.from_batches([rows]).cast(schema))
            counts += everything(columns)
    return Receipt(path, counts.images, sink.size, sink.digest.hexdigest(), ""), counts


def _yaml_features(wnids: Sequence[str]) -> Iterator[str]:
    for name in ("image_id", "source", "location"):
        yield from (f"  - name: {name}", "    dtype: string")
    yield from ("  - name: labels", "    list:")
    yield from _yaml_class_label("class_index", wnids)
    yield from ("    - name: confidence", "      dtype: float32")
    yield from _yaml_class_label("origin", ORIGIN_NAMES)


def _yaml_class_label(name: str, names: Sequence[str]) -> Iterator[str]:
    yield from (f"    - name: {name}", "      dtype:", "        class_label:", "          names:")
    for number, one in enumerate(names):
        # JSON's strings are YAML's: ids of a user's classes may hold any sign.
        yield f"            '{number}': {one if one.isalnum() else json.dumps(one, ensure_ascii=False)}"


def _page(publication: Publication, n_categories: int, rows: Mapping[str, int]) -> list[str]:
    return [
        "",
        f"# {as_markdown(publication.name)}",
        "",
        description(n_categories, rows),
        "",
        *([f"Home: <{as_markdown_url(publication.url)}>", ""] if publication.url else []),
        "```python",
        "from datasets import load_dataset",
        "",
        'rows = load_dataset("parquet", data_dir="this folder")',
        'categories = load_dataset("this folder", "categories")',
        "```",
        "",
        "`class_index` names a category by its WordNet 3.0 id, because several categories share a name; the config",
        "`categories` holds names, parents, depths and sources, and `mapping` what every source's classes became.",
        "Labels that `mlimages-build labels` wrote are closed under those parents. Confidence 0 says that a category",
        "is absent.",
    ]
