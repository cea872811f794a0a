"""Each bad input gets one sentence that names file and line; nothing is left that looks done."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.pipeline.records import FileRecord, Manifest, StageRecord, read_manifest
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.vocab.packaged import packaged_class_list

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Ran

LABELS_HEADER = "ImageID,Source,LabelName,Confidence\n"
CYCLE = """
[[add_edge]]
child = "n00015388"
parent = "n02084071"
reason = "turns in a circle"
"""
OUTSIDE = """
[[add_edge]]
child = "n99999999"
parent = "n02084071"
reason = "there is no such synset"
"""


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad input: the words before it, its content (None: no such file), the exit code, and what must be told.

    `{file}` in the words is the bad file, `{inputs}` and `{build}` the golden inputs and build.
    """

    words: str
    content: str | bytes | None
    code: int
    told: str
    line: int | None = None


VOCAB, ANNOTATE = "vocab --imagenet {inputs}/synsets.txt", "annotate --vocab {build}/vocabulary"
CASES = {
    "synsets: missing": Bad("vocab --imagenet {file}", None, 2, "there is no such file"),
    "synsets: empty": Bad("vocab --imagenet {file}", "", 1, "is empty"),
    "synsets: malformed": Bad("vocab --imagenet {file}", "n02084071\n\ndog\n", 1, "does not begin with a wnid", 3),
    "synsets: binary": Bad("vocab --imagenet {file}", gzip.compress(b"n02084071"), 1, "is not a text file"),
    "classes: header": Bad("vocab --open-images {file}", "id,name\n", 1, "is not an Open Images id", 1),
    "classes: quote": Bad("vocab --open-images {file}", '/m/1,a\n/m/2,"b\n', 1, "is not CSV there", 2),
    "classes: own": Bad("vocab --classes mine={file}", "id,title\n1,dog\n", 1, "no column name", 1),
    "classes: short": Bad(
        "vocab --classes mine={file}", "id,name\n1,dog\n2\n", 1, "1 fields where the header has 2", 3
    ),
    "counts: header": Bad(VOCAB + " --image-counts {file}", "wnid,images\n", 1, "no columns source, source_id", 1),
    "counts: number": Bad(
        VOCAB + " --image-counts {file}", "source,source_id,images\na,b,many\n", 1, "'many' is not a number", 2
    ),
    "reviewed: no TOML": Bad(VOCAB + " --reviewed {file}", "[[match]\n", 2, "TOML"),
    "reviewed: cycle": Bad(VOCAB + " --reviewed {file}", CYCLE, 1, "cycle"),
    "reviewed: outside": Bad(VOCAB + " --reviewed {file}", OUTSIDE, 1, "n99999999"),
    "hierarchy": Bad(VOCAB + " --box-hierarchy {file}", "{", 1, "is not Open Images' box hierarchy"),
    "dictionary: header": Bad("vocab --tencent-dictionary {file}", "0\tn1\t-1\tx\n", 1, "does not begin with", 1),
    "list: missing": Bad(ANNOTATE + " --format imagenet {file}", None, 2, "there is no such file"),
    "list: empty": Bad(ANNOTATE + " --format imagenet {file}", "", 1, "is empty"),
    "list: unknown": Bad(ANNOTATE + " --format imagenet {file}", "n99999999_1\n", 1, "unknown classes ('n99999999')"),
    "labels: header": Bad(ANNOTATE + " --format open-images {file}", "a,b,c\n", 1, "has neither LabelName", 1),
    "labels: nothing": Bad(ANNOTATE + " --format open-images {file}", LABELS_HEADER, 1, "no image keeps a label"),
    "csv: column": Bad(ANNOTATE + " --format csv {file}", "image_id,class\n", 1, "no column label", 1),
    "csv: latin-1": Bad(ANNOTATE + " --format csv {file}", b"image_id,label\n\xe9,\xe9\n", 1, "1 malformed rows"),
    "csv: no class": Bad(ANNOTATE + " --format csv {file}", "image_id,label\na,\n", 1, "1 malformed rows"),
    "parquet: text": Bad(ANNOTATE + " --format parquet {file}", "a,b\n", 1, "cannot be read as a Parquet file"),
    "parquet: truncated": Bad(
        ANNOTATE + " --format parquet {file}", b"PAR1" + b"x" * 99, 1, "cannot be read as a Parquet file"
    ),
    "parquet: missing": Bad(ANNOTATE + " --format parquet {file}", None, 2, "there is no such file"),
    "tally: parquet": Bad("tally --format parquet {file}", "a,b\n", 1, "cannot be read as a Parquet file"),
    "tally: missing": Bad("tally --format csv {file}", None, 2, "there is no such file"),
    "tencent: empty": Bad(ANNOTATE + " --format tencent {file}", "", 1, "is empty"),
    "tencent: cut": Bad(ANNOTATE + " --format tencent {file}", "http://a\t1\n", 1, "1 malformed rows"),
    "tally: empty": Bad("tally --format csv {file}", "", 1, "is empty"),
    "audit: missing": Bad("audit --vocab {build}/vocabulary {file}", None, 2, "there is no such file"),
    "audit: empty": Bad("audit --vocab {build}/vocabulary {file}", "", 1, "is empty"),
    "implications: text": Bad(
        "labels --vocab {build}/vocabulary --annotations {build}/annotations --workers 1 --implications {file}",
        "a,b\n",
        1,
        "cannot be read as a Parquet file",
    ),
    "recipe: missing": Bad("run {file}", None, 2, "cannot be read"),
    "recipe: key": Bad("run {file}", "[vocabluary]\n", 2, "did you mean vocabulary?"),
}


