"""Texts of users in Markdown pages, in which they are texts: no heading, link or HTML is made of them.

https://spec.commonmark.org/0.31.2/#backslash-escapes
"""

from __future__ import annotations

import re
from urllib.parse import quote

_SPECIAL = re.compile(r"([\\`*\[\]<>|&])")


def as_markdown(text: str) -> str:
    r"""Return a text on one line, its special characters escaped.

    >>> print(as_markdown("a <b>  # c"))
    a \<b\> # c
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def as_markdown_url(url: str) -> str:
    """Return a URL without the characters that would end it between angle brackets.

    >>> as_markdown_url("https://a.org/b> c")
    'https://a.org/b%3E%20c'
    """
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")
