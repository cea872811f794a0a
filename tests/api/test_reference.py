"""The reference of the public names is what their docstrings say now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import mlimages_dataset as ml

ROOT = Path(__file__).parents[2]


def test_the_reference_is_made_from_the_docstrings() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "build_api_reference.py"))["page"]()
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == page, "run scripts/build_api_reference.py"


@pytest.mark.parametrize("name", ml.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert getattr(ml, name).__doc__
