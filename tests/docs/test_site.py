"""The site is built without a warning, and its pages load nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import DOCS, run

if TYPE_CHECKING:
    from pathlib import Path

LOADED = re.compile(r"<(?:script|img|iframe|link rel=.?(?:stylesheet|preconnect))[^>]+(?:src|href)=.?(?:https?:)?//")


def test_no_link_is_broken_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    if importlib.util.find_spec("material") is None or not (DOCS.parent / "mkdocs.yml").is_file():
        pytest.skip("mkdocs-material or mkdocs.yml is not there")
    run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")], DOCS.parent)
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md"))) - 1
    assert [page.name for page in pages if LOADED.search(page.read_text(encoding="utf-8"))] == []
