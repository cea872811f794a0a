"""Images whose id has blanks at an end are counted and listed, in whatever format and however rows are cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment import runs
from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.augment.annotation_counts import LISTED_NAMES
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.sources import pieces as pieces_module
from mlimages_dataset.sources import usual_rows

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.augment.annotation_counts import AnnotationSummary
    from mlimages_dataset.vocab.vocabulary import Vocabulary

NAMES = ["a.jpg", " a.jpg", "a.jpg ", "a", "a ", "\u3000b.png", "b b.png", "c\u00a0", "c .jpg", "d/ e", " "]


def write(folder: Path, names: list[str], form: str) -> Path:
    """Write a car in each image."""
    rows = [{"image_id": name, "label": "/m/0k4j"} for name in names]
    path = folder / f"a.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    elif form == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        path.write_text("image_id,label\n" + "".join(f"{name},/m/0k4j\n" for name in names))
    return path


def summary_of(vocabulary: Vocabulary, path: Path, form: str) -> AnnotationSummary:
    given_files = AnnotatedFiles(name="mine", format=form, files=(path,))
    return annotate(vocabulary, given_files, Workplace(path.parent / "out")).summary


@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=12),
    form=st.sampled_from(["csv", "jsonl", "parquet"]),
    size=st.sampled_from([40, 1 << 20]),
    range_images=st.sampled_from([1, 100]),
)
def test_each_is_counted_once_and_the_first_are_listed_in_quotes(
    mini_vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    names: list[str],
    form: str,
    size: int,
    range_images: int,
) -> None:
    path = write(tmp_path_factory.mktemp("blanks"), names, form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "PIECE_BYTES", size)
        patch.setattr(runs, "PART_IMAGES", range_images)
        summary = summary_of(mini_vocabulary, path, form)
    blank = {image_id(name) for name in names if name != name.strip()}
    assert summary.images_with_blanks == len(blank)
    assert len(summary.first_with_blanks) == len(blank)
    assert set(summary.first_with_blanks) <= {repr(name) for name in names}
    assert any("blanks at an end" in line for line in summary.findings()) == bool(blank)


def test_compiled_loops_tell_the_same(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    names = [*(name for name in NAMES if name.isascii()), *(f" {n}.jpg" for n in range(LISTED_NAMES))]
    path = write(tmp_path, names * 9, "csv")
    expected = summary_of(mini_vocabulary, path, "csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual_rows, "COMPILED_BYTES", 1)
        assert summary_of(mini_vocabulary, path, "csv") == expected
    assert expected.images_with_blanks == len({image_id(name) for name in names if name != name.strip()})
    assert len(expected.first_with_blanks) == LISTED_NAMES
    assert [line for line in expected.lines() if line.startswith("blanks: and")]


def test_a_trimmed_table_has_none(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image_id, label\na.jpg , /m/0k4j\n")
    assert summary_of(mini_vocabulary, path, "csv").images_with_blanks == 0
