"""The command explains itself, at once, and exits as it says."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

HEAVY = {"numpy", "pyarrow", "pandas", "scipy", "numba", "duckdb", "nltk", "networkx", "requests", "torch"}
LOADED = """
import importlib.metadata, sys
(entry,) = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
try:
    entry.load()(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print(*(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


def names_of(main_command: click.Command) -> list[str]:
    assert isinstance(main_command, click.Group)
    return main_command.list_commands(click.Context(main_command))


LONG = ("run", "tally", "annotate", "cooccurrence", "labels", "audit", "export", "evaluate-labels")


@pytest.mark.parametrize("name", LONG)
def test_every_long_command_takes_an_engine(main_command: click.Command, name: str) -> None:
    assert isinstance(main_command, click.Group)
    found = main_command.get_command(click.Context(main_command), name)
    assert found is not None
    options = {option for parameter in found.params for option in parameter.opts}
    assert {"--workers", "--dask"} <= options


def test_help_lists_every_command(main_command: click.Command, run_script: Command) -> None:
    ran = run_script("--help")
    assert (ran.code, ran.err) == (0, "")
    listed = ran.out.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "] == names_of(
        main_command
    )
    assert "2 wrong use, 130 interrupted, 141 nobody read the output on." in " ".join(ran.out.split())


def test_each_command_shows_an_example_of_itself(main_command: click.Command, command: Command) -> None:
    for name in ["", *names_of(main_command)]:
        ran = command(*name.split(), "--help")
        assert (ran.code, ran.err) == (0, "")
        assert "\n  Example" in ran.out, name
        assert f"\n    mlimages-build {name}".rstrip() in ran.out, name


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["labels", "--help"], ["annotate", "--help"]])
def test_help_waits_for_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_a_command_tells_what_it_reads_before_it_imports_anything_heavy(tmp_path: Path) -> None:
    code = """
import sys
import click
from mlimages_dataset.cli.main import main
def told(text, err=False):
    assert err and text.startswith("Reading"), text
    print(*(name for name in sys.modules if "." not in name))
    sys.exit()
click.echo = told
main()
"""
    arguments = ["labels", "--vocab", str(tmp_path), "--annotations", str(tmp_path), "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout
    assert not HEAVY & set(done.stdout.split())


def test_labels_import_nothing_that_they_do_not_use(golden_build: Path, tmp_path: Path) -> None:
    """Each of these takes from a tenth to half a second."""
    given = [str(path) for path in sorted((golden_build / "annotations").iterdir()) if path.is_dir()][:1]
    arguments = ["labels", "--vocab", str(golden_build), "--annotations", *given, "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True)
    unused = {"pandas", "duckdb", "nltk", "networkx", "rapidfuzz", "PIL", "requests", "aiohttp", "torch"}
    unused |= {"fsspec", "upath", "asyncio", "multiprocessing"}
    assert not unused & set(done.stderr.split())


def test_annotate_imports_nothing_that_it_does_not_use(golden_build: Path, tmp_path: Path) -> None:
    """`_csparsetools` is a module that `scipy.sparse` loads; Numba asks for `scipy` alone."""
    listed = tmp_path / "labels.csv"
    listed.write_text("image_id,label\na,n02084071\n", "utf-8")
    arguments = ["--vocab", str(golden_build), "--format", "csv", str(listed), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "annotate", *arguments], capture_output=True, text=True, check=True
    )
    unused = {
        "_csparsetools",
        "pandas",
        "nltk",
        "networkx",
        "rapidfuzz",
        "PIL",
        "requests",
        "aiohttp",
        "torch",
        "upath",
    }
    assert not unused & set(done.stderr.split())


def test_what_needs_a_path_of_this_machine_says_so_of_a_url(main_command: click.Command, tmp_path: Path) -> None:
    assert isinstance(main_command, click.Group)
    serve = main_command.get_command(click.Context(main_command), "serve")
    assert serve is not None
    (folder,) = (one for one in serve.params if one.name == "folder")
    assert folder.type.convert(f"file://{tmp_path}", folder, None) == tmp_path
    for url in ("memory://b", "s3://b/x", "gs://b", "nobody://b"):  # no store is asked
        with pytest.raises(click.BadParameter, match=f"'{url}' is a URL; name a path of this machine"):
            folder.type.convert(url, folder, None)
