"""The laws of output folders: nothing is redone, nothing is mixed, nothing half-written counts as done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.journal import Finished, Journal
from mlimages_dataset.pipeline.records import (
    FileRecord,
    Manifest,
    StageOutcome,
    StageRecord,
    StageResult,
    read_manifest,
)
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables import schemas
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, file_digest, write_bytes
from mlimages_dataset.tables.parquet import table_parts, write_table
from mlimages_dataset.tables.parts import BEGUN_PREFIX, FORMAT, MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location

INPUTS = {"list.txt": "11" * 32, "words.txt": "22" * 32}
RECORD = {"rows": -1, "bytes": 0, "sha256": "33" * 32, "schema": ""}
STAGE = {"parameters": {}, "inputs": {}, "outputs": [], "seconds": 1.0, "summary": {}, "version": "0"}
PARAMETERS: Mapping[str, Json] = {"threshold": 0.5, "names": ["a", "b"], "nested": {"deep": None}}


class Work:
    """Writes the same files each time it is called, and counts the calls."""

    def __init__(self, *names: str, content: bytes = b"content") -> None:
        self.names = names
        self.content = content
        self.calls = 0

    def __call__(self, folder: Location) -> StageResult[Any]:
        """Write the files into the folder that a stage was given."""
        self.calls += 1
        receipts = tuple(write_bytes(folder / name, self.content + name.encode()) for name in self.names)
        return StageResult(receipts, {"files": len(receipts)})


def run(
    folder: Path,
    work: Callable[[Location], StageResult[Any]],
    *,
    stage: str = "vocabulary",
    parameters: Mapping[str, Json] = PARAMETERS,
    inputs: Mapping[str, str] = INPUTS,
    overwrite: bool = False,
) -> StageOutcome[Any]:
    """Open the folder as a new process would, and run one stage."""
    opened = OutputFolder(folder, overwrite=overwrite)
    return opened.run(stage, parameters=parameters, inputs=inputs, work=work, into=stage)


def snapshot(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()}


def test_a_stage_is_recorded_with_its_files(tmp_path: Path) -> None:
    outcome = run(tmp_path / "out", Work("a", "deep/b"))
    assert outcome.fresh
    assert outcome.record.outputs == ("vocabulary/a", "vocabulary/deep/b")
    manifest = read_manifest(tmp_path / "out")
    assert manifest.stages == {"vocabulary": outcome.record}
    assert outcome.record.parameters == PARAMETERS
    assert outcome.record.inputs == INPUTS
    assert outcome.record.summary == {"files": 2}
    for path, record in manifest.files.items():
        file = tmp_path / "out" / path
        assert record == FileRecord(-1, file.stat().st_size, file_digest(file), "")
    opened = OutputFolder(tmp_path / "out")
    assert opened.manifest == manifest
    assert verify_folder(tmp_path / "out") == []


def test_running_again_redoes_nothing(tmp_path: Path) -> None:
    work = Work("a", "b")
    first = run(tmp_path, work)
    before = snapshot(tmp_path)
    reordered = {name: PARAMETERS[name] for name in sorted(PARAMETERS)}
    again = run(tmp_path, work, parameters=reordered, inputs=dict(reversed(INPUTS.items())))
    assert work.calls == 1
    assert (again.fresh, again.record) == (False, first.record)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("parameters", "inputs", "told"),
    [
        ({**PARAMETERS, "threshold": 0.6}, INPUTS, "threshold was 0.5 and is now 0.6"),
        ({**PARAMETERS, "names": ["b", "a"]}, INPUTS, r'names was \["a", "b"\] and is now \["b", "a"\]'),
        ({**PARAMETERS, "more": 1}, INPUTS, "more was null and is now 1"),
        (PARAMETERS, {**INPUTS, "list.txt": "33" * 32}, "input list.txt changed"),
        (PARAMETERS, {**INPUTS, "new.txt": "33" * 32}, "input new.txt is new"),
        (PARAMETERS, {"list.txt": INPUTS["list.txt"]}, "input words.txt is no longer given"),
    ],
)
def test_another_build_is_refused_and_explained_unless_asked_for(
    tmp_path: Path, parameters: Mapping[str, Json], inputs: Mapping[str, str], told: str
) -> None:
    run(tmp_path, Work("a", "old"))
    before = snapshot(tmp_path)
    work = Work("a", content=b"new")
    with pytest.raises(UsageError, match=rf"in stage vocabulary, {told}.*--overwrite"):
        run(tmp_path, work, parameters=parameters, inputs=inputs)
    assert work.calls == 0
    assert snapshot(tmp_path) == before
    assert run(tmp_path, work, parameters=parameters, inputs=inputs, overwrite=True).fresh
    assert sorted(snapshot(tmp_path)) == [MANIFEST_NAME, "vocabulary/a"], "the other build's files are gone"
    assert verify_folder(tmp_path) == []


def test_overwriting_redoes_nothing_that_stands(tmp_path: Path) -> None:
    work = Work("a")
    run(tmp_path, work)
    assert not run(tmp_path, work, overwrite=True).fresh
    assert work.calls == 1


def test_a_missing_output_is_made_again_to_the_same_bytes(tmp_path: Path) -> None:
    work = Work("a", "b")
    run(tmp_path, work)
    before = read_manifest(tmp_path).files
    (tmp_path / "vocabulary" / "a").unlink()
    assert run(tmp_path, work).fresh
    assert read_manifest(tmp_path).files == before
    assert verify_folder(tmp_path) == []


def test_stages_keep_their_hands_off_each_other(tmp_path: Path) -> None:
    run(tmp_path, Work("a"), stage="vocabulary")
    run(tmp_path, Work("a"), stage="labels")
    run(tmp_path, Work("b"), stage="labels", parameters={}, overwrite=True)
    assert sorted(read_manifest(tmp_path).files) == ["labels/b", "vocabulary/a"]
    assert verify_folder(tmp_path) == []


def test_a_stage_in_the_folder_itself_spares_the_others(tmp_path: Path) -> None:
    run(tmp_path, Work("a"))
    write_bytes(tmp_path / "notes.txt", b"somebody's")
    opened = OutputFolder(tmp_path)
    assert opened.run("report", parameters={}, inputs={}, work=Work("report.html"), beside=True).fresh
    assert sorted(read_manifest(tmp_path).files) == ["report.html", "vocabulary/a"]
    assert (tmp_path / "notes.txt").read_bytes() == b"somebody's"
    (problem,) = verify_folder(tmp_path)
    assert problem.startswith("notes.txt: is not in the manifest")
    opened = OutputFolder(tmp_path, overwrite=True)
    assert opened.run("report", parameters={"other": 1}, inputs={}, work=Work("other.html"), beside=True).fresh
    assert not (tmp_path / "report.html").exists(), "the other build's file is gone"


@pytest.mark.parametrize("name", ["notes.txt", "vocabulary/categories.parquet", "deep/er/notes.txt"])
def test_a_folder_of_somebody_else_is_refused_and_untouched(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / name, b"mine")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=rf"{tmp_path}.*holds files but no {MANIFEST_NAME}"):
        OutputFolder(tmp_path, overwrite=True)
    assert snapshot(tmp_path) == before


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"")
    with pytest.raises(UsageError, match="is a file"):
        OutputFolder(tmp_path / "file")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"format": "mlimages.manifest/9"}',
        json.dumps({"format": FORMAT}),
        json.dumps({"format": FORMAT, "files": {"a": {}}, "stages": {}}),
        json.dumps({"format": FORMAT, "files": {}, "stages": {"s": {"outputs": []}}}),
        json.dumps({"format": FORMAT, "files": {"a": {**RECORD, "rows": "many"}}, "stages": {}}),
        json.dumps({"format": FORMAT, "files": {"a": {**RECORD, "bytes": True}}, "stages": {}}),
        json.dumps({"format": FORMAT, "files": {"a": [1]}, "stages": {}}),
        json.dumps({"format": FORMAT, "files": {}, "stages": {"s": {**STAGE, "summary": []}}}),
        json.dumps({"format": FORMAT, "files": {}, "stages": {"s": {**STAGE, "inputs": None}}}),
        json.dumps({"format": FORMAT, "files": {}, "stages": {"s": {**STAGE, "seconds": "long"}}}),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST_NAME).write_text(content)
    for call in (read_manifest, verify_folder, OutputFolder):
        with pytest.raises(DataError, match=MANIFEST_NAME):
            call(tmp_path)


@pytest.mark.parametrize("missing", ["", "absent"])
def test_a_folder_without_a_manifest_is_told(tmp_path: Path, missing: str) -> None:
    with pytest.raises(UsageError, match=f"there is no {MANIFEST_NAME}"):
        verify_folder(tmp_path / missing)


_MOST = (1 << 63) - 1
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
file_records = st.builds(FileRecord, st.integers(-1, _MOST), st.integers(0, _MOST), st.text(), st.text())
stage_records = st.builds(
    StageRecord,
    parameters=st.dictionaries(st.text(), json_values, max_size=3),
    inputs=st.dictionaries(st.text(), st.text(), max_size=3),
    outputs=st.just(()),
    seconds=st.floats(0, 1e6),
    summary=st.dictionaries(st.text(), json_values, max_size=3),
)


@settings(max_examples=50)
@given(
    files=st.dictionaries(st.from_regex(r"\w{1,4}(/[\w .-]{0,4}\w){0,2}", fullmatch=True), file_records, max_size=3),
    stages=st.dictionaries(st.text(), stage_records, max_size=3),
)
def test_a_manifest_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, FileRecord], stages: dict[str, StageRecord]
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    stages = {name: replace(record, outputs=tuple(files)) for name, record in stages.items()}
    manifest = Manifest(files, stages)
    write_bytes(folder / MANIFEST_NAME, manifest.to_json())
    assert read_manifest(folder) == manifest


@pytest.mark.parametrize("name", ["../precious.txt", "/etc/passwd", "a/../../b", "", "a\\b", "s3://bucket/a"])
@pytest.mark.parametrize("as_output", [False, True])
def test_a_manifest_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str, *, as_output: bool) -> None:
    record = FileRecord(-1, 1, "", "")
    stage = StageRecord({}, {}, (name,), 0.0, {})
    manifest = Manifest({} if as_output else {name: record}, {"mine": stage} if as_output else {})
    write_bytes(tmp_path / MANIFEST_NAME, manifest.to_json())
    with pytest.raises(DataError, match="not a file inside the folder"):
        OutputFolder(tmp_path, overwrite=True)


def test_builds_and_files_of_others_below_a_folder_are_spared(tmp_path: Path) -> None:
    def work(folder: Location) -> StageResult[Any]:
        return StageResult((write_bytes(folder / "one.txt", b"1"),))

    inner = OutputFolder(tmp_path / "outer" / "inner")
    inner.run("theirs", parameters={}, inputs={}, work=lambda f: StageResult((write_bytes(f / "part-0.parquet", b""),)))
    outer = tmp_path / "outer"
    write_bytes(outer / "predictions" / "part-00000.parquet", b"a teacher's")
    with pytest.raises(UsageError, match="holds files but no"):
        OutputFolder(outer)
    (outer / "predictions" / "part-00000.parquet").unlink()
    (outer / "predictions").rmdir()
    write_bytes(outer / MANIFEST_NAME, Manifest().to_json())
    output = OutputFolder(outer, overwrite=True)
    write_bytes(outer / "predictions" / "part-00000.parquet", b"a teacher's")
    output.run("mine", parameters={}, inputs={}, work=work)
    output.run("mine", parameters={"more": 1}, inputs={}, work=work)
    assert (outer / "predictions" / "part-00000.parquet").read_bytes() == b"a teacher's"
    assert (outer / "inner" / "part-0.parquet").is_file()
    assert verify_folder(outer) == [
        "predictions/part-00000.parquet: is not in the manifest; remove it, or build the folder again"
    ]


def test_two_stages_do_not_share_a_folder_of_parts(tmp_path: Path) -> None:
    def work(folder: Location) -> StageResult[Any]:
        return StageResult((write_bytes(folder / "part-00000.parquet", b"1"),))

    output = OutputFolder(tmp_path / "out")
    output.run("annotations/a", parameters={}, inputs={}, work=work)
    with pytest.raises(UsageError, match="belongs to stage annotations/a"):
        output.run("annotations/b", parameters={}, inputs={}, work=work, beside=True)


@pytest.mark.parametrize("into", ["", "vocabulary"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_stage_of_the_folder_itself_is_the_only_one(tmp_path: Path, into: str, *, overwrite: bool) -> None:
    OutputFolder(tmp_path).run("vocabulary", parameters={}, inputs={}, work=Work("categories.parquet"), into=into)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    output = OutputFolder(tmp_path, overwrite=overwrite)
    told = "the folder holds another build: vocabulary; name another folder for annotations/a"
    with pytest.raises(UsageError, match=told):
        output.run("annotations/a", parameters={}, inputs={}, work=Work("part-0.parquet"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_another_run_writes_is_refused(tmp_path: Path) -> None:
    def work(folder: Location) -> StageResult[Any]:
        with pytest.raises(UsageError, match="another run is writing here"):
            OutputFolder(tmp_path / "out").run("other", parameters={}, inputs={}, work=work)
        return StageResult((write_bytes(folder / "one.txt", b"1"),))

    assert OutputFolder(tmp_path / "out").run("mine", parameters={}, inputs={}, work=work).fresh


def test_a_refused_run_leaves_all_that_the_other_is_writing(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def work(folder: Location) -> StageResult[Any]:
        partial = folder / f"{PARTIAL_PREFIX}one"
        part = write_bytes(folder / "part-00000.parquet", b"1")
        write_bytes(partial, b"half")
        with pytest.raises(UsageError, match="another run is writing here"):
            OutputFolder(out, overwrite=True).run("mine", parameters={"more": 1}, inputs={}, work=work)
        assert partial.is_file()
        return StageResult((part,))

    assert OutputFolder(out).run("mine", parameters={}, inputs={}, work=work).fresh
    assert verify_folder(out) == []


def test_a_journal_of_inputs_in_another_order_is_another(tmp_path: Path) -> None:
    one, other = ({name: name * 64 for name in order} for order in ("ab", "ba"))
    assert Journal.of(tmp_path, {"x": 1, "y": 2}, one) == Journal.of(tmp_path, {"y": 2, "x": 1}, one)
    assert Journal.of(tmp_path, {}, one) != Journal.of(tmp_path, {}, other)


def test_a_stage_of_another_run_since_the_folder_was_opened_is_kept(tmp_path: Path) -> None:
    def work(folder: Location) -> StageResult[Any]:
        return StageResult((write_bytes(folder / "part-00000.parquet", b"1"),))

    first, second = OutputFolder(tmp_path / "out"), OutputFolder(tmp_path / "out")
    first.run("mine", parameters={}, inputs={}, work=work)
    assert not second.run("mine", parameters={}, inputs={}, work=work).fresh
    first.run("other", parameters={}, inputs={}, work=work, into="other")
    second.run("third", parameters={}, inputs={}, work=work, into="third")
    assert set(read_manifest(tmp_path / "out").stages) == {"mine", "other", "third"}


def test_another_version_of_the_package_does_the_work_again(tmp_path: Path) -> None:
    def work(folder: Location) -> StageResult[Any]:
        return StageResult((write_bytes(folder / "one.txt", b"1"),))

    output = OutputFolder(tmp_path / "out", overwrite=True)
    output.run("mine", parameters={}, inputs={}, work=work)
    record = replace(output.manifest.stages["mine"], version="0.0.0")
    write_bytes(tmp_path / "out" / MANIFEST_NAME, Manifest(output.manifest.files, {"mine": record}).to_json())
    with pytest.raises(UsageError, match=r"built with version 0\.0\.0"):
        OutputFolder(tmp_path / "out").run("mine", parameters={}, inputs={}, work=work)
    assert OutputFolder(tmp_path / "out", overwrite=True).run("mine", parameters={}, inputs={}, work=work).fresh


def pair_table(rows: int) -> pa.Table:
    columns = {column.name: pa.array(range(rows), column.type) for column in schemas.PAIR_COUNTS.arrow}
    return pa.table(columns, schema=schemas.PAIR_COUNTS.arrow)


@pytest.fixture(name="built")
def _built(tmp_path: Path) -> Path:
    """Return a folder with a table of 40 rows and a text."""

    def work(folder: Location) -> StageResult[Any]:
        table = write_table(folder / "pairs.parquet", pair_table(40), schemas.PAIR_COUNTS, INPUTS)
        return StageResult((table, write_bytes(folder / "notes.txt", b"notes")))

    run(tmp_path, work, stage="pairs")
    assert verify_folder(tmp_path) == []
    return tmp_path


def test_a_missing_file_is_found(built: Path) -> None:
    (built / "pairs" / "notes.txt").unlink()
    assert verify_folder(built) == ["pairs/notes.txt: is missing; run the build again to restore it"]


def test_an_edit_of_the_same_length_is_found(built: Path) -> None:
    (built / "pairs" / "notes.txt").write_bytes(b"Notes")
    assert verify_folder(built) == ["pairs/notes.txt: its bytes changed; remove it and run the build again"]


def test_an_edit_of_another_length_is_found(built: Path) -> None:
    (built / "pairs" / "notes.txt").write_bytes(b"more notes")
    (problem,) = verify_folder(built)
    assert problem.startswith("pairs/notes.txt: 10 bytes where the manifest has 5")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("bytes", 7, "5 bytes where the manifest has 7"),
        ("rows", 39, "1 row more than the manifest: it has 40, not 39"),
        ("schema", "labels/1", f"its schema is {schemas.PAIR_COUNTS.label}, and the manifest has 'labels/1'"),
        ("sha256", "0" * 64, "its bytes changed"),
    ],
)
def test_a_record_that_is_not_of_its_file_is_found(built: Path, key: str, value: str | int, told: str) -> None:
    manifest = json.loads((built / MANIFEST_NAME).read_text())
    path = "pairs/notes.txt" if key == "bytes" else "pairs/pairs.parquet"
    manifest["files"][path][key] = value
    (built / MANIFEST_NAME).write_text(json.dumps(manifest))
    (problem,) = verify_folder(built)
    assert problem.startswith(f"{path}: {told}")


def test_a_record_that_is_lacking_is_told(built: Path) -> None:
    manifest = json.loads((built / MANIFEST_NAME).read_text())
    del manifest["files"]["pairs/notes.txt"]
    (built / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"files has no pairs/notes\.txt, which a stage wrote"):
        verify_folder(built)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_files_beside_what_only_is_called_a_manifest_are_strangers(built: Path, make: Callable[[Path], None]) -> None:
    (built / "inner").mkdir()
    (built / "inner" / "notes.txt").write_bytes(b"notes")
    make(built / "inner" / MANIFEST_NAME)
    assert [problem.partition(":")[0] for problem in verify_folder(built)] == ["inner/notes.txt"]


def test_tables_of_another_version_are_built_again_and_told(tmp_path: Path) -> None:
    older = schemas.TableSchema("pair_counts", 7, schemas.PAIR_COUNTS.arrow)
    calls: list[schemas.TableSchema] = []

    def write(schema: schemas.TableSchema) -> Callable[[Location], StageResult[Any]]:
        def work(folder: Location) -> StageResult[Any]:
            calls.append(schema)
            return StageResult((write_table(folder / "pairs.parquet", pair_table(1), schema, {}),))

        return work

    run(tmp_path, write(older), stage="pairs")
    told = "a table is pair_counts/7 and this version's are pair_counts/1"
    assert verify_folder(tmp_path) == [f"pairs/pairs.parquet: {told}; remove it and run the build again"]
    with pytest.raises(UsageError, match=f"in stage pairs, {told}; name another folder, or pass --overwrite"):
        run(tmp_path, write(schemas.PAIR_COUNTS), stage="pairs")
    assert run(tmp_path, write(schemas.PAIR_COUNTS), stage="pairs", overwrite=True).fresh
    assert calls == [older, schemas.PAIR_COUNTS]
    assert verify_folder(tmp_path) == []


def test_the_digest_of_a_stage_is_of_all_that_is_told_of_it_but_its_time(tmp_path: Path) -> None:
    def digest(**changes: object) -> str:
        opened = OutputFolder(tmp_path)
        record = replace(opened.manifest.stages["vocabulary"], **changes)  # type: ignore[arg-type]  # as its fields
        opened.manifest = Manifest(opened.manifest.files, {"vocabulary": record})
        return opened.content_digest("vocabulary")

    run(tmp_path, Work("a"))
    assert digest(seconds=99.0) == digest()
    others = {digest(summary={}), digest(parameters={}), digest(inputs={}), digest(outputs=()), digest(version="9")}
    assert len(others - {digest()}) == 5


@pytest.mark.parametrize(
    ("rows", "told"), [(39, "1 row fewer than the manifest: it has 39, not 40"), (1040, "1,000 rows more")]
)
def test_rows_that_came_or_went_are_counted(built: Path, rows: int, told: str) -> None:
    write_table(built / "pairs" / "pairs.parquet", pair_table(rows), schemas.PAIR_COUNTS, INPUTS)
    (problem,) = verify_folder(built)
    assert told in problem


@settings(max_examples=30)
@given(data=st.data())
def test_a_damaged_table_is_found_wherever_it_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    run(
        folder,
        lambda into: StageResult((write_table(into / "p.parquet", pair_table(40), schemas.PAIR_COUNTS, {}),)),
        stage="pairs",
    )
    path = folder / "pairs" / "p.parquet"
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans(), label="cut it off there"):
        del content[at:]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    (problem,) = verify_folder(folder)
    assert problem.startswith("pairs/p.parquet: ")
    assert problem.endswith("; remove it and run the build again")


def test_a_stranger_is_found(built: Path) -> None:
    write_bytes(built / "pairs" / "pairs-copy.parquet", b"")
    write_bytes(built / f"{PARTIAL_PREFIX}1-x", b"left by a cut run")
    assert verify_folder(built) == [
        "pairs/pairs-copy.parquet: is not in the manifest; remove it, or build the folder again"
    ]


class CutError(Exception):
    """Stands for the death of the process."""


def cut_after(count: int) -> Callable[[Location], StageResult[Any]]:
    """Return work that dies once it has written so many of its files."""

    def work(folder: Location) -> StageResult[Any]:
        for i in range(count):
            write_bytes(folder / f"part-{i}.parquet", b"of the cut run")
        raise CutError

    return work


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_cut_run_is_finished_by_the_next(tmp_path: Path, count: int) -> None:
    with pytest.raises(CutError):
        run(tmp_path, cut_after(count))
    if count:
        assert "vocabulary" not in read_manifest(tmp_path).stages
        assert verify_folder(tmp_path) == ["the command that writes it has not finished: run it again"]
    else:
        assert list(tmp_path.iterdir()) == [], "nothing was written: nothing is left"
    assert run(tmp_path, Work("part-0.parquet")).fresh
    assert sorted(snapshot(tmp_path)) == [MANIFEST_NAME, "vocabulary/part-0.parquet"], "nothing of the cut run remains"
    assert verify_folder(tmp_path) == []


def test_a_run_killed_after_the_record_of_its_stage_leaves_nothing_behind(tmp_path: Path) -> None:
    run(tmp_path, Work("part-0.parquet"))
    whole = snapshot(tmp_path)
    for name in (f"{BEGUN_PREFIX}vocabulary", f"vocabulary/{PARTIAL_PREFIX}done-part-00000"):
        (tmp_path / name).touch()
    (tmp_path / f"{PARTIAL_PREFIX}0a1b2c3d-{MANIFEST_NAME}").write_text("half of a manif")
    assert verify_folder(tmp_path)
    assert not run(tmp_path, Work("part-0.parquet")).fresh
    assert snapshot(tmp_path) == whole
    assert verify_folder(tmp_path) == []


def test_the_tables_of_a_stage_are_read_only_between_its_end_and_its_next_beginning(tmp_path: Path) -> None:
    work, table = Work("part-0.parquet", "part-1.parquet"), tmp_path / "vocabulary"
    with pytest.raises(CutError):
        run(tmp_path, cut_after(1))
    with pytest.raises(DataError, match="vocabulary: is not finished; run the same command again"):
        table_parts(table)
    assert run(tmp_path, work).fresh
    assert [part.name for part in table_parts(table)] == list(work.names)
    with pytest.raises(CutError):
        run(tmp_path, cut_after(1), stage="labels")
    assert len(table_parts(table)) == 2, "another stage's mark is none of this table's"
    with pytest.raises(CutError):
        run(tmp_path, cut_after(0), parameters={}, overwrite=True)
    with pytest.raises(DataError, match="is not finished"):
        table_parts(table)
    assert run(tmp_path, work).fresh
    assert len(table_parts(table)) == 2


def test_a_stage_reads_the_tables_of_earlier_ones_of_its_command(tmp_path: Path) -> None:
    found: list[str] = []

    def reads(folder: Location) -> StageResult[Any]:
        found.extend(part.name for part in table_parts(tmp_path / "vocabulary"))
        return Work("part-0.parquet")(folder)

    def command() -> None:
        opened = OutputFolder(tmp_path)
        with opened.held():
            opened.run("vocabulary", parameters={}, inputs={}, work=Work("part-0.parquet"), into="vocabulary")
            assert (tmp_path / f"{BEGUN_PREFIX}command").exists()
            opened.run("labels", parameters={}, inputs={}, work=reads, into="labels")
            opened.run("report", parameters={}, inputs={}, work=cut_after(1), beside=True)

    for _ in range(2):  # the second continues what the first began
        with pytest.raises(CutError):
            command()
    assert found == ["part-0.parquet"]
    assert len(table_parts(tmp_path / "labels")) == 1


def test_a_lost_part_is_told_to_readers_and_made_again_by_its_stage(tmp_path: Path) -> None:
    work = Work("part-0.parquet", "part-1.parquet")
    run(tmp_path, work)
    (tmp_path / "vocabulary" / "part-1.parquet").unlink()
    with pytest.raises(DataError, match=r"lacks part-1\.parquet, which its manifest lists; make it again"):
        table_parts(tmp_path / "vocabulary")
    assert run(tmp_path, work).fresh
    assert len(table_parts(tmp_path / "vocabulary")) == 2


def test_an_overwriting_run_that_is_cut_leaves_no_stage_that_looks_done(tmp_path: Path) -> None:
    work = Work("part-0.parquet", "part-1.parquet")
    run(tmp_path, work)
    with pytest.raises(CutError):
        run(tmp_path, cut_after(1), parameters={}, overwrite=True)
    assert "vocabulary" not in read_manifest(tmp_path).stages
    assert run(tmp_path, work).fresh
    assert verify_folder(tmp_path) == []


def test_a_folder_that_is_only_opened_or_refused_work_is_not_made(tmp_path: Path) -> None:
    def refuse(_: Location) -> StageResult[Any]:
        raise UsageError("there is nothing to do")

    OutputFolder(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="nothing to do"):
        run(tmp_path / "out", refuse)
    assert not (tmp_path / "out").exists()
    run(tmp_path / "out", Work("a"))
    with pytest.raises(UsageError, match="nothing to do"):
        run(tmp_path / "out", refuse, stage="other")
    assert verify_folder(tmp_path / "out") == []


def test_files_of_a_run_that_has_not_ended_are_no_strangers(tmp_path: Path) -> None:
    run(tmp_path, Work("a"))
    write_bytes(tmp_path / "labels" / "part-0.parquet", b"of a cut run")
    write_bytes(tmp_path / "labels" / f"{PARTIAL_PREFIX}done-0", b"its journal")
    assert verify_folder(tmp_path) == ["the command that writes it has not finished: run it again"]


def test_a_damaged_stage_with_a_journal_does_again_only_what_was_lost(tmp_path: Path) -> None:
    written: list[str] = []
    journal = Journal.of(tmp_path, {}, {})

    def work(folder: Location) -> StageResult[Any]:
        receipts: list[Receipt] = []
        for name in ("a", "b", "c"):
            done = journal.finished(name)
            if done is None:
                written.append(name)
                done = Finished((write_bytes(folder / name, name.encode()),), {})
                journal.record(name, done)
            receipts += done.receipts
        return StageResult(tuple(receipts))

    def jobs_of(receipts: Sequence[Receipt]) -> list[tuple[str, Finished]]:
        return [(receipt.path.name, Finished((receipt,), {})) for receipt in receipts]

    def build() -> StageOutcome[Any]:
        opened = OutputFolder(tmp_path)
        return opened.run("mine", parameters={}, inputs={}, work=work, journal=journal, jobs_of=jobs_of)

    first = build()
    (tmp_path / "b").unlink()
    assert build().record.outputs == first.record.outputs
    assert written == ["a", "b", "c", "b"]
    assert verify_folder(tmp_path) == []


KILLED = """
import sys, time
from pathlib import Path
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.tables.files import write_bytes, whole_file
def work(folder):
    write_bytes(folder / "part-0.parquet", b"of the killed run")
    with whole_file(folder / "part-1.parquet") as sink:
        sink.write(b"half of")
        print("writing", flush=True)
        time.sleep(60)
OutputFolder(Path(sys.argv[1])).run("vocabulary", parameters={}, inputs={}, work=work, into="vocabulary")
"""


def test_a_killed_run_is_finished_by_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "writing\n"
        builder.send_signal(signal.SIGKILL)
    assert (tmp_path / "vocabulary" / "part-0.parquet").exists()
    assert not (tmp_path / "vocabulary" / "part-1.parquet").exists()
    assert read_manifest(tmp_path).stages == {}
    assert run(tmp_path, Work("part-0.parquet"), parameters={}, inputs={}).fresh
    assert sorted(snapshot(tmp_path)) == [MANIFEST_NAME, "vocabulary/part-0.parquet"], (
        "nothing of the killed run remains"
    )
    assert verify_folder(tmp_path) == []
