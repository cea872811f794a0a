"""Whoever joins tables is told how many ids several rows have, by source or within one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.augment.labels_stage import label
from mlimages_dataset.augment.shared_ids import LISTED_IDS, SharedIds, shared_ids
from mlimages_dataset.exports.export import export
from mlimages_dataset.exports.registry import FORMATS, WITHOUT_SOURCES
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.tables.parquet import table_parts, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS
from tests.augment.tables import table_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from mlimages_dataset.vocab.vocabulary import Vocabulary

ROWS = st.lists(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["s", "t", "u"])), max_size=12))


def written(folder: Path, rows: list[tuple[str, str]], number: int = 0) -> Path:
    """Write a part with an image id and a source a row."""
    table = table_of([(image, {number: (1.0, 0)}) for image, _ in rows], ANNOTATIONS)
    table = table.set_column(
        1, ANNOTATIONS.arrow.field("source"), pa.array([source for _, source in rows], pa.string())
    )
    write_table(folder / f"part-{number:05d}.parquet", table, ANNOTATIONS, {})
    return folder


@settings(max_examples=15)
@given(parts=ROWS)
def test_shared_ids_are_those_that_counting_finds(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    for number, rows in enumerate(parts):
        written(folder, rows, number)
    of_row = Counter(row for rows in parts for row in rows)
    sources: dict[str, list[int]] = {}
    for (image, _), n in of_row.items():
        sources.setdefault(image, []).append(n)
    several = [image for image, ns in sources.items() if len(ns) > 1]
    within = [image for image, ns in sources.items() if max(ns) > 1]
    found = shared_ids(sorted(folder.glob("part-*")), (LABELS, ANNOTATIONS), folder / "scratch")
    assert (found.ids, found.of_several_sources, found.within_a_source) == (
        len({*several, *within}),
        len(several),
        len(within),
    )
    first = [one.partition(" ")[0] for one in found.first]
    assert first == sorted({*several, *within})[:LISTED_IDS]


def test_equal_ids_of_two_sources_are_kept_apart_and_told(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    left = written(tmp_path / "left", [("only", "a"), ("rex", "a")])
    right = written(tmp_path / "right", [("rex", "b"), ("tom", "b")])
    result = label(mini_vocabulary, [left, right], Workplace(tmp_path / "labels"))
    assert result.summary.shared_ids == SharedIds(1, 1, 0, ("rex (a and b)",))
    (told,) = [line for line in result.summary.findings() if "image ids" in line]
    assert told.startswith("1 image ids stand in several sources: their rows are kept apart by source")
    rows = [
        (row["image_id"], row["source"])
        for part in table_parts(tmp_path / "labels")
        for row in pq.read_table(part).to_pylist()
    ]
    assert sorted(rows) == [("only", "a"), ("rex", "a"), ("rex", "b"), ("tom", "b")]
    for form in FORMATS:
        summary = export(mini_vocabulary, tmp_path / "labels", form, Workplace(tmp_path / form)).summary
        unsaid = form in WITHOUT_SOURCES
        assert summary.images_of_several_rows == int(unsaid), form
        assert any("image ids of several rows" in line for line in summary.lines()) == unsaid


def test_equal_ids_of_one_source_are_told(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    left, right = (written(tmp_path / name, [("rex", "a")]) for name in ("left", "right"))
    summary = label(mini_vocabulary, [left, right], Workplace(tmp_path / "labels")).summary
    assert summary.shared_ids == SharedIds(1, 0, 1, ("rex (a)",))
    assert "1 image ids have several rows of one source, which nothing keeps apart, such as rex (a)" in summary.lines()


def test_equal_names_in_two_folders_are_told(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    wnid = mini_vocabulary.categories[-1].wnid
    for name in (f"x/photos/{wnid}/rex.jpg", f"y/photos/{wnid}/rex.jpg", f"y/photos/{wnid}/tom.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folders = (tmp_path / "x" / "photos", tmp_path / "y" / "photos")
    for files, several in ((folders, 1), (folders[:1], 0), (folders[1:], 0)):
        given_files = AnnotatedFiles(name="s", format="imagenet", files=files)
        summary = annotate(mini_vocabulary, given_files, Workplace(tmp_path / f"out-{len(files)}-{several}")).summary
        assert summary.images_of_several_names == several
        assert summary.first_names == (f"photos (2)/{wnid}/rex.jpg and photos/{wnid}/rex.jpg",) * several
