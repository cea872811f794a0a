"""The code blocks of a page, and how a reader would run them in a folder.

Shell and Python blocks run in their order; a block after `<!-- file: NAME -->` is written to that file; a block after
`<!-- not run: REASON -->` is passed over.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^(?:<!-- (?P<mark>.+?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block.

    Attributes:
        language: as the page names it.
        code: its lines.
        mark: the comment before it; empty for none.
    """

    language: str
    code: str
    mark: str


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page of the documentation."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [Block(found["language"], found["code"], found["mark"] or "") for found in _BLOCK.finditer(text)]


def marked(page: str, mark: str) -> str:
    """Return the code of the one block of a page that has a mark."""
    (code,) = [block.code for block in blocks(page) if block.mark == mark]
    return code


def run_page(page: str, folder: Path, *, bucket: str = "s3://bucket") -> None:
    """Do in a folder what a page says, with another bucket than the page's."""
    for block in (replace(one, code=one.code.replace("s3://bucket", bucket)) for one in blocks(page)):
        if block.mark.startswith("not run: "):
            continue
        if block.mark.startswith("file: "):
            (folder / block.mark.removeprefix("file: ")).write_text(block.code, encoding="utf-8")
        elif block.language == "bash":
            run(["bash", "-euo", "pipefail", "-c", block.code], folder)
        elif block.language == "python":
            run([sys.executable, "-c", block.code], folder)


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder, with this environment's programs first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
