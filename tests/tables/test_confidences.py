"""A confidence strictly between 0 and 1 stays there in every reader and in everything that computes confidences."""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment.ancestors import augment, augmentation_rules
from mlimages_dataset.augment.annotations import STATEMENTS, lookup_table, packed_statements
from mlimages_dataset.augment.cooccurrence import PairCounts, implications_table
from mlimages_dataset.augment.merged import annotation_batches
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.exports.tencent import _decimals
from mlimages_dataset.sources.registry import pieces_of, source_named
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.tables import confidences
from mlimages_dataset.tables.confidences import LEAST, MOST, how_to_write, of_texts
from mlimages_dataset.tables.label_columns import LabelColumns, columns_of
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, TableSchema

if TYPE_CHECKING:
    from pathlib import Path

EXACT = decimal.Context(prec=2000, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)


def truly(text: str) -> float | None:
    """Return the float32 that a decimal must become, by exact arithmetic; None where it is no number from 0 to 1."""
    value = Decimal(text, EXACT)
    if not value.is_finite() or not 0 <= value <= 1:
        return None
    if value in {0, 1}:
        return float(value)
    return float(min(max(np.float32(float(value)), LEAST), MOST))


BETWEEN = (
    "0.99999999",
    "0.9999999999999999",
    "0.99999999999999999999",
    "9.9999999999999999999e-1",
    "999999999999999999999999e-24",
    "0." + "9" * 500,
    "0.5",
    "0.8",
    "5e-1",
    ".25",
    "1e-45",
    "1e-46",
    "1E-50",
    "1e-400",
    "9999999999999999e-999",
    "0." + "0" * 400 + "1",
    "0.00000001",
)
ENDS = ("0", "1", "0.0", "1.0", "1.", "0e5", "0e-999", "10e-1", "0.1e1", "1e0", "0.000", "1.000", "001", "100e-2")
OUTSIDE = ("1.1", "1.5", "1e400", "1.0000001")
"""Those of another scale, such as 2 and 10, are refused with their file."""
NO_NUMBERS = ("nan", "inf", "-0.1", "-1e-50", "-1", "x", "1,1")


def test_the_bounds_are_the_floats_beside_0_and_1() -> None:
    assert (float(LEAST), float(MOST)) == (2.0**-149, 1 - 2.0**-24)
    assert LEAST.dtype == MOST.dtype == np.float32


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0, 5e-324, 1e-50, 1 - 2**-53, 1 - 2**-25, math.nan])))
def test_rounding_keeps_the_open_interval_and_its_ends(values: list[float]) -> None:
    found = confidences.rounded(np.array(values, np.float64))
    assert found.dtype == np.float32
    for value, rounded in zip(values, found.tolist(), strict=True):
        if math.isnan(value):
            assert math.isnan(rounded)
        elif value in {0, 1}:
            assert rounded == value
        else:
            assert 0 < rounded < 1
            assert rounded == np.clip(np.float32(value), LEAST, MOST)


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0])))
def test_a_model_verifies_nothing(values: list[float]) -> None:
    found = confidences.of_a_model(np.array(values, np.float32))
    assert np.all((found > 0) & (found < 1))


decimals = st.builds(
    "{}{}{}".format,
    st.sampled_from(["0.", "1.", ".", "00.", "0", "1", "9", "99."]),
    st.text("0189", min_size=1, max_size=40)
    | st.builds("{}{}".format, st.sampled_from(["9" * 20, "0" * 20]), st.text("019")),
    st.just("") | st.builds("e{}".format, st.integers(-420, 3)),
)


@given(st.lists(decimals, min_size=1))
@pytest.mark.slow
def test_texts_are_read_as_exact_arithmetic_reads_them(texts: list[str]) -> None:
    wanted = [truly(text) for text in texts]
    told = confidences.of_texts(pa.array(texts, pa.string())).to_pylist()
    assert [None if one is None else float(one) for one in told] == wanted
    quoted = ", ".join(f"('{text}')" for text in texts)
    with duckdb.connect() as connection:
        query = f"SELECT {confidences.sql_of_text('t')} FROM (VALUES {quoted}) AS texts(t)"  # noqa: S608 - our texts
        rows = connection.sql(query).fetchall()
        assert [one for (one,) in rows] == wanted


def read(form: str, path: Path, schema: TableSchema = ANNOTATIONS) -> tuple[dict[str, float], int, int]:
    """Return the confidence of each image's label as a table has it, and the rows malformed and rejected."""
    found: dict[str, float] = {}
    malformed, log = 0, RejectLog()
    class_id = "7" if form == "tencent" else "/m/1" if form == "open-images" else "n00000001"
    with duckdb.connect() as connection:
        for piece in pieces_of(form, [path]):
            for block in source_named(form).observe(lambda: connection, piece, log):
                statements = pa.Table.from_batches(packed_statements(block, piece, lookup_table({class_id: 7}))).select(
                    STATEMENTS.arrow.names
                )
                for table, counts in annotation_batches(
                    statements, "\U0010ffff", source="s", min_confidence=0.0, schema=schema
                ):
                    malformed += counts.malformed
                    columns = columns_of(table["labels"].combine_chunks())
                    found |= dict(zip(table["image_id"].to_pylist(), columns.confidence.tolist(), strict=True))
    return found, malformed, log.count


