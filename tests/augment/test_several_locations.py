"""Images of which rows state several locations are counted, however rows are cut into files, blocks and ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment import runs
from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.augment.annotation_counts import LISTED_NAMES
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.sources import pieces as pieces_module
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, TableSchema

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.augment.annotation_counts import AnnotationSummary
    from mlimages_dataset.vocab.vocabulary import Vocabulary

Row = tuple[str, str]
ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "http://1", "http://2", "é/3"])), max_size=9)


def write(path: Path, rows: list[Row], form: str) -> Path:
    """Write rows of an image and a location."""
    columns = dict(zip(("image_id", "location"), map(list, zip(*rows, strict=True)), strict=True))
    columns |= {"label": ["/m/0k4j"] * len(rows), "confidence": [0.5] * len(rows)}
    if form == "parquet":
        pq.write_table(pa.table(columns), path, row_group_size=2)
    else:
        lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join([",".join(columns), *lines]))
    return path


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(ROWS.filter(bool), min_size=1, max_size=3),
    form=st.sampled_from(["csv", "parquet"]),
    size=st.sampled_from([40, 1 << 20]),
    range_images=st.sampled_from([1, 100]),
    schema=st.sampled_from([ANNOTATIONS, PREDICTIONS]),
)
def test_they_are_counted_and_the_first_listed_with_two_locations(  # noqa: PLR0917 - of pytest and Hypothesis
    mini_vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[Row]],
    form: str,
    size: int,
    range_images: int,
    schema: TableSchema,
) -> None:
    folder = tmp_path_factory.mktemp("locations")
    files = tuple(write(folder / f"{n}.{form}", rows, form) for n, rows in enumerate(parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "PIECE_BYTES", size)
        patch.setattr(runs, "PART_IMAGES", range_images)
        summary = summary_of(mini_vocabulary, folder, files, form, schema)
    stated = {
        image: sorted({place for part in parts for one, place in part if one == image} - {""}) for image in "abcd"
    }
    several = {image: places for image, places in stated.items() if len(places) > 1}
    assert summary.images_of_several_locations == len(several)
    assert summary.first_locations == tuple(f"{one}: {of[0]} and {of[-1]}" for one, of in several.items())
    told = [line for line in summary.findings() if "several locations" in line]
    assert len(told) == bool(several)
    rows = [row for part in table_parts(folder / "out") for row in read_table(part, schema).to_pylist()]
    found = {row["image_id"]: row["location"] for row in rows}
    assert found == {image: (stated[image] or [""])[0] for image in sorted({one for part in parts for one, _ in part})}


def test_the_list_is_short(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    rows = [(f"{n:03}", place) for n in range(3 * LISTED_NAMES) for place in ("x", "y")]
    summary = summary_of(mini_vocabulary, tmp_path, (write(tmp_path / "a.csv", rows, "csv"),), "csv", ANNOTATIONS)
    assert summary.images_of_several_locations == 3 * LISTED_NAMES
    assert summary.first_locations == tuple(f"{n:03}: x and y" for n in range(LISTED_NAMES))


def summary_of(
    vocabulary: Vocabulary, folder: Path, files: tuple[Path, ...], form: str, schema: TableSchema
) -> AnnotationSummary:
    """Return what became of the statements of files."""
    given_files = AnnotatedFiles(name="mine", format=form, files=files)
    return annotate(vocabulary, given_files, Workplace(folder / "out"), schema=schema).summary
