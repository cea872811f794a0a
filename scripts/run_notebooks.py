"""Run the notebooks of the documentation, each in an empty folder, and store what they print and show.

python scripts/run_notebooks.py [NAME ...]
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
_SECONDS_OF_A_CELL = 1800


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return a notebook with the outputs that it has in a folder.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with contextlib.chdir(folder):
        environment = {**os.environ, "PATH": programs}
        NotebookClient(notebook, timeout=_SECONDS_OF_A_CELL).execute(cwd=str(folder), env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    return notebook


def main() -> None:
    """Run the notebooks that are named, or all."""
    names = sys.argv[1:] or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        path = NOTEBOOKS / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), path)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
