"""The log is lines of JSON without a gap or a repetition, and the same as events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # has no annotations
    EventAccumulator,
)

from mlimages_dataset.train.logs import RunLog

if TYPE_CHECKING:
    from pathlib import Path


def test_steps_that_are_done_again_are_told_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.tell("train", step, {"loss": 1.0 / step})
    log = RunLog(tmp_path, resumed_at=2)
    log.tell("train", 3, {"loss": 0.25})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_a_line_that_a_crash_cut_is_left_out(tmp_path: Path) -> None:
    RunLog(tmp_path).tell("train", 1, {"loss": 1.0})
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"kind": "tra')
    RunLog(tmp_path, resumed_at=9)
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 1
    assert "tra\n" not in (tmp_path / "log.jsonl").read_text()


def test_what_is_told_is_on_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    RunLog(tmp_path).tell("train", 1200, {"epoch": 3, "rate": 0.08, "images/s": 11077.4, "loss": float("nan")})
    assert capsys.readouterr().out == "step   1,200  train: epoch 3  rate 0.08  images/s 1.108e+04  loss nan\n"


def test_what_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.tell("train", 1, {"loss": float("nan"), "rate": float("inf"), "epoch": 0})
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    found = json.loads(line, parse_constant=pytest.fail)
    assert (found["loss"], found["rate"], found["epoch"]) == (None, None, 0)


def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    RunLog(None).tell("train", 1, {"loss": 1.0})
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_events_have_the_numbers_of_the_lines(tmp_path: Path) -> None:
    log = RunLog(tmp_path, tensorboard=True)
    log.tell("train", 7, {"loss": 0.5, "device": "cpu"})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(7, 0.5)]


@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_a_warning_is_a_sentence_a_line_and_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path, tensorboard=True)
    assert not log.has_warned
    log.warning(50, "the logits do not change", {"moved": 0.25})
    log.close()
    assert capsys.readouterr().out == "step      50  warning: the logits do not change\n"
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert (line["kind"], line["step"], line["moved"]) == ("warning", 50, 0.25)
    assert line["sentence"] == "the logits do not change"
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("warning/moved")] == [(50, 0.25)]


def test_a_log_knows_whether_it_has_warned_of_what_stays(tmp_path: Path) -> None:
    RunLog(tmp_path).warning(50, "the logits do not change", {})
    assert RunLog(tmp_path, resumed_at=60).has_warned
    assert not RunLog(tmp_path, resumed_at=40).has_warned, "step 50 is done again"
