"""README's commands exist, and its links lead somewhere."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest

from mlimages_dataset.samples import photographs
from tests.docs.pages import blocks, run

README = Path(__file__).parents[1] / "README.md"
PAGES = (README, *sorted((README.parent / "docs").rglob("*.md")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(README.parent)))
def test_every_command_that_a_page_names_is_one(page: Path) -> None:
    found = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
    if not found:
        pytest.skip("mlimages-build is not installed: pip install -e .")
    group = next(iter(found)).load()
    assert isinstance(group, click.Group)
    used = re.findall(r"(?:^|`|\| )mlimages-build ([a-z][\w-]*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(used) <= {*group.list_commands(click.Context(group)), "help"}


def test_the_two_commands_are_marked_for_those_who_run_them() -> None:
    text = README.read_text(encoding="utf-8")
    for mark, words in (("run", "mlimages-build run --out build"), ("tests", "-m pytest")):
        (block,) = re.findall(rf"<!-- {mark} -->\n```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert words in block
        assert block.count("\n") == 1, "one command"


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith("https://")]
    assert local
    assert [target for target in local if not (README.parent / target).exists()] == []


def test_readme_fits_on_one_page() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 110


@pytest.mark.slow
def test_what_readme_says_of_own_photographs_can_be_done(tmp_path: Path) -> None:
    (folder := tmp_path / "my_photos" / "golden retriever").mkdir(parents=True)
    shutil.copy(photographs() / "cocker-spaniels.jpg", folder / "rex.jpg")
    (code,) = [one.code for one in blocks("../README.md") if one.language == "bash" and "start my_photos" in one.code]
    *lines, serve = code.strip().splitlines()
    run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], tmp_path)
    assert serve == "mlimages-build serve mine"
    command = [str(Path(sys.executable).with_name("mlimages-build")), *serve.split()[1:], "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            (address,) = re.findall(r"http://\S+/", server.stdout.readline())
            with contextlib.closing(urllib.request.urlopen(address)) as answer:  # noqa: S310 - our own server
                assert b"golden retriever/rex" in answer.read()
        finally:
            server.terminate()