def in_a_table(value: float) -> float:
    """Return what a table of annotations makes of a float32: small ones become whole steps of 2^-40, upwards."""
    return max(value, 2.0**-40) if 0 < value < 2.0**-17 else value


@pytest.mark.parametrize("form", ["csv", "open-images", "tencent", "parquet"])
@pytest.mark.parametrize("extreme", [False, True])
def test_every_format_keeps_confidences_between_0_and_1(tmp_path: Path, form: str, *, extreme: bool) -> None:
    between = [text for text in BETWEEN if extreme or 0 < float(text) < 1]
    texts = [*between, *ENDS, *OUTSIDE]
    if form != "tencent":
        texts += [text for text in NO_NUMBERS if "," not in text]
    ids = [f"i{k:03d}" for k in range(len(texts))]
    path = tmp_path / "stated"
    match form:
        case "csv":
            lines = ["image_id,label,confidence", *(f"{i},n00000001,{t}" for i, t in zip(ids, texts, strict=True))]
        case "open-images":
            lines = [
                "ImageID,Source,LabelName,Confidence",
                *(f"{i},human,/m/1,{t}" for i, t in zip(ids, texts, strict=True)),
            ]
        case _:
            lines = [f"{i}\t7:{t}" for i, t in zip(ids, texts, strict=True)]
    if form == "parquet":
        pq.write_table(pa.table({"image_id": ids, "label": ["n00000001"] * len(ids), "confidence": texts}), path)
    else:
        path.write_text("\n".join(lines) + "\n")
    found, malformed, rejected = read(form, path)
    wanted = {}
    for image_id, text in zip(ids, texts, strict=True):
        value = truly(text) if text not in NO_NUMBERS or text.startswith("-") else None
        if value is not None:
            wanted[image_id] = value
    assert found.keys() == wanted.keys()
    for image_id, value in found.items():
        assert value == pytest.approx(in_a_table(wanted[image_id]), rel=1e-6), texts[ids.index(image_id)]
        assert (value in {0, 1}) == (wanted[image_id] in {0, 1}), texts[ids.index(image_id)]
    assert malformed + rejected == len(texts) - len(wanted)


def stored(values: pa.Array, folder: Path) -> tuple[list[float | None], int]:
    """Return what a Parquet column of confidences becomes, None for what is malformed."""
    ids = [f"i{k:03d}" for k in range(len(values))]
    table = pa.table({"image_id": ids, "label": ["n00000001"] * len(ids), "confidence": values})
    pq.write_table(table, folder / "stated.parquet")
    found, malformed, _ = read("parquet", folder / "stated.parquet")
    return [found.get(image_id) for image_id in ids], malformed


MOST_DIGITS = Decimal("0." + "9" * 37)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array([0.99999999, 1e-50, 5e-324, 1.0, 0.0, 1 - 2**-53]), [MOST, 2**-40, 2**-40, 1, 0, MOST]),
        (pa.array([0.5, 1.0, 0.0, 1e-45], pa.float32()), [0.5, 1, 0, 2**-40]),
        (pa.array(np.array([0.5, 1, 0, 1 - 2**-11], np.float16)), [0.5, 1, 0, 1 - 2**-11]),
        (pa.array([MOST_DIGITS, 1 - MOST_DIGITS, Decimal(1), Decimal(0)], pa.decimal128(38, 37)), [MOST, 2**-40, 1, 0]),
        (pa.array([Decimal("0.5"), Decimal(1)], pa.decimal256(60, 50)), [0.5, 1]),
        (pa.array([1, 0], pa.int64()), [1, 0]),
        (pa.array(["0.99999999", "1e-50", "1", "0"]), [MOST, 2**-40, 1, 0]),
        (pa.array(["0.99999999", "1"], pa.large_string()), [MOST, 1]),
        (pa.array(["0.99999999", "1", "0"]).dictionary_encode(), [MOST, 1, 0]),
    ],
)
def test_every_type_of_parquet_column_keeps_them_too(tmp_path: Path, values: pa.Array, wanted: list[float]) -> None:
    assert stored(values, tmp_path) == ([float(one) for one in wanted], 0)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([math.nan, math.inf, -math.inf, -1e-50, 1 + 2**-52, 1.25, None]),
        pa.array([-1e-45, 1.5, math.nan], pa.float32()),
        pa.array([Decimal("1." + "0" * 36 + "1"), Decimal("-0.1")], pa.decimal128(38, 37)),
        pa.array([-2, -1, None], pa.int64()),
        pa.array(["1.1", "often", "", None, "-1e-400"]),
    ],
)
def test_what_is_no_number_from_0_to_1_is_malformed(tmp_path: Path, values: pa.Array) -> None:
    assert stored(values, tmp_path) == ([None] * len(values), len(values))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[0.5]]),
        pa.array([1], pa.date32()),
        pa.array([1], pa.time32("s")),
        pa.array([0], pa.duration("s")),
        pa.array([1], pa.timestamp("us")),
        pa.array([{"a": 1}]),
        pa.array([True, False]),
        pa.array([None, True]),
        pa.DictionaryArray.from_arrays(pa.array([0, 0]), pa.array([True])),
        pa.array([[True]]),
    ],
)
def test_a_column_that_holds_no_numbers_is_one_sentence(tmp_path: Path, values: pa.Array) -> None:
    with pytest.raises(DataError, match=r"stated\.parquet: its column confidence is .*, not a number; give numbers"):
        stored(values, tmp_path)


