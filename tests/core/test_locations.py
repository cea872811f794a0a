"""Inputs and outputs may lie anywhere that fsspec opens, with the same digests."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from mlimages_dataset.core.errors import ConfigError, DataError, UsageError
from mlimages_dataset.core.locations import (
    Location,
    as_folder_name,
    is_folder_name,
    is_plain,
    location,
    paths_outside,
    refuse_no_path,
    relative,
    unpacked,
)
from mlimages_dataset.pipeline.engine import local
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult, read_manifest
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.recipes import build
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.tables.files import whole_file, write_bytes
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import LABELS
from tests.golden.inputs_and_tables import RECIPE_NAME, write_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlimages_dataset.pipeline.engine import Mapper


@pytest.fixture(name="memory")
def _memory() -> Iterator[str]:
    """Return the URL of an empty folder in this process's memory."""
    folder = location("memory://builds")
    assert isinstance(folder, UPath)
    folder.fs.store.clear()
    yield str(folder)
    folder.fs.store.clear()


@pytest.fixture(name="inputs", scope="module")
def _inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the golden recipe and its files."""
    return write_inputs(tmp_path_factory.mktemp("inputs")).parent


@pytest.fixture(name="expected", scope="module")
def _expected(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of the build in a local folder."""
    return built(inputs / RECIPE_NAME, tmp_path_factory.mktemp("local"))


def built(recipe: Location, out: Location, mapper: Mapper = map) -> dict[str, str]:
    """Return the digests of a recipe's build, which verifies, and which is not done twice."""
    build.build_recipe(
        read_recipe(recipe),
        out,
        engine=Engine(mapper=mapper),
        ended=lambda _stage, outcome: require(fresh=outcome.fresh),
    )
    build.build_recipe(read_recipe(recipe), out, ended=lambda _stage, outcome: require(fresh=not outcome.fresh))
    assert build.verify(out) == []
    return {path: record.sha256 for path, record in read_manifest(out).files.items()}


def require(*, fresh: bool) -> None:
    assert fresh


def uploaded(inputs: Path, folder: Location) -> Location:
    """Return the recipe in a remote copy of the inputs."""
    for path in inputs.rglob("*"):
        if path.is_file():
            write_bytes(folder / relative(path, inputs), path.read_bytes())
    return folder / RECIPE_NAME


@pytest.mark.slow
def test_a_build_in_memory_has_the_same_digests(inputs: Path, expected: dict[str, str], memory: str) -> None:
    assert built(inputs / RECIPE_NAME, location(f"{memory}/out")) == expected


@pytest.mark.slow
def test_a_build_from_memory_has_the_same_digests(
    inputs: Path, expected: dict[str, str], memory: str, tmp_path: Path
) -> None:
    assert built(uploaded(inputs, location(f"{memory}/inputs")), tmp_path) == expected


@pytest.mark.slow
def test_a_build_in_and_from_an_object_store_has_the_same_digests(
    inputs: Path, expected: dict[str, str], object_store: str
) -> None:
    recipe = uploaded(inputs, location(f"{object_store}/inputs"))
    with local(2) as mapper:
        assert built(recipe, location(f"{object_store}/out"), mapper) == expected


@pytest.mark.slow
def test_a_local_recipe_may_name_remote_files(
    inputs: Path, expected: dict[str, str], memory: str, tmp_path: Path
) -> None:
    uploaded(inputs, location(f"{memory}/inputs"))
    shutil.copy(inputs / "reviewed.toml", tmp_path)
    recipe = tmp_path / RECIPE_NAME
    text = (inputs / RECIPE_NAME).read_text()
    for name in ("synsets.txt", "classes.csv", "counts.csv", "imagenet.txt", "labels.csv", "images.csv", "own.csv"):
        assert f'"{name}"' in text
        text = text.replace(f'"{name}"', f'"{memory}/inputs/{name}"')
    recipe.write_text(text.replace('"predictions"', f'"{memory}/inputs/predictions"'))
    assert built(recipe, tmp_path / "out") == expected


@pytest.mark.parametrize("packed", [False, True])
def test_compressed_files_are_read_by_their_suffix(memory: str, tmp_path: Path, *, packed: bool) -> None:
    content = b"n01440764_1 http://a/b.jpg\n" * 3
    name = "list.txt.gz" if packed else "list.txt"
    for place in (location(f"{memory}/{name}"), tmp_path / name):
        write_bytes(place, gzip.compress(content) if packed else content)
        with unpacked(place) as stream:
            assert stream.read() == content


