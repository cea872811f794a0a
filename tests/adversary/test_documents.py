"""JSON and TOML that a stranger hands over are read or refused with one sentence: manifests, journals, run files, ...

A few seconds a kind; `MLIMAGES_FUZZED_FILES=10000` makes so many of each.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlimages_dataset as ml
from mlimages_dataset.core.documents import parse_json, parse_toml
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.journal import Finished, Journal
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.sources.class_lists import parse_box_ancestors, parse_box_hierarchy
from mlimages_dataset.sources.lock import LOCK_FORMAT, read_lock
from mlimages_dataset.sources.publishers import LOCK_NAME
from mlimages_dataset.tables.files import Receipt
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.train.run_files import packaged_recipes, read_run, run_file
from mlimages_dataset.vocab.reviewed import packaged_reviewed
from mlimages_dataset.vocab.stage import VocabularyFiles, read_reviewed
from tests.adversary.hostile import FILES, changed, check_told
from tests.sources.test_fuzz import damaged

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.core.decoding import Json


@dataclass(frozen=True, slots=True)
class Document:
    """A document that the package reads.

    Attributes:
        name: of the file, in a folder of its own.
        made: writes a valid one into that folder, and returns its content.
        read: reads it again.
    """

    name: str
    made: Callable[[Path], Any]
    read: Callable[[Path], object]


def _write_build(folder: Path) -> Any:
    ml.build_vocabulary(imagenet=["n02084071", "n02121808"], out=folder)
    return json.loads((folder / MANIFEST_NAME).read_text())


def _read_build(path: Path) -> None:
    manifest = read_manifest(path.parent)
    verify_folder(path.parent)
    for stage in manifest.stages:
        OutputFolder(path.parent).standing(stage)
    ml.read_vocabulary(path.parent)


@dataclass(frozen=True, slots=True)
class _Job:
    receipts: tuple[Receipt, ...]
    count: int = 1


_FINGERPRINT = "f" * 64


def _write_entry(folder: Path) -> Any:
    (folder / "part-0.parquet").write_bytes(b"x")
    receipt = Receipt(folder / "part-0.parquet", 1, 1, "0" * 64, "labels/1")
    Journal(folder, _FINGERPRINT).record("a", Finished.of(_Job((receipt,))))
    (entry,) = folder.glob(".partial-done-*")
    return json.loads(entry.read_text())


def _read_entry(path: Path) -> None:
    journal = Journal(path.parent, _FINGERPRINT)
    assert all(found.parent == path.parent for found in journal.standing())
    done = journal.done("a", _Job)
    assert done is None or all(receipt.path.parent == path.parent for receipt in done.receipts)


def _write_lock(folder: Path) -> Any:
    record = {"url": "https://a/b", "bytes": 3, "sha256": "0" * 64, "etag": "", "date": "2026-01-01"}
    content = {"format": LOCK_FORMAT, "files": {"b": record}}
    (folder / LOCK_NAME).write_text(json.dumps(content))
    assert read_lock(folder)
    return content


def _hierarchy(_: Path) -> Any:
    leaf = {"LabelName": "/m/1", "Subcategory": [{"LabelName": "/m/2"}], "Part": [{"LabelName": "/m/3"}]}
    return {"LabelName": "/m/0", "Subcategory": [leaf, {"LabelName": "/m/4", "Subcategory": [{"LabelName": "/m/2"}]}]}


def _read_hierarchy(path: Path) -> None:
    text = path.read_text(errors="replace")
    parse_box_hierarchy(text, str(path))
    parse_box_ancestors(text, str(path))


def _run_of(name: str) -> Callable[[Path], Any]:
    return lambda _: tomllib.loads(Path(str(run_file(f"packaged:{name}"))).read_text())


def _recipe(_: Path) -> Any:
    return tomllib.loads((Path(ml.__file__).parent / "recipes/default.toml").read_text())


def _reviewed(_: Path) -> Any:
    content = tomllib.loads(packaged_reviewed())
    return {kind: rows[:3] if isinstance(rows, list) else rows for kind, rows in content.items()}


DOCUMENTS = {
    "manifest": Document(MANIFEST_NAME, _write_build, _read_build),
    "journal": Document(".partial-done-a", _write_entry, _read_entry),
    "lock": Document(LOCK_NAME, _write_lock, lambda path: read_lock(path.parent)),
    "box hierarchy": Document("hierarchy.json", _hierarchy, _read_hierarchy),
    "recipe": Document("recipe.toml", _recipe, read_recipe),
    "reviewed": Document("reviewed.toml", _reviewed, lambda path: read_reviewed(VocabularyFiles(reviewed=path))),
    **{f"run {name}": Document("run.toml", _run_of(name), read_run) for name in packaged_recipes()},
}


def _written(content: Any, name: str) -> bytes:
    """Return a document as a file of its name; what TOML cannot say is no TOML."""
    if name.endswith(".toml"):
        pairs = content.items() if isinstance(content, dict) else [("a", content)]
        text = "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in pairs)
        return text.encode(errors="replace")
    return json.dumps(content).encode()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


@pytest.mark.parametrize("kind", sorted(DOCUMENTS))
def test_a_hostile_document_is_read_or_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    document = DOCUMENTS[kind]
    folder = tmp_path / "given"
    folder.mkdir()
    content = document.made(folder)
    path = folder / document.name
    path.write_bytes(_written(content, document.name))
    document.read(path)
    outside = sorted(tmp_path.rglob("*"))
    for number in range(FILES):
        generator = np.random.default_rng([len(kind), number])
        if number % 3:
            hostile = _written(changed(content, generator), document.name)
        else:
            hostile = damaged(_written(content, document.name), generator)
        path.write_bytes(hostile)
        check_told(lambda: document.read(path), path, tmp_path / f"{number}-{document.name}")
    assert [one for one in sorted(tmp_path.rglob("*")) if one not in outside] == []


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '"\\ud800"', '{"\\udfff": 1}', "9" * 5000, "", "\0"]
)
def test_json_that_python_stumbles_over_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    with pytest.raises(ValueError, match=r"."):
        parse_json(text.encode())


@pytest.mark.parametrize("value", ["é", "\U0001f600", "a\\ud800", {"a": [1, None]}, "\\"])
def test_other_json_is_what_python_says(value: Json) -> None:
    assert parse_json(json.dumps(value)) == value


def test_toml_that_is_nested_too_deeply_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_toml("a = " + "[" * 100_000)
