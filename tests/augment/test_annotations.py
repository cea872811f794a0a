"""Statements become labels by the rules that the dictionaries of `statements` follow, in any order, over any files."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.augment.annotation_counts import AnnotationCounts
from mlimages_dataset.augment.annotations import (
    AMBIGUOUS,
    DROPPED,
    STATEMENTS,
    UNKNOWN,
    broader_ids,
    class_lookup,
    codes_of,
    lookup_table,
    packed_statements,
    raw_classes,
)
from mlimages_dataset.augment.merged import annotation_batches
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.sources.registry import pieces_of, source_named
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.tables.label_columns import columns_of
from mlimages_dataset.tables.schemas import ANNOTATIONS
from tests.augment.statements import Merged, Statement, merged
from tests.augment.strategies import rows_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

LOOKUP = {"dog": 3, "Hund": 3, "cat": 1, "pet": 7, "puppy": 3, "idea": DROPPED, "notion": DROPPED}
BROADER = {"puppy"}
"""Classes that stand for a parent: an image without puppies may still show a dog."""
FATES = ("labels", "merged", "below_confidence", "dropped", "unknown", "malformed", "contradicted")
SPELLINGS: Mapping[str, float | None] = {
    **{text: float(text) for text in ("1", "1.0", "0", "0.0", "0.5", "0.75", "8e-1", "0.8", "0.95")},
    **dict.fromkeys(("nan", "1.2", "-1", "")),
}
"""How files write confidences, and which they are."""

statements = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "a", "b", "c", ""]),
        st.sampled_from([*LOOKUP, "dog", "cat", "Zorbing", "/m/1", ""]),
        st.sampled_from([*SPELLINGS, "1", "0", "0.75"]),
    ),
    max_size=30,
)


def write_csv(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    path.write_text("image_id,label,confidence\n" + "".join(f"{image},{name},{p}\n" for image, name, p in rows))
    return path


def write_open_images(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    header = "ImageID,Source,LabelName,Confidence\n"
    path.write_text(header + "".join(f"{image},verification,{name},{p}\n" for image, name, p in rows))
    return path


def write_parquet(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    images, names, confidences = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"image_id": images, "label": names, "confidence": confidences}
    pq.write_table(pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()}), path)
    return path


WRITERS = {"csv": write_csv, "open-images": write_open_images, "parquet": write_parquet}


LAST = "\U0010ffff"


def packed(
    connection: duckdb.DuckDBPyConnection, form: str, paths: Sequence[Path], log: RejectLog
) -> list[pa.RecordBatch]:
    """Return what the first pass makes of files."""
    return [
        batch
        for piece in pieces_of(form, paths)
        for block in source_named(form).observe(lambda: connection, piece, log)
        for batch in packed_statements(block, piece, lookup_table(LOOKUP, BROADER))
    ]


def annotated(
    form: str, paths: Sequence[Path], min_confidence: float = 0.0, log: RejectLog | None = None
) -> tuple[pa.Table, AnnotationCounts]:
    """Return the whole table and its counts."""
    counts = AnnotationCounts()
    tables = [ANNOTATIONS.arrow.empty_table()]
    with duckdb.connect() as connection:
        batches = [b.select(STATEMENTS.arrow.names) for b in packed(connection, form, paths, log or RejectLog())]
        statements = pa.Table.from_batches(batches) if batches else STATEMENTS.arrow.empty_table()
        for table, of_batch in annotation_batches(statements, LAST, source="tests", min_confidence=min_confidence):
            tables.append(table)
            counts += of_batch
    return pa.concat_tables(tables), counts


def labels_of(table: pa.Table) -> dict[str, dict[int, float]]:
    """Return the confidence of each class of each image, after checking what every annotation is."""
    assert table.schema.equals(ANNOTATIONS.arrow)
    ids = table["image_id"].to_pylist()
    assert ids == sorted(set(ids))
    assert set(table["source"].to_pylist()) <= {"tests"}
    rows = [row for chunk in table["labels"].chunks for row in rows_from(columns_of(chunk))]
    assert all(rows), "an image without labels has no row"
    assert all(origin == 0 for row in rows for _, origin in row.values())
    return {i: {c: p for c, (p, _) in row.items()} for i, row in zip(ids, rows, strict=True)}


def expected_of(rows: Sequence[tuple[str, str, str]], min_confidence: float = 0.0) -> Merged:
    as_float32 = {text: None if p is None else float(np.float32(p)) for text, p in SPELLINGS.items()}
    dropped_absences = [
        (image, "idea" if name in BROADER and as_float32[p] == 0 else name, as_float32[p]) for image, name, p in rows
    ]
    return merged([Statement(*row) for row in dropped_absences], LOOKUP, min_confidence)


@pytest.mark.slow
@settings(max_examples=40)
@given(rows=statements, data=st.data())
def test_statements_become_the_labels_of_the_rules(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("statements")
    form = data.draw(st.sampled_from(list(WRITERS)))
    min_confidence = data.draw(st.sampled_from([0.0, 0.5, 0.8, 1.0]))
    whole = WRITERS[form](folder / "whole", rows)
    table, counts = annotated(form, [whole], min_confidence)

    expected = expected_of(rows, min_confidence)
    assert labels_of(table) == expected.labels
    fates = Counter({name: getattr(counts, name) for name in FATES})
    assert +fates == expected.fates
    assert fates.total() == len(rows), "every statement has exactly one fate"
    assert (counts.images, counts.images + counts.images_without_labels) == (len(expected.labels), expected.images)

    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
    bounds = zip([0, *cuts], [*cuts, len(rows)], strict=True)
    parts = [WRITERS[form](folder / f"part-{n}", shuffled[start:stop]) for n, (start, stop) in enumerate(bounds)]
    again, counts_again = annotated(form, parts, min_confidence)
    assert again.equals(table), "neither the order of rows nor the cut into files means anything"
    assert counts_again == counts


EXAMPLES = ("first_names", "first_locations", "first_with_blanks")
NUMBERS = [field.name for field in fields(AnnotationCounts) if field.name not in EXAMPLES]


@given(
    st.lists(
        st.builds(
            AnnotationCounts,
            **dict.fromkeys(NUMBERS, st.integers(0, 9)),
            **dict.fromkeys(EXAMPLES, st.just(("a and b",) * 3)),
        ),
        max_size=4,
    )
)
def test_counts_of_parts_add_up(parts: list[AnnotationCounts]) -> None:
    total = sum(parts, AnnotationCounts())
    numbers = {name: sum(getattr(part, name) for part in parts) for name in NUMBERS}
    assert {name: getattr(total, name) for name in NUMBERS} == numbers
    examples = ("a and b",) * min(3 * len(parts), 10)
    assert {name: getattr(total, name) for name in EXAMPLES} == dict.fromkeys(EXAMPLES, examples)


@pytest.mark.parametrize(
    ("said", "confidence"),
    [
        (("1", "0"), 1),
        (("0", "0.95"), 0),
        (("0.5", "0.95"), 0.95),
        (("0.95", "1", "0", "0"), 1),
        (("0",), 0),
        (("nan", "0.5"), 0.5),
    ],
)
def test_verified_presence_over_verified_absence_over_machines(
    tmp_path: Path, said: tuple[str, ...], confidence: float
) -> None:
    synonyms = ["dog", "Hund"] * 2
    path = write_csv(tmp_path / "f", [("a", name, p) for name, p in zip(synonyms, said, strict=False)])
    table, _ = annotated("csv", [path])
    assert labels_of(table) == {"a": {3: pytest.approx(confidence)}}


def test_a_machine_at_the_least_confidence_stays_and_verified_absence_always(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f", [("a", "dog", "0.8"), ("a", "cat", "0"), ("a", "pet", "0.79999")])
    table, counts = annotated("csv", [path], 0.8)
    assert labels_of(table) == {"a": {1: 0, 3: pytest.approx(0.8)}}
    assert counts.below_confidence == 1


def test_places_come_with_the_statements_or_with_a_table(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("image_id,label,location\na,dog,\na,cat,http://a\nb,dog,\n")
    table, _ = annotated("csv", [own])
    assert table["location"].to_pylist() == ["http://a", ""]
    images = tmp_path / "images"
    images.write_text("ImageID,OriginalURL\nb,http://b2\nb,http://b1\nc,http://c\n")
    labels = write_open_images(tmp_path / "labels", [("a", "dog", "1"), ("b", "dog", "1"), ("b", "cat", "0.5")])
    table, counts = annotated("open-images", [labels, images])
    assert table["location"].to_pylist() == ["", "http://b1"]
    assert (counts.labels, counts.merged) == (3, 0), "an image table that repeats an image repeats no statement"


def test_a_value_that_is_no_number_is_counted_once(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f", [("a", "dog", "often"), ("a", "cat", "1")])
    log = RejectLog()
    table, counts = annotated("csv", [path], log=log)
    assert counts.malformed + log.count == 1
    assert labels_of(table) == {"a": {1: 1}}


def test_unknown_classes_come_with_the_first_pass(tmp_path: Path) -> None:
    rows = [("a", name, "1") for name in ["x", "y", "y", "", "dog", "idea"]] + [("b", "z", "nan"), ("", "z", "1")]
    path = write_csv(tmp_path / "f", rows)
    with duckdb.connect() as connection:
        batches = packed(connection, "csv", [path], RejectLog())
    assert {row["image_id"]: sorted(row["unknown"]) for batch in batches for row in batch.to_pylist()} == {
        "": ["z"],
        "a": ["x", "y", "y"],
        "b": ["z"],
    }


@settings(max_examples=20)
@given(rows=statements)
def test_a_tally_notes_the_images_of_each_raw_class(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path = write_csv(tmp_path_factory.mktemp("tally") / "f", rows)
    images: dict[str, set[str]] = {}
    for image, name, text in rows:
        if name and image and SPELLINGS[text]:
            images.setdefault(name, set()).add(image)
    with duckdb.connect() as connection:
        (piece,) = pieces_of("csv", [path])
        for block in source_named("csv").observe(lambda: connection, piece, RejectLog()):
            found: dict[str, set[str]] = {}
            for image, name in zip(
                *(column.to_pylist() for column in raw_classes(block, piece, RejectLog())), strict=True
            ):
                found.setdefault(name, set()).add(image)
            assert found == images


def test_each_format_uses_its_own_ids(mini_vocabulary: Vocabulary) -> None:
    dog, car = (mini_vocabulary.index_of_wnid[wnid] for wnid in ("n02084071", "n02958343"))
    imagenet = class_lookup(mini_vocabulary, source_named("imagenet"))
    assert (imagenet["n02084071"], imagenet["n00482298"]) == (dog, DROPPED)
    assert "/m/0bt9lr" not in imagenet
    open_images = class_lookup(mini_vocabulary, source_named("open-images"))
    assert (open_images["/m/0k4j"], open_images["/m/0auto"], open_images["/m/0zorb"]) == (car, car, DROPPED)
    assert open_images["n02084071"] == dog, "its export writes wnids of classes without a mid"
    own = class_lookup(mini_vocabulary, source_named("csv"))
    assert own == class_lookup(mini_vocabulary, source_named("parquet"))
    assert (own["n02084071"], own["/m/0bt9lr"], own["n00482298"]) == (dog, dog, DROPPED)
    assert "/m/0bt9lr" not in class_lookup(mini_vocabulary, source_named("csv"), "imagenet")
    published = class_lookup(mini_vocabulary, source_named("tencent"))
    assert published == {str(index): index for index in range(len(mini_vocabulary))}


def test_letters_with_accents_match_in_either_form() -> None:
    ids = {form: unicodedata.normalize(form, "caf\u00e9 dog") for form in ("NFC", "NFD")}
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        frame = pd.DataFrame({"id": [ids[form]], "name": ["dog"]})
        found = class_lookup(ml.build_vocabulary(classes={"own": frame}), source_named("csv"))
        assert found[ids[form]] == found[ids[other]] >= 0


def test_classes_that_stand_for_a_parent_are_known_by_their_rule(mini_vocabulary: Vocabulary) -> None:
    rows = [
        replace(row, rule="reviewed: nearest parent") if row.source_id == "/m/0auto" else row
        for row in mini_vocabulary.mapping
    ]
    vocabulary = replace(mini_vocabulary, mapping=tuple(rows))
    for form in ("open-images", "csv", "parquet"):
        assert broader_ids(vocabulary, source_named(form)) == {"/m/0auto"}
        assert broader_ids(mini_vocabulary, source_named(form)) == frozenset()
    assert broader_ids(vocabulary, source_named("csv"), "imagenet") == frozenset()
    assert broader_ids(vocabulary, source_named("csv"), "open-images") == {"/m/0auto"}
    assert (
        broader_ids(vocabulary, source_named("imagenet"))
        == broader_ids(vocabulary, source_named("tencent"))
        == frozenset()
    )


def test_no_stop_sign_says_nothing_of_street_signs(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "said.csv", [("a", "puppy", "0"), ("a", "cat", "0"), ("b", "puppy", "1")])
    table, counts = annotated("csv", [file])
    assert labels_of(table) == {"a": {1: 0.0}, "b": {3: 1.0}}
    assert (counts.labels, counts.dropped) == (2, 1)


def test_an_id_of_two_sources_is_a_category_rather_than_none(mini_vocabulary: Vocabulary) -> None:
    kept = next(row for row in mini_vocabulary.mapping if row.source_id == "/m/0k4j")
    dropped = replace(kept, source="mine", class_index=DROPPED)
    for rows in ((kept, dropped), (dropped, kept)):
        both = replace(mini_vocabulary, mapping=rows)
        assert class_lookup(both, source_named("csv"))["/m/0k4j"] == kept.class_index
        assert class_lookup(both, source_named("csv"), "mine")["/m/0k4j"] == DROPPED


def test_an_id_of_two_categories_is_refused_only_where_it_is_used(mini_vocabulary: Vocabulary) -> None:
    one = next(row for row in mini_vocabulary.mapping if row.source_id == "/m/0k4j")
    other = replace(one, source="mine", class_index=mini_vocabulary.index_of_wnid["n02084071"])
    third = replace(one, source="third")
    for rows in ((one, other), (other, one), (one, other, third), (third, one, other)):
        lookup = class_lookup(replace(mini_vocabulary, mapping=rows), source_named("csv"))
        assert lookup["/m/0k4j"] == AMBIGUOUS
        table = lookup_table(lookup)
        assert codes_of(pa.array(["n02084071", "zorb"]), table).tolist() == [other.class_index, UNKNOWN]
        with pytest.raises(UsageError, match="'/m/0k4j' means one category in one class list and another in another"):
            codes_of(pa.array(["n02084071", "/m/0k4j"]), table)
