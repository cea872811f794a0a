"""A column or key whose confidences would not be read is told by its name, once looked at for all rows."""

from __future__ import annotations

import difflib
import itertools
import json
from typing import TYPE_CHECKING, Any

from mlimages_dataset.sources.confidence_names import is_like_confidence
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.entries import confidence_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_LOOKED_AT: list[str] = []


class _Counted(difflib.SequenceMatcher[str]):
    def __init__(self, isjunk: Any, a: str, b: str) -> None:
        _LOOKED_AT.append(a)
        super().__init__(isjunk, a, b)


def test_each_name_is_compared_once_however_rows_combine_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(difflib, "SequenceMatcher", _Counted)
    _LOOKED_AT.clear()
    names = [f"confuse{'abcdefgh'[at]}" for at in range(8)]
    chosen = [keys for n in range(9) for keys in itertools.combinations(names, n)]
    rows = [{"image_id": "a", "label": {"label": "dog", **dict.fromkeys(keys, 1)}} for keys in chosen]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (tmp_path / "b.jsonl").write_text(
        "\n".join(json.dumps({"image_id": "a", "label": "dog", **dict.fromkeys(keys, 1)}) for keys in chosen), "utf-8"
    )
    for name in ("a.jsonl", "b.jsonl"):
        found, log = read_statements("jsonl", [tmp_path / name])
        assert (found.num_rows, log.count) == (len(chosen), 0)
    assert [confidence_of(dict.fromkeys(keys, 1)) for keys in chosen] == [1.0] * len(chosen)
    assert len(_LOOKED_AT) <= len(names) + len({"image_id", "label", "dog"}) + 1


def test_a_long_name_is_no_confidence() -> None:
    assert not is_like_confidence("score " * 1000)
