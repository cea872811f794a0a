"""Trials in processes of their own: whatever becomes of one, there is a row for each, and laws decide the exit code."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from tests.gpu.fake import SECTIONS
from tests.gpu.report import Row, Status, exit_code, markdown, table, untried, verdict
from tests.gpu.runner import environment, run_section
from tests.gpu.sections import SECTIONS as ALL_SECTIONS
from tests.gpu.trials import Job, chosen

OK, FAILED, NOT_TRIED = Status.OK, Status.FAILED, Status.NOT_TRIED


@pytest.fixture(name="job")
def _job(tmp_path: Path) -> Job:
    return Job(device="cpu", gpus=0, folder=str(tmp_path), images="", deadline=time.time() + 3600)


def rows(name: str, job: Job) -> list[tuple[str, Status, str, bool]]:
    """Return what, status, figure and law of each row of a fake section."""
    section = next(section for section in SECTIONS if section.name == name)
    found = run_section(section, job, module="tests.gpu.fake")
    assert {row.section for row in found} == {name}
    return [(row.what, row.status, row.figure, row.law) for row in found]


def test_a_trial_holds_fails_or_says_why_it_is_not_tried(job: Job) -> None:
    assert rows("mixed", job) == [
        ("a", OK, "on cpu", True),
        ("b", FAILED, "2 is not 3", True),
        ("c", NOT_TRIED, "there is one GPU", False),
    ]


def test_an_error_is_its_first_line_and_what_does_not_fit_is_not_begun(job: Job) -> None:
    assert rows("speeds", job) == [
        ("d", FAILED, "ValueError: no such thing", False),
        ("e", NOT_TRIED, "time", False),
        ("f", OK, "on cpu", False),
    ]


def test_a_crash_is_a_row_with_what_was_said_last(job: Job) -> None:
    assert rows("crash", job) == [
        ("g", OK, "on cpu", False),
        ("h", FAILED, "its process ended with -9: illegal memory access", True),
        ("i", NOT_TRIED, "the process ended at: h", True),
    ]


@pytest.mark.slow
def test_a_hanging_section_ends_with_all_that_it_started(job: Job) -> None:
    # Its trials are said to take so little that it is given up after 4 s.
    assert rows("hang", job) == [
        ("j", FAILED, "no end after 4 s", True),
        ("k", NOT_TRIED, "the process ended at: j", False),
    ]
    child = Path(job.folder, "child")
    if child.is_file():  # it had come so far
        assert not _runs(int(child.read_text()))


def _runs(process: int) -> bool:
    """Return whether a process does anything; one that has ended may not have been waited for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_where_the_time_is_up_the_rest_is_not_tried(job: Job) -> None:
    late = dataclasses.replace(job, deadline=time.time() + 6)
    assert rows("late", late) == [("l", NOT_TRIED, "time", True), ("m", NOT_TRIED, "time", False)]
    over = dataclasses.replace(job, deadline=time.time())
    began = time.monotonic()
    assert {(status, why) for _, status, why, _ in rows("mixed", over)} == {(NOT_TRIED, "time")}
    assert time.monotonic() - began < 1, "no process was started"


def test_only_a_failed_law_is_an_error() -> None:
    law, speed = Row("s", "law", FAILED, law=True), Row("s", "speed", FAILED)
    assert exit_code([speed, Row("s", "x", NOT_TRIED, law=True), Row("s", "y", OK, law=True)]) == 0
    assert exit_code([speed, law]) == 1
    assert exit_code([]) == 0
    assert exit_code([speed], ["s"]) == 0, "a measurement that failed was tried"


def test_a_section_that_was_asked_for_brings_what_it_needs_and_is_tried_or_the_code_is_1() -> None:
    for section in ALL_SECTIONS:
        names = [one.name for one in chosen(ALL_SECTIONS, [section.name])]
        assert names == [one.name for one in ALL_SECTIONS if one.name in {section.name, *section.needs}]
        assert all(need in names for name in names for need in _needs(name)), "needs are not left to their own needs"
    assert chosen(ALL_SECTIONS, []) == list(ALL_SECTIONS)
    data, compiled = Row("data", "x", OK), Row("compile", "y", NOT_TRIED, law=True)
    assert untried([data, compiled], ["compile"]) == ["compile"]
    assert exit_code([data, compiled], ["compile"]) == 1
    assert exit_code([data, compiled], ["data"]) == 0
    assert exit_code([data, compiled]) == 0, "without a choice, what was not tried is no failure"


def _needs(name: str) -> tuple[str, ...]:
    return next(section.needs for section in ALL_SECTIONS if section.name == name)


def test_verdict_counts_laws() -> None:
    law, speed = Row("s", "law", FAILED, law=True), Row("s", "speed", FAILED)
    counted = [law, speed, Row("s", "x", NOT_TRIED, law=True), Row("s", "y", OK, law=True)]
    assert verdict(counted) == "1 laws hold, 1 failed, 1 were not tried"


def test_rows_travel_as_json_and_are_shown_in_both_forms() -> None:
    made = [
        Row("loss", "a | b", OK, "1.0 ms"),
        Row("loss", "c", NOT_TRIED, "time", law=True),
        Row("speed", "d", FAILED),
    ]
    assert [Row.from_json(row.to_json()) for row in made] == made
    assert table(made).splitlines() == [
        "loss",
        "  ok         a | b  1.0 ms",
        "  not tried  c      time",
        "",
        "speed",
        "  failed     d",
    ]
    assert markdown(made, "head").splitlines()[2:] == [
        "| section | what | | figure |",
        "|---|---|---|---|",
        "| loss | a \\| b | ok | 1.0 ms |",
        "| loss | c | not tried | time |",
        "| speed | d | failed |  |",
    ]


def test_processes_neither_inherit_a_rank_nor_round_to_ten_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth0")
    found = environment(tmp_path, "cuda")
    assert "RANK" not in found
    assert "WORLD_SIZE" not in found
    assert found["NCCL_SOCKET_IFNAME"] == "eth0", "who knows better is left alone"
    assert found["NVIDIA_TF32_OVERRIDE"] == "0"
    assert found["XDG_CACHE_HOME"].startswith(str(tmp_path))
    assert found["PATH"] == os.environ["PATH"]
    assert environment(tmp_path, "cpu").get("OMP_NUM_THREADS")
