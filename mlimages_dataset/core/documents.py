"""JSON and TOML that anyone may have written: parsed, or refused by one kind of error.

Python's parsers have further ways to fail: text nested too deeply ends in a `RecursionError`, and JSON may escape half
of a sign, which no file name, terminal or table can hold.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

_HALF_A_SIGN = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, nested too deeply, or holds half of a sign.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    written = text if isinstance(text, str) else text.decode(errors="replace")
    if _HALF_A_SIGN.search(written):
        json.dumps(value, ensure_ascii=False).encode()  # a UnicodeEncodeError is a ValueError
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is no TOML, or nested too deeply.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
