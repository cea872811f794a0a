"""A tally counts the different images of each class, however files are cut and images divided."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from cli.main import main
from mlimages_dataset.augment import tally as tallying
from mlimages_dataset.augment.tally import images_of_classes
from mlimages_dataset.sources import pieces

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = ["a", "b", "c.jpg", "c", "x/d.png", "x/d", "ü"]
rows_of_files = st.lists(
    st.lists(st.tuples(st.sampled_from(IMAGES), st.sampled_from(["dog", "cat", "a, b"]), st.sampled_from("01"))),
    min_size=1,
    max_size=3,
)


def write_csv(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("image_id", "label", "confidence"), *rows])
    return path


@pytest.mark.parametrize("bucket_bytes", [8, 1 << 27])
@settings(max_examples=25)
@given(files=rows_of_files, piece_bytes=st.sampled_from([1, 50, 1 << 26]), absent=st.booleans())
def test_images_are_counted_once_however_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    bucket_bytes: int,
    files: list[list[tuple[str, str, str]]],
    piece_bytes: int,
    *,
    absent: bool,
) -> None:
    folder = tmp_path_factory.mktemp("tally")
    paths = [write_csv(folder / f"{number}.csv", rows) for number, rows in enumerate([*files, [("z", "dog", "1")]])]
    expected: dict[str, set[str]] = {"dog": {"z"}}
    for image, name, says in (row for rows in files for row in rows):
        if says == "1" or (absent and says == "0"):
            expected.setdefault(name, set()).add(image.removesuffix(".jpg").removesuffix(".png"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces, "PIECE_BYTES", piece_bytes)
        patched.setattr(tallying, "_BUCKET_BYTES", bucket_bytes)
        found, rejects = images_of_classes("csv", paths, folder / "out.csv", absent=absent)
    assert found == {name: len(images) for name, images in expected.items()}
    assert not rejects.count
    assert not list(folder.glob(".partial*"))


BAD_ROWS = {
    "csv": (
        "image_id,label,confidence\n",
        ["a,dog,1", "b,cat,1"],
        [",dog,1", "./,dog,1", "a,,1", "a,dog,1.2", "a,dog,no"],
    ),
    "open-images": (
        "ImageID,Source,LabelName,Confidence\n",
        ["a,human,dog,1", "b,human,cat,1"],
        [",human,dog,1", "./,human,dog,1", "a,human,,1", "a,human,dog,-1", "a,human,dog,often", "a,guess,dog,1"],
    ),
}


@pytest.mark.parametrize("form", list(BAD_ROWS))
@pytest.mark.parametrize("more", [0, 20_000], ids=["few rows", "rows for the compiled loop"])
def test_statements_that_cannot_be_used_are_counted_and_listed_as_annotate_does(
    tmp_path: Path, form: str, more: int
) -> None:
    header, good, bad = BAD_ROWS[form]
    rows = [good[0].replace("a", f"more{k}", 1) for k in range(more)]
    path = tmp_path / "said.csv"
    path.write_text(header + "\n".join([*good, *bad, *rows]) + "\n")
    counted, log = images_of_classes(form, [path], tmp_path / "out.csv")
    assert counted == {"dog": 1 + more, "cat": 1}
    assert (log.n_malformed, log.count) == (len(bad), 0)
    vocabulary = ml.build_vocabulary(classes={"p": pd.DataFrame({"id": ["dog", "cat"], "name": ["dog", "cat"]})})
    with pytest.warns(UserWarning, match="left out"):
        told = ml.annotate(path, vocabulary, format=form, ids_of="p").summary
    assert told is not None
    assert told.malformed == log.n_malformed
    assert [one.by_name for one in log.malformed] == list(told.first_malformed)


@pytest.mark.parametrize("n_bad", [3, 10, 12])
def test_the_command_tells_what_it_leaves_out(tmp_path: Path, n_bad: int) -> None:
    path = tmp_path / "said.csv"
    path.write_text("image_id,label,confidence\na,dog,1\n" + "b,dog,2e-1x\n" * n_bad + "c,dog\n" * n_bad)
    ran = CliRunner().invoke(main, ["tally", "--format", "csv", str(path), "--out", str(tmp_path / "out.csv")])
    assert ran.exit_code == 0, ran.output
    told = ran.output.splitlines()
    assert f"{n_bad:>12,}  statements without image id, class or valid confidence" in told
    for what in ("rejected", "malformed"):
        lines = [line for line in told if line.startswith(f"{what}: ")]
        assert len(lines) == min(n_bad, 10) + (n_bad > 10)
        assert (lines[-1] == f"{what}: and 2 more") == (n_bad > 10)
    assert any(line.endswith("said.csv, line 3: no confidence from 0 to 1: 'b,dog,2e-1x'") for line in told)
