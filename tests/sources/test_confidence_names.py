"""A column or key whose confidences would not be read is told by its name, once looked at for all rows."""

from __future__ import annotations

import difflib
import itertools
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.images.table_members import table_members
from mlimages_dataset.sources.confidence_names import is_like_confidence
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.entries import confidence_of
from tests.images.foreign_folders import image_table, tar_folder, write_parquet

if TYPE_CHECKING:
    from pathlib import Path

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


CONFIDENCES = (
    *(
        "score",
        "Scores",
        "conf",
        "conf.",
        "prob",
        "probs",
        "Probability",
        "probabilities",
        "certainty",
        " confidences ",
    ),
    *("confidance", "confidense", "confidece", "confidnce", "Confidence (%)", "confidence_score", "score_1"),
    *("pred_score", "prediction_score", "detection_score", "class_score", "bbox score", "model.score", "object-score"),
    *(
        "label_confidence",
        "category_prob",
        "label_confidence_score",
        "class_probability",
        "pred_conf",
        "box_confidence",
    ),
)
OTHERS = (
    *("coincidence", "incidence", "conference", "confluence", "confident", "confidant", "confidential", "configured"),
    *("label_score", "category_scores", "confidence_label", "confidence_class", "score_category", "prob_model"),
    *(
        "quality_score",
        "aesthetic_score",
        "credit_score",
        "f_score",
        "z_score",
        "score_type",
        "scorer",
        "scored",
        "box",
    ),
    *("problem", "probe", "prop", "uncertainty", "model", "label", "class", "prediction", "votes", "évaluation_score"),
    *("", "_", "12", "confidence_interval", "confidence_low", "probability_of_rain", "\u8d28\u91cf_score"),
)


@pytest.mark.parametrize("name", CONFIDENCES)
def test_names_that_others_give_confidences(name: str) -> None:
    assert is_like_confidence(name)


@pytest.mark.parametrize("name", OTHERS)
def test_names_of_another_meaning(name: str) -> None:
    assert not is_like_confidence(name)


@pytest.mark.parametrize("name", ["coincidence", "label_score", "confidence_label"])
@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_a_table_with_a_column_of_another_meaning_is_read(form: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"image_id": ["a"], "label": ["dog"], name: ["high"]}), path)
    else:
        row = {"image_id": "a", "label": "dog", name: "high"}
        path.write_text(f"image_id,label,{name}\na,dog,high\n" if form == "csv" else json.dumps(row) + "\n", "utf-8")
    found, log = read_statements(form, [path])
    assert (found["confidence"].to_pylist(), log.count) == ([1], 0)


def test_a_long_name_is_no_confidence() -> None:
    assert not is_like_confidence("score " * 1000)


BESIDE = [  # what stands beside a label, and how many rejects that makes
    ({"score": 15}, 0),
    ({"score": -2.5}, 0),
    ({"score": [3, 0.5]}, 0),
    ({"score": []}, 0),
    ({"prob": None}, 0),
    ({"prob": "high"}, 0),
    ({"conf": True}, 0),
    ({"label_score": 0.5}, 0),
    ({"score": 0.25}, 1),
    ({"prob": "0.25"}, 1),
    ({"scores": [0.25, None, 1]}, 1),
    ({"score": 15, "prob": 0.25}, 1),
    ({"confidence": "high"}, 1),
    ({"Confidences": [15]}, 1),
]


@pytest.mark.parametrize(("beside", "n_rejects"), BESIDE)
def test_only_confidences_cost_a_label_of_webdataset(beside: dict[str, object], n_rejects: int, tmp_path: Path) -> None:
    members = {"a.jpg": b"", "a.json": json.dumps({"label": "dog", **beside}).encode()}
    shard = tar_folder(tmp_path, {"0.tar": members}) / "0.tar"
    found, log = read_statements("webdataset", [shard])
    assert (found["class_id"].to_pylist(), log.count) == ([] if n_rejects else ["dog"], n_rejects)


@pytest.mark.parametrize(("beside", "n_rejects"), BESIDE)
def test_only_confidences_cost_a_label_of_hugging_face(
    beside: dict[str, object], n_rejects: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    columns = {key: [value] for key, value in beside.items()}
    write_parquet(path, image_table([{"bytes": b"1", "path": "a"}], label=["dog"], **columns))
    found, log = read_statements("huggingface", [path])
    assert (found["class_id"].to_pylist(), log.count) == ([] if n_rejects else ["dog"], n_rejects)
    (member,) = table_members(path, "a.parquet", most_bytes=9)
    assert member.labels == (() if n_rejects else (("dog", 1.0),))


def test_each_row_of_hugging_face_is_judged_by_its_own_value(tmp_path: Path) -> None:
    table = image_table([{"bytes": b"1", "path": name} for name in "abc"], label=["dog"] * 3, score=[15, 0.5, None])
    write_parquet(tmp_path / "a.parquet", table, row_group_size=1)
    found, log = read_statements("huggingface", [tmp_path / "a.parquet"])
    assert [one[-1] for one in found["image_id"].to_pylist()] == ["a", "c"]
    assert [one.what for one in log.first] == ["its score is not heard: give such labels as a table, JSON lines or CSV"]