def test_what_is_written_half_is_nowhere_to_be_seen(
    memory: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = location(f"{memory}/half")
    with pytest.raises(ZeroDivisionError), whole_file(place) as sink:
        sink.write(str(1 // (sink.write(b"half of") - 7)).encode())
    assert not place.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_remote_table_is_told(inputs: Path, memory: str) -> None:
    (part,) = table_parts(inputs / "predictions")
    place = location(f"{memory}/part-00000.parquet")
    write_bytes(place, part.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"^memory://builds/part-00000\.parquet: cannot be read as a Parquet file"):
        read_table(place, LABELS)


def test_a_missing_remote_file_is_told(memory: str) -> None:
    with pytest.raises(UsageError, match=r"memory://builds/none: there is no such file"):
        read_table(location(f"{memory}/none"), LABELS)
    with pytest.raises(UsageError, match="there is no part"):
        table_parts(location(f"{memory}/none"))


def test_a_remote_folder_of_somebody_else_is_refused(memory: str) -> None:
    write_bytes(location(f"{memory}/theirs/thesis.tex"), b"\\end")
    with pytest.raises(UsageError, match=f"holds files but no {MANIFEST_NAME}"):
        OutputFolder(location(f"{memory}/theirs"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("carrier-pigeon://loft/x", "the protocol carrier-pigeon://"),
        ("hdfs://nowhere/x", "a package is missing|does not answer"),
    ],
)
def test_a_url_that_nothing_opens_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        location(text)
    assert caught.value.where == text


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_told(object_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    UPath(object_store).fs.clear_instance_cache()
    with pytest.raises(UsageError, match=r"^s3://bucket-\d+/x: the store does not answer .*check the address"):
        location(f"{object_store}/x")


@pytest.mark.usefixtures("object_store")
def test_a_bucket_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match=r"^s3://none/out/manifest\.json: cannot be written \(.*bucket does not exist"):
        OutputFolder(location("s3://none/out")).run("mine", parameters={}, inputs={}, work=lambda _: StageResult(()))


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert location((tmp_path / "a b").as_uri().replace("%20", " ")) == tmp_path / "a b"


def test_wordnet_must_be_local(inputs: Path, tmp_path: Path, memory: str) -> None:
    recipe = tmp_path / RECIPE_NAME
    text = (inputs / RECIPE_NAME).read_text()
    recipe.write_text(text.replace("[vocabulary]", f'[vocabulary]\nwordnet = "{memory}/wordnet"'))
    with pytest.raises(ConfigError, match=r"vocabulary\.wordnet is 'memory://.*, which is remote"):
        read_recipe(recipe)


def test_help_does_not_wait_for_fsspec() -> None:
    program = (
        "import sys\nfrom mlimages_dataset.cli.main import main\n"
        "for command in ('run', 'vocab', 'labels'):\n    main([command, '--help'], standalone_mode=False)\n"
        "print(*sorted({'fsspec', 'upath', 'pyarrow', 'distributed'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@given(st.text(st.characters(exclude_categories=[]), max_size=8))
def test_a_text_names_a_place_that_can_be_asked_for_or_is_refused(text: str) -> None:
    try:
        place = location(text)
    except UsageError:
        return
    assert text.strip()
    assert isinstance(place.exists(), bool)


@pytest.mark.parametrize("text", ["", " ", "a\0b", "\ud800", "a/\ud800/b"])
def test_no_path_is_told_by_what_it_is_for(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--out is "):
        refuse_no_path(text, "--out")


@given(st.text() | st.text("ab./\\:\0\n \x7f\u202e\u00e9", max_size=220))
def test_a_folders_name_makes_a_folder_of_its_own_with_the_marks_of_its_stages(name: str) -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = UPath(text)
        if not is_folder_name(name):
            return
        (folder / name).mkdir()
        assert [path.name for path in folder.iterdir()] == [name]
        write_bytes(folder / f".unfinished-predictions-{name}", b"")
        assert paths_outside(folder, [f"annotations/{name}/part-00000.parquet"]) == []
        assert name.splitlines() == [name] or name.isprintable()


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "a/b", "a\\b", "a:b", "a\0b", "a\nb", "\x7f", "x" * 201, "\u00e9" * 101, "a\ud800"),
        *(
            "a?",
            "a*",
            'a"b',
            "a<b",
            "a>b",
            "a|b",
            "cats.",
            "cats ",
            "CON",
            "nul.txt",
            "Com1",
            "lpt9 .a",
            "com\u00b9",
            "a\u2028b",
            "\u3000",
        ),
    ],
)
def test_what_some_system_does_not_take_for_a_folders_name(name: str) -> None:
    assert not is_folder_name(name)


@pytest.mark.parametrize(
    "name", [".hidden", "a b", "\u72d7", "x" * 200, "\u00e9" * 100, "a;b'c", "console", "com", "a.con"]
)
def test_what_may_be_a_folders_name(name: str) -> None:
    assert is_folder_name(name)


@given(
    st.text(st.characters(exclude_categories=[])) | st.text("coNul1./\\:*? \0\ud800\u00e9\u2028\u3000", max_size=220)
)
def test_any_text_can_be_made_a_folders_name(text: str) -> None:
    made = as_folder_name(text)
    assert is_folder_name(made)
    assert is_plain(made)
    assert as_folder_name(made) == made
