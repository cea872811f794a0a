"""The notebooks run from their first cell to their last, and print what is stored in them."""

from __future__ import annotations

import json
import re
import runpy
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import DOCS

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
MOST_BYTES = 250_000
VARIES = "varies"
"""The tag of a cell whose output depends on the processor: what a network has learnt."""


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def told(cell: Any) -> str:
    """Return what a cell prints and the text of its result; pictures are left out, as their bytes vary."""
    texts = ("".join(one.get("text") or one.get("data", {}).get("text/plain", "")) for one in cell["outputs"])
    return re.sub(r"<.* object at .*>|<Figure .*>", "", "".join(texts))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_run_once_in_order_and_is_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cells = code_cells(json.loads(text))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [one for cell in cells for one in cell["outputs"] if one["output_type"] == "error"]
    assert len(text.encode()) < MOST_BYTES
    assert not re.search(r"/(tmp|home|root|Users)/", text), "no path of the machine that ran it"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_prints_what_is_stored(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    script = DOCS.parent / "scripts" / "run_notebooks.py"
    run = runpy.run_path(str(script))["run"]
    stored = code_cells(json.loads(path.read_text(encoding="utf-8")))
    found = code_cells(run(path, tmp_path))
    for before, now in zip(stored, found, strict=True):
        if VARIES not in before["metadata"].get("tags", []):
            assert told(now) == told(before)