@pytest.mark.parametrize(
    "columns",
    [
        {"label": [["a", "b"]], "confidence": [[True, False]]},
        {"label": pa.array([[{"label": "a", "confidence": True}]])},
    ],
)
def test_truth_values_in_lists_are_no_confidences(tmp_path: Path, columns: dict[str, object]) -> None:
    pq.write_table(pa.table({"image_id": ["i"], **columns}), tmp_path / "stated.parquet")
    with pytest.raises(DataError, match="its column confidence is bool, not a number; give numbers from 0 to 1"):
        read("parquet", tmp_path / "stated.parquet")


@pytest.mark.parametrize("value", [pa.array([True]), pa.array([Decimal(1)]), pa.array(["1"]), pa.array([[1.0]])])
def test_a_box_of_a_table_has_a_number_as_confidence(tmp_path: Path, value: pa.Array) -> None:
    columns = {"image_id": ["i"], "label": ["a"], "xmin": [0.1], "ymin": [0.1], "xmax": [0.5], "ymax": [0.5]}
    pq.write_table(pa.table({**columns, "confidence": value}), tmp_path / "stated.parquet")
    with pytest.raises(DataError, match=r"its column confidence is of the type .*; convert it"):
        pieces_of("boxes", [tmp_path / "stated.parquet"])


def test_a_prediction_of_a_table_is_neither_verified_presence_nor_absence(tmp_path: Path) -> None:
    path = tmp_path / "predicted.csv"
    path.write_text(
        "image_id,label,confidence\na,n00000001,1\nb,n00000001,0\nc,n00000001,0.5\nd,n00000001,0.99999999\n"
    )
    found, malformed, _ = read("csv", path, PREDICTIONS)
    assert found == {"a": float(MOST), "b": 2.0**-40, "c": 0.5, "d": float(MOST)}
    assert malformed == 0


def columns(class_index: list[int], confidence: list[float]) -> LabelColumns:
    return LabelColumns(
        np.array([0, len(class_index)], np.int32),
        np.array(class_index, np.int32),
        np.array(confidence, np.float32),
        np.zeros(len(class_index), np.uint8),
    )


def test_ancestors_and_implications_of_nearly_nothing_are_not_absent() -> None:
    closure = sp.csr_array(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool))
    implications = sp.csr_array(np.array([[0, 0, 0], [0, 0, 1e-30], [0, 0, 0]], np.float32))
    found, _ = augment(columns([1], [1e-30]), augmentation_rules(closure, implications))
    assert found.class_index.tolist() == [0, 1, 2]
    assert found.confidence.tolist() == [np.float32(1e-30), np.float32(1e-30), LEAST]
    found, _ = augment(columns([1], [float(MOST)]), augmentation_rules(closure, implications))
    assert found.confidence.tolist() == [MOST, MOST, pytest.approx(1e-30)]


def test_a_share_of_nearly_all_images_is_not_all() -> None:
    n = 1 << 30
    counts = PairCounts(np.array([n, n]), sp.csr_array(np.array([[0, n - 1], [n, 0]])))
    strong = sp.csr_array(np.array([[0, (n - 1) / n], [1.0, 0]]))
    assert implications_table(strong, counts)["probability"].to_pylist() == [float(MOST), 1.0]


def test_exports_write_digits_enough() -> None:
    values = np.array([MOST, LEAST, 1, 0.8, 2**-40], np.float32)
    texts = _decimals(values).to_pylist()
    assert [np.float32(text) for text in texts] == values.tolist()
    assert confidences.of_texts(pa.array(texts)).to_pylist() == values.tolist()


@given(st.decimals(0, 100, places=3), st.sampled_from(".,"))
def test_a_share_of_a_hundred_is_told_as_one_of_one(percent: Decimal, point: str) -> None:
    cell = f"{percent.normalize():f}%".replace(".", point)
    told = how_to_write(cell)
    assert told.startswith(f"write {cell} as ")
    assert Decimal(told.rpartition(" ")[2]) == percent / 100


@given(st.text() | st.text("0159,.% ", max_size=6))
def test_only_what_is_no_confidence_gets_advice_and_that_is_one(text: str) -> None:
    if told := how_to_write(text):
        assert of_texts(pa.array([text])).null_count == 1
        assert of_texts(pa.array([told.rpartition(" ")[2]])).null_count == 0
