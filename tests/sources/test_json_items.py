"""Items of lists in JSON are those that other parsers find, whatever the blocks; what is no JSON is refused."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import ijson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources import json_items
from mlimages_dataset.sources.json_items import item_texts_of, items_of

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(['"', "\\", "]", "{,:", "a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b", "c", '"}', "[\\"]), VALUES)
BLOCKS = st.sampled_from([1, 2, 3, 5, 64, 1 << 20])
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(document=DOCUMENTS, wanted=st.lists(VALUES, max_size=6), block=BLOCKS, layout=LAYOUTS)
def test_items_are_those_that_other_parsers_find(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    wanted: list[Any],
    block: int,
    layout: dict[str, Any],
) -> None:
    folder = tmp_path_factory.mktemp("json")
    path, packed, array = folder / "a.json", folder / "a.json.gz", folder / "array.json"
    path.write_text(json.dumps({**document, "items": wanted}, **layout), encoding="utf-8")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    array.write_text(json.dumps(wanted, **layout), encoding="utf-8")
    with mock.patch.object(json_items, "BLOCK_BYTES", block):
        with path.open("rb") as stream:
            assert list(items_of(path, "items")) == list(ijson.items(stream, "items.item", use_float=True)) == wanted
        assert list(items_of(packed, "items")) == list(items_of(array)) == wanted
        assert [json.loads(text) for text in item_texts_of(array)] == wanted
        shallow = list(items_of(path, "items", shallow=True))
    assert shallow == [_shallow(one, 2) for one in wanted]


def _shallow(value: Any, depth: int) -> Any:
    """Return a value with empty lists and objects instead of those within so many others."""
    if isinstance(value, list):
        return [_shallow(one, depth - 1) for one in value] if depth else []
    if isinstance(value, dict):
        return {key: _shallow(one, depth - 1) for key, one in value.items()} if depth else {}
    return value


@given(content=st.binary(max_size=40) | st.text('[]{},:"\\ 1a', max_size=30).map(str.encode), block=BLOCKS)
def test_what_is_read_without_an_error_is_what_the_json_module_reads(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_bytes(b'{"items":' + content + b"}")
    with mock.patch.object(json_items, "BLOCK_BYTES", block):
        try:
            found = list(items_of(path, "items"))
        except DataError as error:
            assert "is not a complete JSON file" in str(error)  # noqa: PT017 - an error may come or not
            return
    try:
        whole = json.loads(path.read_bytes())
    except ValueError:
        return  # the fault is in what is passed over
    assert found == whole["items"] or not isinstance(whole["items"], list)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "]", '"a"', '{"items" [1]}', '{"items": {}}', '{"items": ["\xff"]}'),
        *('{"items": [1, 2', '{"items": [1 2]}', '{"items": [1,]}', '{"items": [,1]}', '{"items": ["' + "a" * 99),
        *('{"items": [1]} x', '{"items": [1]}{}', '{"items": [1]]', '{"items": [1], 2 3: 4}'),
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_what_is_no_json_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, block: int) -> None:
    monkeypatch.setattr(json_items, "BLOCK_BYTES", block)
    monkeypatch.setattr(json_items, "MOST_ITEM_BYTES", 50)
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.json: is not a complete JSON file \(.+\); obtain it again"):
        list(items_of(path, "items"))


def test_numbers_that_only_tools_write_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"items": [Infinity, "\\ud800", 12345678901234567890123]}')
    assert list(items_of(path, "items")) == [float("inf"), "\ud800", 12345678901234567890123]
