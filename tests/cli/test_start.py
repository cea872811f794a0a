"""`start` and `show` as users call them: from a folder to the labels of one picture."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlimages_dataset.cli.options import printable  # type: ignore[import-not-found]  # setup.cfg maps cli to it

from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

HOSTILE = "dog\x1b[2J<script>alert(1)</script>"


@pytest.fixture(name="photos", scope="module")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of pictures of two classes, one of whose names is hostile."""
    folder = tmp_path_factory.mktemp("given") / "photos"
    for number, name in enumerate(("cat/tom", "cat/kitty", f"dog/{HOSTILE.replace('/', '_')}", f"{HOSTILE[:8]}/x")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.jpg").write_bytes(picture(number))
    return folder


@pytest.fixture(name="built", scope="module")
def _built(photos: Path, command: Command) -> tuple[Path, str]:
    """Return a build and what the command said."""
    out = photos.parent / "build"
    ran = command("start", photos, "--out", out, "--workers", "1")
    assert ran.code == 0, ran.err
    return out, ran.out


def test_it_says_what_it_reads_what_was_done_to_decide_and_to_do_next(built: tuple[Path, str], photos: Path) -> None:
    out, said = built
    assert said.startswith(f"Reading {photos} into {out} ...\n")
    assert "3 images with labels: 3 stated, " in said
    assert "For you to decide:\n  class that fits nothing: " in said
    assert f"\nNext: mlimages-build show {out} " in said
    assert "\x1b" not in said


def test_again_is_one_line_and_other_pictures_are_refused(
    built: tuple[Path, str], photos: Path, command: Command, tmp_path: Path
) -> None:
    out, _ = built
    ran = command("start", photos, "--out", out, "--workers", "1")
    assert (ran.code, ran.out) == (0, f"{out} is up to date: nothing to do\n")
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "cat" / "new.jpg").write_bytes(picture(9))
    ran = command("start", tmp_path / "photos", "--out", out, "--workers", "1")
    assert ran.code == 2
    assert "the folder holds another build: in stage ingest, input photos changed" in ran.err


def test_json_has_a_version_the_stages_and_the_decisions(
    built: tuple[Path, str], photos: Path, command: Command
) -> None:
    out, _ = built
    found = json.loads(command("start", photos, "--out", out, "--workers", "1", "--json").out)
    assert (found["format"], found["folder"]) == ("mlimages.start/1", str(out))
    assert list(found["stages"])[:2] == ["images", "classes/photos"]
    assert {one["kind"] for one in found["decisions"]} == {"class that fits nothing", "pictures without a label"}


def test_all_that_fit_nothing_are_named_or_counted_and_the_advice_names_them_all(
    command: Command, tmp_path: Path
) -> None:
    names = [f"zzq{one}" for one in "abcdefghijklmnopqrstuvw"]
    for number, name in enumerate((*names, "cat")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes(picture(number))
    call = ("start", tmp_path / "photos", "--out", tmp_path / "build", "--workers", "1")
    said = command(*call).out
    assert said.count(" fits no category: ") == 20
    assert "class that fits nothing: 3 more; this command with --json lists all\n" in said
    found = json.loads(command(*call, "--json").out)
    unfit = [one["text"] for one in found["decisions"] if one["kind"] == "class that fits nothing"]
    assert [text.split("'")[1] for text in unfit] == names
    page = (tmp_path / "build" / "report.html").read_text("utf-8")
    assert page.count("became no category: ") == len(names)


def test_a_picture_and_a_category_are_shown(built: tuple[Path, str], command: Command) -> None:
    out, _ = built
    ran = command("show", out, "cat/tom.jpg")
    assert ran.code == 0
    assert ran.out.startswith(
        f"image cat/tom (train, source photos)\n  picture: {out}/images/shard-00000.tar, from byte"
    )
    assert "\n  cat, annotated by photos\n  feline, because cat is one\n" in ran.out
    ran = command("show", out, "cat")
    assert "\n  images: 2 in train\n" in ran.out
    assert "\n  for example: cat/kitty, cat/tom\n" in ran.out
    found = json.loads(command("show", out, "n02121620", "--json").out)
    assert (found["format"], found["images"]) == ("mlimages.show/2", [])
    assert found["categories"][0]["name"]["wnid"] == "n02121620"


def test_hostile_names_are_text(built: tuple[Path, str], command: Command) -> None:
    out, _ = built
    ran = command("show", out, "dog")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "dog\\x1b[2J<script>alert(1)<_script>" in ran.out
    ran = command("show", out, "\x1b[2J")
    assert ran.code == 2
    assert "\x1b" not in ran.err
    assert "no image and no category is called '\\x1b[2J'" in ran.err


def test_a_folder_without_labels_is_named(command: Command, tmp_path: Path) -> None:
    ran = command("show", tmp_path, "dog")
    assert (ran.code, ran.out) == (2, "")
    assert f"{tmp_path}: there are no labels in it; name the folder of labels, a split or a build" in ran.err


def test_a_build_stands_for_its_vocabulary(golden_build: Path, command: Command, tmp_path: Path) -> None:
    given = ("labels", "--annotations", golden_build / "annotations" / "own", "--out", tmp_path / "labels")
    assert command(*given, "--vocab", golden_build / "vocabulary", "--workers", "1").code == 0
    assert "up to date" in command(*given, "--vocab", golden_build, "--workers", "1").out


@given(st.text())
def test_nothing_printed_commands_a_terminal(text: str) -> None:
    shown = printable(text)
    assert all(one.isprintable() or one == "\n" for one in shown)
    assert shown == text or not text.replace("\n", "").isprintable()
