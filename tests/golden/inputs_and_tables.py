"""The inputs of the golden build as a folder that any recipe can name, and the digests of what a build's tables hold.

Digests are of rows, not of files: another version of Parquet's writer may store the same rows in other bytes. What a
class was matched by is left out, because the wording of the evidence is no contract.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.tables.label_columns import array_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import PREDICTIONS, Origin
from mlimages_dataset.vocab.folder import read_vocabulary
from mlimages_dataset.vocab.stage import write_vocabulary
from tests.augment.strategies import Row, columns_from

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent
GOLDEN = FOLDER / "digests.json"
RECIPE_NAME = "recipe.toml"
_WORDING = ("rule", "evidence", "alternatives")


def write_inputs(folder: Path) -> Path:
    """Write the recipe and its files into a folder and return the recipe's path."""
    shutil.copytree(FOLDER / "inputs", folder, dirs_exist_ok=True)
    recipe = folder / RECIPE_NAME
    scratch = folder / "vocabulary-of-predictions"
    write_vocabulary(read_recipe(recipe).vocabulary, Workplace(scratch))
    write_predictions(folder, read_vocabulary(scratch).index_of_wnid)
    shutil.rmtree(scratch)
    return recipe


def write_predictions(folder: Path, index_of_wnid: Mapping[str, int]) -> None:
    """Write the `predictions` table of a folder's predictions.csv over a vocabulary."""
    rows: dict[str, Row] = {}
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            label = (float(line["probability"]), int(Origin.MODEL_PREDICTION))
            rows.setdefault(line["image_id"], {})[index_of_wnid[line["wnid"]]] = label
    columns = {
        "image_id": list(rows),
        "source": ["golden"] * len(rows),
        "location": [""] * len(rows),
        "labels": array_of(columns_from(list(rows.values()))),
    }
    table = pa.table(columns, schema=PREDICTIONS.arrow)
    write_table(folder / "predictions" / "part-00000.parquet", table, PREDICTIONS, {})


def digests_of_rows(build: Path) -> dict[str, str]:
    """Return the SHA-256 of the rows of each table of a build, one JSON text a row, by path."""
    return {
        path.relative_to(build).as_posix(): _digest(pq.read_table(path)) for path in sorted(build.rglob("*.parquet"))
    }


def _digest(table: pa.Table) -> str:
    kept = table.drop_columns([name for name in _WORDING if name in table.column_names])
    return hashlib.sha256("\n".join(map(json.dumps, kept.to_pylist())).encode()).hexdigest()
