"""LVIS, from a file in its schema to evaluation: negatives count, and what nobody looked for does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mlimages_dataset.loaders.batch import Batch
from mlimages_dataset.tables.label_columns import columns_of
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import CATEGORIES, LABELS, MAPPING
from mlimages_dataset.train.evaluation import Evaluation
from mlimages_dataset.vocab.wordnet import load_wordnet
from tests.train.test_one_image_one_id import built

if TYPE_CHECKING:
    from pathlib import Path

N_CATEGORIES = 1203
ANIMAL = "n00015388"
N_IMAGES = 8
NAMELESS = "not_a_lemma.n.01"


def categories() -> list[dict[str, object]]:
    """Return as many categories as LVIS has: animals of WordNet by the names that NLTK gives to their synsets."""
    wordnet = load_wordnet()
    below = {wordnet.index_of_wnid[ANIMAL]}
    for _ in range(20):
        below |= {k for k in range(len(wordnet)) if not below.isdisjoint(wordnet.hypernyms[k])}
    synsets = sorted(below)[1 : N_CATEGORIES + 1]
    found = []
    for number, synset in enumerate(synsets, 1):
        lemma, rank = wordnet.lemmas[synset][0], wordnet.sense_numbers[synset][0]
        name = f"{lemma.replace(' ', '_').lower()}.n.{rank:02d}"
        found.append({"id": number, "name": f"thing {number}", "synset": name, "frequency": "r"})
    return found


def content(listed: list[dict[str, object]]) -> dict[str, object]:
    """Return a file in LVIS's schema: in image i, category i + 1 is present, and i + 101 and i + 201 are absent."""
    return {
        "info": {"version": "1.0"},
        "images": [
            {
                "id": i,
                "coco_url": f"http://images.cocodataset.org/train2017/{i:012}.jpg",
                "file_name": f"{i:012}.jpg",
                "width": 40,
                "height": 30,
                "neg_category_ids": [i + 101, i + 201],
                "not_exhaustive_category_ids": [i + 1],
            }
            for i in range(N_IMAGES)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": i + 1, "bbox": [1, 2, 8, 9], "area": 72.0, "segmentation": []}
            for i in range(N_IMAGES)
        ],
        "categories": listed,
    }


@pytest.fixture(name="build", scope="module")
def _build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lvis")
    listed = categories()
    listed[-1]["name"], listed[-1]["synset"] = "llama", NAMELESS
    (folder / "lvis.json").write_text(json.dumps(content(listed)))
    built("vocab", "--classes", f"lvis={folder / 'lvis.json'}", "--out", folder / "vocabulary")
    vocabulary = ("--vocab", folder / "vocabulary")
    built("annotate", *vocabulary, "--format", "coco", folder / "lvis.json", "--out", folder / "annotations")
    built("labels", *vocabulary, "--annotations", folder / "annotations", "--out", folder / "labels")
    return folder


def test_synsets_that_the_file_names_are_the_classes(build: Path) -> None:
    wordnet = load_wordnet()
    rows = read_table(build / "vocabulary" / "mapping.parquet", MAPPING).to_pylist()
    of_id = {row["source_id"]: row for row in rows if row["source"] == "lvis"}
    assert len(of_id) == N_CATEGORIES
    *named, last = categories()
    for one in named:
        row = of_id[str(one["id"])]
        assert row["wnid"] == wordnet.wnid_of_name(str(one["synset"])) != ""
        assert (row["rule"], row["evidence"]) == ("wnid given in the list", f"the list says {one['synset']}")
    assert wordnet.name(wordnet.index_of_wnid[of_id[str(last["id"])]["wnid"]]) == "llama", "by name: WordNet lacks it"


def batch_of(build: Path) -> tuple[Batch, int]:
    """Return the labels of all images as a batch, and the number of classes."""
    tables = [read_table(part, LABELS) for part in table_parts(build / "labels")]
    (table,) = tables
    labels = columns_of(table["labels"].combine_chunks())
    n_classes = len(read_table(build / "vocabulary" / "categories.parquet", CATEGORIES))
    n = table.num_rows
    return Batch(
        images=torch.zeros(n, 3, 1, 1, dtype=torch.uint8),
        sample_index=torch.from_numpy(labels.images.astype(np.int64)),
        class_index=torch.from_numpy(labels.class_index.astype(np.int64)),
        confidence=torch.from_numpy(labels.confidence.copy()),
        origin=torch.from_numpy(labels.origin.copy()),
        absent_unless_listed=torch.zeros(n, dtype=torch.bool),
        rows=torch.arange(n),
        positions=torch.arange(n),
        epoch=0,
        n_classes=n_classes,
        image_ids=tuple(table["image_id"].to_pylist()),
    ), n_classes


def test_a_prediction_counts_on_a_negative_and_not_where_nobody_looked(build: Path) -> None:
    batch, n_classes = batch_of(build)
    known, present = batch.known, batch.targets > 0
    assert len(batch) == N_IMAGES
    absent, unknown = known & ~present, ~known
    assert absent.any(1).all(), "each image has negatives"
    assert unknown.sum() > known.sum(), "and most classes are unknown in it"
    quiet = torch.where(present, 2.0, -2.0)

    def evaluated(logits: torch.Tensor) -> str:
        found = Evaluation.empty(n_classes, ks=(1, 5)).updated(logits, batch.targets, known)
        return json.dumps(found.summary().to_json())

    expected = evaluated(quiet)
    assert evaluated(torch.where(unknown, 9.0, quiet)) == expected
    assert evaluated(torch.where(unknown, torch.randn(quiet.shape), quiet)) == expected
    assert evaluated(torch.where(absent, 9.0, quiet)) != expected