def _result(ran: Ran) -> str:
    """Return what a command printed, but the line with which `run` begins."""
    return re.sub(r"\ABuilding .* \.\.\.\n", "", ran.out)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_gets_one_sentence(
    name: str, golden_inputs: Path, golden_build: Path, command: Command, tmp_path: Path
) -> None:
    bad, file, out = CASES[name], tmp_path / "bad-file", tmp_path / "out"
    if bad.content is not None:
        file.write_bytes(bad.content if isinstance(bad.content, bytes) else bad.content.encode())
    words = [w.format(file=file, inputs=golden_inputs, build=golden_build) for w in bad.words.split()]
    if words[0] != "audit":
        words += ["--out", str(out / "counts.csv" if words[0] == "tally" else out)]
    ran = command(*words)
    assert (ran.code, _result(ran)) == (bad.code, "")
    assert bad.told in ran.err
    assert ran.err.startswith("Error: ")
    assert ran.err.count("\n") == 1, "one sentence, one line"
    assert "Traceback" not in ran.err
    place = f"{file}, line {bad.line}: " if bad.line else str(file)
    assert place in ran.err
    assert not list(tmp_path.rglob("*.parquet")), "nothing half-written"
    assert not list(tmp_path.rglob("counts.csv"))
    if (out / MANIFEST_NAME).exists():
        assert not read_manifest(out).stages, "nothing counts as done"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("annotate --vocab {empty} --format csv {inputs}/own.csv", "categories.parquet: "),
        ("labels --vocab {build}/vocabulary --annotations {empty} --workers 1", "there is no part-*.parquet in it"),
        (
            "cooccurrence --vocab {build}/vocabulary --annotations {build}/annotations/imagenet --predictions {empty}",
            "there is no part-*.parquet in it",
        ),
        ("verify {empty}", "there is no manifest.json in it"),
        ("report {empty}", "there is no manifest.json in it"),
    ],
)
def test_an_empty_folder_gets_one_sentence(
    *, words: str, told: str, golden_inputs: Path, golden_build: Path, command: Command, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    call = [w.format(empty=empty, inputs=golden_inputs, build=golden_build) for w in words.split()]
    ran = command(*call, *([] if call[0] in {"verify", "report"} else ["--out", str(tmp_path / "out")]))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert str(empty) in ran.err
    assert told in ran.err


def test_labels_of_another_vocabulary_are_refused(golden_build: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("n02084071\n")
    assert command("vocab", "--imagenet", tmp_path / "one.txt", "--out", tmp_path / "v").code == 0
    annotations = golden_build / "annotations/imagenet"
    ran = command(
        *("labels", "--vocab", tmp_path / "v", "--annotations", annotations, "--workers", "1"),
        *("--out", tmp_path / "out"),
    )
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"Error: {annotations}/part-00000.parquet: it was made with another vocabulary")
    # Found by the digest, not by an index out of range: a larger vocabulary is refused too.
    assert command("vocab", "--imagenet", packaged_class_list("imagenet11k.txt"), "--out", tmp_path / "large").code == 0
    ran = command(
        *("labels", "--vocab", tmp_path / "large", "--annotations", annotations, "--workers", "1"),
        *("--out", tmp_path / "out"),
    )
    assert (ran.code, ran.out) == (2, "")
    assert "it was made with another vocabulary" in ran.err


def damaged_parquet(path: Path) -> Path:
    """Write a Parquet file with a good footer and a damaged page."""
    table = pa.table({"image_id": [f"image{n:05d}" for n in range(5000)], "label": ["n02084071"] * 5000})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[60:400] = bytes(340)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("call", ["annotate --vocab {build}/vocabulary --format parquet", "tally --format parquet"])
def test_a_damaged_page_gets_one_sentence(
    call: str, workers: str, golden_build: Path, command: Command, tmp_path: Path
) -> None:
    file = damaged_parquet(tmp_path / "damaged")
    words = call.format(build=golden_build).split()
    out = tmp_path / ("counts.csv" if words[0] == "tally" else "out")
    ran = command(*words, file, "--workers", workers, "--out", out)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"Error: {file}: cannot be read to its end (")
    assert ran.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        "annotate --vocab {build}/vocabulary --format csv {inputs}/own.csv --out {out}",
        "tally --format csv {inputs}/own.csv --out {out}/counts.csv",
        "audit --vocab {build}/vocabulary {build}/labels",
        "export --vocab {build}/vocabulary --format csv {build}/labels --out {out}",
        "evaluate-labels --vocab {build}/vocabulary --truth {build}/annotations/imagenet",
    ],
)
def test_a_dask_address_where_nobody_answers_gets_one_sentence(
    call: str, golden_inputs: Path, golden_build: Path, command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    words = call.format(inputs=golden_inputs, build=golden_build, out=tmp_path / "out").split()
    ran = command(*words, "--dask", "tcp://127.0.0.1:9")
    assert (ran.code, _result(ran)) == (2, "")
    assert ran.err.startswith("Error: tcp://127.0.0.1:9: no Dask scheduler answers; start one")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("content", ["notes.txt", "deep/notes.txt"])
def test_a_folder_of_somebody_else_is_left_alone(
    content: str, golden_inputs: Path, command: Command, tmp_path: Path
) -> None:
    (tmp_path / content).parent.mkdir(exist_ok=True)
    (tmp_path / content).write_text("mine")
    for more in ([], ["--overwrite"]):
        ran = command("run", golden_inputs / "recipe.toml", "--out", tmp_path, "--workers", "1", *more)
        assert (ran.code, _result(ran)) == (2, "")
        assert f"Error: {tmp_path}: the folder holds files but no manifest.json; name a new or an empty" in ran.err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["notes.txt"]


def test_a_damaged_manifest_gets_one_sentence(command: Command, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text('{"format": ')
    ran = command("verify", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"Error: {tmp_path / MANIFEST_NAME}: is not a complete manifest")


@pytest.mark.parametrize(("change", "told"), [("duplicate rows", "merged"), ("crlf", None), ("bom", None)])
def test_what_can_be_read_is_read_and_counted(
    *, change: str, told: str | None, golden_inputs: Path, golden_build: Path, command: Command, tmp_path: Path
) -> None:
    content = (golden_inputs / "own.csv").read_bytes()
    changed = {
        "duplicate rows": content + content.partition(b"\n")[2],
        "crlf": content.replace(b"\n", b"\r\n"),
        "bom": b"\xef\xbb\xbf" + content,
    }[change]
    (tmp_path / "own.csv").write_bytes(changed)
    vocabulary = golden_build / "vocabulary"
    ran = command("annotate", "--vocab", vocabulary, "--format", "csv", tmp_path / "own.csv", "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (0, "")
    assert "           3  labels\n" in ran.out
    assert ("statements merged" in ran.out) == (told == "merged")


OVERWRITING = (
    "vocab --imagenet {inputs}/synsets.txt",
    "annotate --vocab {build}/vocabulary --format imagenet {inputs}/imagenet.txt",
    "labels --vocab {build}/vocabulary --annotations {build}/annotations --workers 1",
    "export --vocab {build}/vocabulary --format csv --workers 1 {build}/labels",
    "run {inputs}/recipe.toml",
)


@pytest.mark.parametrize("words", OVERWRITING)
def test_overwriting_a_strangers_folder_removes_nothing_outside_of_it(
    words: str, golden_inputs: Path, golden_build: Path, command: Command, tmp_path: Path
) -> None:
    victim, out = tmp_path / "victim.txt", tmp_path / "out"
    victim.write_bytes(b"somebody's only copy")
    out.mkdir()
    (out / "link").symlink_to("..")
    record = FileRecord(-1, victim.stat().st_size, "", "")
    stages = ("vocabulary", "annotations/imagenet", "labels", "export")
    one = StageRecord({}, {}, ("link/victim.txt",), 0.0, {})
    manifest = Manifest({"link/victim.txt": record}, dict.fromkeys(stages, one))
    (out / MANIFEST_NAME).write_bytes(manifest.to_json())
    ran = command(*words.format(inputs=golden_inputs, build=golden_build).split(), "--out", str(out), "--overwrite")
    assert (ran.code, ran.out) == (1, "")
    assert "it names 'link/victim.txt', which is not a file inside the folder; do not trust it" in ran.err
    assert ran.err.count("\n") == 1
    assert victim.read_bytes() == b"somebody's only copy"
