"""Hostile documents: a valid one in which values, keys or bytes are exchanged for those that readers stumble over."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import pytest

from mlimages_dataset.core.errors import MLImagesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np

FILES = int(os.environ.get("MLIMAGES_FUZZED_FILES", "20"))
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1 << 31, 1 << 63, 10**30, 10**300, float("nan"), float("inf"), -1e308),
    *("", "\0", "a\0b", "..", "../x", "/etc/passwd", "C:\\x", "file:///etc/passwd", "\ud800", "é\u202e", "x" * 70_000),
    *("null", "[]", "1e999", "9" * 5000, "<script>", "\x1b[2J", "=1+1", "%s{0}"),
    *([], {}, [[]], {"": {}}, [None] * 3, {"\0": 1}, {"a": {"b": {"c": []}}}, [1, "a", None, {}]),
)


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container in a document with a key of it."""
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from places(content[key])


def changed(content: Any, generator: np.random.Generator) -> Any:
    """Return a document with one to three values exchanged, removed, renamed or nested in themselves."""
    found = copy.deepcopy(content)
    for _ in range(generator.integers(1, 4)):
        all_places = list(places(found))
        if not all_places:
            return VALUES[generator.integers(len(VALUES))]
        container, key = all_places[generator.integers(len(all_places))]
        value = copy.deepcopy(VALUES[generator.integers(len(VALUES))])
        match int(generator.integers(6)):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[str(value)[:99]] = container.pop(key)
            case 2 if isinstance(container, dict):
                container["unknown"] = value
            case 3:
                container[key] = [container[key]] * 2
            case _:
                container[key] = value
    return found


def check_told(read: Callable[[], object], culprit: Path, kept: Path) -> None:
    """Fail, and keep the file, unless reading succeeds or ends in one sentence of ours that any terminal can show."""
    try:
        read()
    except MLImagesError as error:
        text = str(error)
        wrong = "" if error.remedy and "\n" not in text and len(text) < 2000 else f"is told as {text[:1500]!r}"
        try:
            text.encode()
        except UnicodeEncodeError:
            wrong = f"is told by half of a sign: {text!r}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        wrong = f"ends in {type(error).__name__}: {str(error)[:300]}"
    else:
        wrong = ""
    if wrong:
        kept.write_bytes(culprit.read_bytes())
        pytest.fail(f"{kept} {wrong}")
