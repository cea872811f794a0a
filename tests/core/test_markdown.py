"""Whatever a user's text is, a Markdown page shows it as text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.markdown import as_markdown, as_markdown_url


@given(st.text())
def test_a_text_is_one_line_and_nothing_in_it_is_special(text: str) -> None:
    escaped = as_markdown(text)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]<>|&]", escaped)
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(text.split())


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_url_stays_between_its_brackets(url: str) -> None:
    assert not re.search(r"[\s<>]", as_markdown_url(url))
