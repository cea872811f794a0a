"""How the command answers slips of the hand, an interruption, a pipe that nobody reads, and a program that calls it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import click
import pytest

import mlimages_dataset as ml
from mlimages_dataset.core.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("vocb",), "No such command 'vocb'. Did you mean vocab?"),
        (("label",), "No such command 'label'. Did you mean labels?"),
        (("evaluate-label",), "Did you mean evaluate-labels"),
        (("images", "ingst"), "No such command 'ingst'. Did you mean ingest?"),
        (("zzzz",), "No such command 'zzzz'."),
        (("labels", "--annotation", "x"), "Did you mean '--annotations'?"),
    ],
)
def test_near_names_are_suggested(command: Command, call: tuple[str, ...], told: str) -> None:
    ran = command(*call)
    assert ran.code == 2
    assert told in ran.err


@pytest.mark.parametrize("group", [(), ("images",)])
def test_help_is_a_word_too(command: Command, group: tuple[str, ...]) -> None:
    assert command(*group, "help") == command(*group, "--help")
    name = "verify"
    assert command(*group, "help", name) == command("help", *group, name) == command(*group, name, "--help")
    assert command(*group, "help", "zzzz").code == 2


def test_what_the_api_says_in_the_words_of_python_the_command_says_in_its_own(command: Command, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("id,name\n1,dog\n")
    vocabulary = str(tmp_path / "vocabulary")
    assert not command("vocab", "--classes", f"mine={tmp_path / 'classes.csv'}", "--out", vocabulary).code
    (tmp_path / "a.csv").write_text("a,dog\n")
    call = ("annotate", "--vocab", vocabulary, "--format", "csv", str(tmp_path / "a.csv"), "--out", str(tmp_path / "a"))
    said = command(*call)
    assert said.code == 1
    assert "--columns image_id=path,label=class" in said.err
    assert "{" not in said.err
    with pytest.raises(DataError, match=r"columns=\{'image_id': 'path', 'label': 'class'\}"):
        ml.annotate(str(tmp_path / "a.csv"), vocabulary, format="csv")


@pytest.mark.parametrize(
    ("call", "code", "error"),
    [
        (("verify", "{}/none"), 2, {"what": "there is no manifest.json in it", "where": "{}/none", "line": None}),
        (
            ("tally", "--format", "csv", "{}/bad.csv", "--out", "{}/counts.csv"),
            1,
            {"what": "no column image_id and label among a, b", "where": "{}/bad.csv", "line": 1},
        ),
    ],
)
def test_errors_are_json_where_results_are(
    command: Command, tmp_path: Path, call: tuple[str, ...], code: int, error: dict[str, object]
) -> None:
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    call = tuple(part.format(tmp_path) for part in call)
    plain, ran = command(*call), command(*call, "--json")
    assert (ran.code, ran.err) == (plain.code, plain.err)
    assert (ran.code, plain.out) == (code, "")
    content = json.loads(ran.out)["error"]
    assert content.pop("remedy")
    assert content == {**error, "where": str(error["where"]).format(tmp_path)}


def test_an_interruption_says_how_to_go_on(
    command: Command, main_command: click.Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    found = click.Command("verify", callback=interrupted)
    monkeypatch.setattr(main_command, "get_command", lambda *_: found)
    ran = command("verify")
    assert (ran.code, ran.out) == (130, "")
    assert "run the same command again" in ran.err


def test_a_closed_pipe_is_silent(script: str) -> None:
    with subprocess.Popen(
        [script, "fetch", "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()
        assert ran.stderr.read() == ""
