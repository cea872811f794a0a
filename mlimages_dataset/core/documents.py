"""JSON and TOML that anyone may have written: parsed, or refused by one kind of error; and JSON and CSV written.

Python's parsers have further ways to fail: text nested too deeply ends in a `RecursionError`, and JSON may escape half
of a sign, which no file name, terminal or table can hold.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import orjson

from mlimages_dataset.core.decimals import nearest_float, needs_digits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ONLY_JSON = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_TOO_MANY_DIGITS = "it holds a number of more digits than can be read"
_HALF_A_SIGN = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; a number lies on its side of 0 and 1 (`decimals`), whatever its digits.

    Raises:
        ValueError: it is no JSON, nested too deeply, holds half of a sign, or a number of too many digits.
    """
    content = text.encode(errors="replace") if isinstance(text, str) else text
    try:
        value = json.loads(text, parse_float=nearest_float if needs_digits(content) else None)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8, from its byte {error.start + 1:,} on") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise ValueError(_TOO_MANY_DIGITS) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    written = text if isinstance(text, str) else text.decode(errors="replace")
    if _HALF_A_SIGN.search(written):
        json.dumps(value, ensure_ascii=False).encode()  # a UnicodeEncodeError is a ValueError
    return value


def written_json(value: object, *, indent: bool = False) -> bytes:
    """Return a value as JSON in UTF-8, which `parse_json` reads.

    orjson takes a tenth of the time of Python's encoder, but writes NaN as null and refuses numbers beyond 64 bits and
    half signs: such values, and those with a null, are left to Python's.

    Args:
        value: of None, truth values, numbers, texts, and lists and dictionaries of these.
        indent: whether to write a line for each item, indented by two spaces for each level.

    Raises:
        TypeError: a value is of another kind.
        UnicodeEncodeError: with `indent`, a text has half of a sign.
    """
    with contextlib.suppress(TypeError):
        text = orjson.dumps(value, option=_ONLY_JSON | (orjson.OPT_INDENT_2 if indent else 0))
        if b"null" not in text:
            return text
    return json.dumps(value, indent=2 if indent else None, ensure_ascii=not indent).encode()


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is no TOML, nested too deeply, or holds a number of too many digits.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as error:
        raise ValueError(_TOO_MANY_DIGITS) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def written_csv(rows: Iterable[Sequence[object]]) -> str:
    r"""Return rows as CSV; their lines end with a line feed.

    Python's writer quotes a carriage return only where that is part of the lines' ends, and readers take a bare one for
    the end of a line.

    >>> written_csv([("a,b", 1), ("a\rb", "c")])
    '"a,b",1\n"a\rb",c\n'
    """
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\r\n")
    for row in rows:
        writer.writerow(row)
        lines.seek(lines.tell() - 2)
        lines.write("\n")
    lines.truncate()
    return lines.getvalue()
