"""Functions and modules stay short enough to be read at once."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION, LONGEST_MODULE, MEDIAN_FUNCTION = 80, 500, 9


def modules() -> list[Path]:
    found = sorted(path for folder in ("mlimages_dataset", "cli") for path in (ROOT / folder).rglob("*.py"))
    if not found:
        pytest.skip("measures the checkout, and these tests lie apart from one")
    return found


def test_no_module_is_longer_than_it_may_be() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert {path.relative_to(ROOT): n for path, n in lines.items() if n > LONGEST_MODULE} == {}


def test_no_function_is_longer_than_it_may_be() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION} == {}
    assert statistics.median(lengths.values()) <= MEDIAN_FUNCTION
