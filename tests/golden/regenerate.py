"""Write the golden files anew: python -m tests.golden.regenerate, then review the difference."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from mlimages_dataset.recipes import build
from mlimages_dataset.recipes.recipe import read_recipe
from tests.golden.boxable_classes import BOXABLE, boxable_table, default_vocabulary
from tests.golden.inputs_and_tables import GOLDEN, digests_of_rows, write_inputs
from tests.golden.photograph_labels import PHOTOGRAPH_LABELS, photograph_labels


def golden_digests(folder: Path) -> dict[str, str]:
    """Return the digests of the golden build, made in an empty folder."""
    recipe = read_recipe(write_inputs(folder / "inputs"))
    build.build_recipe(recipe, folder / "build", ended=lambda stage, outcome: None)  # noqa: ARG005 - nobody watches
    return digests_of_rows(folder / "build")


def main() -> None:
    """Build in a temporary folder and write what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        digests = golden_digests(Path(folder))
    GOLDEN.write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    BOXABLE.write_text(boxable_table(default_vocabulary()), encoding="utf-8")
    PHOTOGRAPH_LABELS.write_text(photograph_labels(), encoding="utf-8")
    sys.stdout.write(f"{len(digests)} tables in {GOLDEN}, classes in {BOXABLE}, labels in {PHOTOGRAPH_LABELS}\n")


if __name__ == "__main__":
    main()
