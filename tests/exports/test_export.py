"""What is exported is what others read: this library's own readers, `datasets`, and `mlcroissant`."""

from __future__ import annotations

import importlib
import itertools
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.exports.counts import ExportCounts
from mlimages_dataset.exports.croissant import CROISSANT_FILE
from mlimages_dataset.exports.export import export, splits_of
from mlimages_dataset.exports.hugging_face import CARD_FILE
from mlimages_dataset.exports.publication import ORIGIN_NAMES, Publication
from mlimages_dataset.exports.registry import FORMATS
from mlimages_dataset.exports.tencent import DICTIONARY_FILE, tencent_dictionary, tencent_text
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.registry import pieces_of
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.label_columns import array_of, columns_of
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, LONG_FORM
from mlimages_dataset.vocab.stage import read_tencent_dictionary
from mlimages_dataset.vocab.vocabulary import Category, Vocabulary
from tests.augment.strategies import Row, columns_from, rows, rows_from
from tests.augment.tables import read_parts, write_parts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from mlimages_dataset.pipeline.records import StageResult

N_CLASSES = 6
ADDRESSES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
"""Any text: what has white space in it, or is empty, cannot be said in the published form."""

TRAIN = [("a", {0: (1.0, 1), 2: (0.8999999761581421, 0)}), ("b", {1: (0.0, 0), 3: (0.3333333432674408, 2)}), ("c", {})]
VALIDATION = [("d", {4: (1.0, 0), 5: (0.5, 3)})]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """Return six categories in a small tree, two of which share a name."""
    parents = (-1, 0, 0, 1, -1, 4)
    names = ("thing", 'a "quoted", name', "crane", "crane", "Übergröße", "last")
    categories = [
        Category(
            wnid=f"n{index:08d}",
            name=name,
            root=0,
            parent=parent,
            parents=() if parent < 0 else (parent,),
            depth=0,
            sources=("tests",),
            mids=(),
            images=0,
        )
        for index, (name, parent) in enumerate(zip(names, parents, strict=True))
    ]
    return Vocabulary(tuple(categories), ())


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as `mlimages-build labels` writes it, with two parts for training."""
    folder = tmp_path_factory.mktemp("labels")
    write_parts(folder / "train", TRAIN, LABELS, sizes=(2,))
    write_parts(folder / "val", VALIDATION, LABELS)
    return folder


def exported(
    vocabulary: Vocabulary, tables: Path, form: str, out: Path, publication: Publication | None = None
) -> StageResult[ExportCounts]:
    return export(vocabulary, tables, form, Workplace(out), publication=publication or Publication())


def annotated(vocabulary: Vocabulary, form: str, files: Sequence[Path], out: Path) -> dict[str, Row]:
    """Return what `annotate` reads: confidence and origin of each label of each image."""
    annotate(vocabulary, AnnotatedFiles(name="again", format=form, files=tuple(files)), Workplace(out))
    return dict(read_parts(out, ANNOTATIONS))


def batch_of(addresses: Sequence[str], images: Sequence[Row], *, ids: Sequence[str] | None = None) -> pa.RecordBatch:
    """Return rows of the `labels` table with these locations."""
    columns = {
        "image_id": list(ids or [f"id{number}" for number in range(len(images))]),
        "source": ["tests"] * len(images),
        "location": list(addresses),
        "labels": array_of(columns_from(images)),
    }
    return pa.table(columns, schema=LABELS.arrow).combine_chunks().to_batches()[0] if images else _no_rows()


def _no_rows() -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in LABELS.arrow], schema=LABELS.arrow)


# The published text form


@pytest.mark.slow
@settings(max_examples=40)  # each writes and reads files
@given(images=rows(N_CLASSES), data=st.data())
def test_the_text_form_reads_back_as_the_same_present_labels(
    images: list[Row],
    data: st.DataObject,
    vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    said_as_they_are = ADDRESSES.filter(lambda address: image_id(address) == address)
    addresses = data.draw(st.lists(said_as_they_are, min_size=len(images), max_size=len(images), unique=True))
    rows_ = batch_of(addresses, images, ids=[f"id{number}" for number in range(len(images))])
    text, counts = tencent_text(rows_, columns_of(rows_.column("labels")))
    expected = {}
    for number, (address, row) in enumerate(zip(addresses, images, strict=True)):
        said = address or f"id{number}"
        present = {c: (confidence, 0) for c, (confidence, _) in row.items() if confidence > 0}
        if present and not _unsayable(said):
            expected[said] = present
    assert counts.images == len(expected)
    assert counts.labels == sum(map(len, expected.values()))
    assert counts.images + counts.images_without_labels + counts.unsayable_images == len(images)
    folder = tmp_path_factory.mktemp("text")
    (folder / "rows.txt").write_bytes(text)
    if expected:
        assert annotated(vocabulary, "tencent", [folder / "rows.txt"], folder / "again") == expected


def _unsayable(address: str) -> bool:
    return any(sign.isspace() or sign < " " or sign in "\x7f\ufeff" for sign in address)


@given(st.lists(st.floats(0, 1, exclude_min=True, width=32), min_size=1, max_size=30))
def test_a_confidence_is_the_shortest_decimal_of_its_float32(values: list[float]) -> None:
    rows_ = batch_of([""] * len(values), [{0: (value, 0)} for value in values])
    text, _ = tencent_text(rows_, columns_of(rows_.column("labels")))
    words = [line.rpartition(b":")[2].decode() for line in text.to_pybytes().splitlines()]
    assert [np.float32(word) for word in words] == [np.float32(value) for value in values]
    digits = [word.partition("e")[0].replace(".", "").strip("0") for word in words]
    shortest = [np.format_float_scientific(np.float32(value), unique=True).partition("e")[0] for value in values]
    assert digits == [number.replace(".", "").strip("0") for number in shortest]


def test_a_line_is_as_published() -> None:
    rows_ = batch_of(
        ["https://farm.example/1.jpg", ""], [{1193: (1.0, 0), 2: (0.8999999761581421, 1), 7: (0.0, 0)}, {5: (1.0, 0)}]
    )
    text, counts = tencent_text(rows_, columns_of(rows_.column("labels")))
    assert text.to_pybytes() == b"https://farm.example/1.jpg\t2:0.9\t1193:1\nid1\t5:1\n"
    assert counts == ExportCounts(images=2, labels=3, absent_labels=1)


def test_what_the_text_form_cannot_say_is_left_out_and_counted(
    tmp_path: Path, vocabulary: Vocabulary, tables: Path
) -> None:
    result = exported(vocabulary, tables, "tencent", tmp_path)
    assert result.summary == ExportCounts(images=3, labels=5, absent_labels=1, images_without_labels=1)
    assert (tmp_path / "train_urls.txt").read_text() == "http://a\t0:1\t2:0.9\nhttp://b\t3:0.33333334\n"
    assert (tmp_path / "val_urls.txt").read_text() == "http://d\t4:1\t5:0.5\n"
    assert {receipt.path.name: receipt.sha256 for receipt in result.receipts} == {
        name: file_digest(tmp_path / name) for name in (DICTIONARY_FILE, "train_urls.txt", "val_urls.txt")
    }


def test_the_dictionary_reads_back(tmp_path: Path, vocabulary: Vocabulary, mini_vocabulary: Vocabulary) -> None:
    for number, one in enumerate((vocabulary, mini_vocabulary)):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(tencent_dictionary(one))
        again = read_tencent_dictionary(path)
        facts = [[(c.wnid, c.name, c.parent) for c in each.categories] for each in (again, one)]
        assert facts[0] == facts[1]
        assert tencent_dictionary(again) == path.read_bytes()


def test_a_name_with_a_tab_is_refused(vocabulary: Vocabulary) -> None:
    category = vocabulary.categories[0]
    fields = {name: getattr(category, name) for name in Category.__slots__}
    with pytest.raises(DataError, match="the id or the name of 'n00000000' holds a tab"):
        tencent_dictionary(Vocabulary((Category(**{**fields, "name": "a\tb"}),), ()))


@pytest.mark.shared_data
def test_the_published_files_come_back_as_they_were(tmp_path: Path, shared_data: Path) -> None:
    dictionary = shared_data / "tencent" / "dictionary_first_9418.txt"
    listed = shared_data / "tencent" / "train_urls_61.txt"
    published = read_tencent_dictionary(dictionary)
    assert tencent_dictionary(published) == dictionary.read_bytes()
    annotate(published, AnnotatedFiles(name="tencent", format="tencent", files=(listed,)), Workplace(tmp_path / "rows"))
    exported(published, tmp_path / "rows", "tencent", tmp_path / "out")

    def statements(path: Path) -> dict[str, dict[str, float]]:
        # Some published rows say 1 as 1.0.
        lines = (line.split("\t") for line in path.read_text().splitlines())
        return {url: {c: float(value) for c, value in (pair.split(":") for pair in pairs)} for url, *pairs in lines}

    assert statements(tmp_path / "out" / "train_urls.txt") == statements(listed)


# CSV


@pytest.mark.slow
@settings(max_examples=40)  # each writes and reads files
@given(images=rows(N_CLASSES), data=st.data())
def test_csv_reads_back_as_the_same_labels(
    images: list[Row], data: st.DataObject, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = st.text(st.characters(codec="ascii", exclude_characters="\0\r"), min_size=1, max_size=8)
    names = text.filter(lambda name: image_id(name) == name)
    ids = data.draw(st.lists(names, min_size=len(images), max_size=len(images), unique=True))
    places = data.draw(st.lists(text, min_size=len(images), max_size=len(images)))
    folder = tmp_path_factory.mktemp("csv")
    table = pa.Table.from_batches([batch_of(places, images, ids=ids)])
    write_table(folder / "labels" / "part-00000.parquet", table, LABELS, {})
    expected = {image_id: row for image_id, row in zip(ids, images, strict=True) if row}
    if not expected:
        with pytest.raises(DataError, match="no image has a label"):
            exported(vocabulary, folder / "labels", "csv", folder / "out")
        return
    summary = exported(vocabulary, folder / "labels", "csv", folder / "out").summary
    assert summary.images == len(expected)
    assert summary.images_without_labels == len(images) - len(expected)
    again = annotated(vocabulary, "csv", [folder / "out" / "train.csv"], folder / "again")
    assert again == {i: {c: (confidence, 0) for c, (confidence, _) in row.items()} for i, row in expected.items()}
    found = read_table(folder / "again" / "part-00000.parquet", ANNOTATIONS)
    locations = dict(zip(found["image_id"].to_pylist(), found["location"].to_pylist(), strict=True))
    assert locations == {i: place for i, place in zip(ids, places, strict=True) if i in expected}


def test_csv_says_what_the_published_form_cannot(tmp_path: Path, vocabulary: Vocabulary, tables: Path) -> None:
    exported(vocabulary, tables, "csv", tmp_path)
    assert (tmp_path / "train.csv").read_text().splitlines() == [
        '"image_id","label","class_index","confidence","origin","location"',
        '"a","n00000000",0,1,"ancestor","http://a"',
        '"a","n00000002",2,0.9,"original","http://a"',
        '"b","n00000001",1,0,"original","http://b"',
        '"b","n00000003",3,0.33333334,"co_occurrence","http://b"',
    ]


# Hugging Face


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return Hugging Face's library, which must reach for no network and no home folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    pytest.importorskip("datasets", reason="pip install datasets, to load an export as its users do")
    module = importlib.import_module("datasets")
    module.disable_progress_bars()
    return module


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_datasets_loads_both_splits_with_their_features(
    datasets: Any,
    tmp_path: Path,
    vocabulary: Vocabulary,
    tables: Path,
) -> None:
    out = tmp_path / "out"
    exported(vocabulary, tables, "huggingface", out, Publication(name='A "set"', license="cc-by-4.0"))
    loaded = datasets.load_dataset("parquet", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "validation"}
    label = {
        "class_index": datasets.ClassLabel(names=[category.wnid for category in vocabulary.categories]),
        "confidence": datasets.Value("float32"),
        "origin": datasets.ClassLabel(names=list(ORIGIN_NAMES)),
    }
    text = datasets.Value("string")
    features = {"image_id": text, "source": text, "location": text, "labels": [label]}
    assert loaded["train"].features == datasets.Features(features)
    for split, images in (("train", TRAIN), ("validation", VALIDATION)):
        assert [_row_of(row) for row in loaded[split]] == images
    by_card = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert by_card["train"].features == loaded["train"].features
    assert by_card["validation"].to_list() == loaded["validation"].to_list()
    categories = datasets.load_dataset(str(out), "categories", cache_dir=str(tmp_path / "cache"))["train"]
    assert categories["name"][:] == [category.name for category in vocabulary.categories]


def _row_of(row: Any) -> tuple[str, Row]:
    return row["image_id"], {x["class_index"]: (x["confidence"], x["origin"]) for x in row["labels"]}


def test_a_card_counts_the_rows_of_each_split(tmp_path: Path, vocabulary: Vocabulary, tables: Path) -> None:
    exported(vocabulary, tables, "huggingface", tmp_path, Publication(url="https://example.org/set"))
    card = (tmp_path / CARD_FILE).read_text()
    head, _, page = card.removeprefix("---\n").partition("---\n")
    assert "  - name: train\n" in head
    assert "    num_examples: 3\n" in head
    assert "            '5': n00000005\n" in head
    assert "3 train and 1 validation images over 6 WordNet 3.0 categories" in page
    assert "<https://example.org/set>" in page


# Croissant


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_mlcroissant_validates_the_description_and_reads_the_records(
    tmp_path: Path, vocabulary: Vocabulary, tables: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mlcroissant = pytest.importorskip(
        "mlcroissant", reason="pip install mlcroissant, to read an export as its users do"
    )
    publication = Publication(name="a set", license="cc-by-4.0", url="https://example.org/set", date="2024-02-29")
    exported(vocabulary, tables, "croissant", tmp_path, publication)
    with caplog.at_level(logging.WARNING):
        described = mlcroissant.Dataset(tmp_path / CROISSANT_FILE)
    issues = described.metadata.ctx.issues
    assert not issues.errors
    assert {str(issue).rpartition("Property ")[2] for issue in issues.warnings} <= {
        '"http://mlcommons.org/croissant/citeAs" is recommended, but does not exist.'
    }
    for split, images in (("train", TRAIN), ("val", VALIDATION)):
        assert [_record_of(split, record) for record in described.records(split)] == images
    names = [record["categories/name"].decode() for record in described.records("categories")]
    assert names == [category.name for category in vocabulary.categories]


def _record_of(split: str, record: Any) -> tuple[str, Row]:
    fields = [f"{split}/labels/{name}" for name in ("class_index", "confidence", "origin")]
    labels = ([label[name] for name in fields] for label in record.get(f"{split}/labels", []))
    return record[f"{split}/image_id"].decode(), {c: (value, origin) for c, value, origin in labels}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_mlcroissant_refuses_a_file_that_changed(tmp_path: Path, vocabulary: Vocabulary, tables: Path) -> None:
    mlcroissant = pytest.importorskip(
        "mlcroissant", reason="pip install mlcroissant, to read an export as its users do"
    )
    exported(vocabulary, tables, "croissant", tmp_path)
    write_parts(tmp_path / "val", VALIDATION * 2, LABELS)
    with pytest.raises(mlcroissant.GenerationError) as caught:
        next(iter(mlcroissant.Dataset(tmp_path / CROISSANT_FILE).records("val")))
    assert "not identical" in str(caught.value.__cause__)


def test_a_description_holds_the_digest_of_every_file(tmp_path: Path, vocabulary: Vocabulary, tables: Path) -> None:
    exported(vocabulary, tables, "croissant", tmp_path)
    content = json.loads((tmp_path / CROISSANT_FILE).read_text())
    described = {one["contentUrl"]: one["sha256"] for one in content["distribution"]}
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet")}
    assert described == {path: file_digest(tmp_path / path) for path in written}
    assert "datePublished" not in content
    assert read_parts(tmp_path / "train", LABELS) == TRAIN


# All formats


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_tables_give_the_same_bytes_however_they_are_cut(
    form: str, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    images = [(f"image-{number}", row) for number, (_, row) in enumerate(itertools.islice(itertools.cycle(TRAIN), 9))]
    images = [(name, row or {0: (1.0, 0)}) for name, row in images]
    results = []
    for attempt, sizes in enumerate(((), (), (4, 1))):
        tables = write_parts(tmp_path / f"in{attempt}", images, LABELS, sizes)
        result = exported(vocabulary, tables, form, tmp_path / f"out{attempt}")
        results.append((result.summary, {receipt.path.name: receipt.sha256 for receipt in result.receipts}))
    assert results[0] == results[1]
    assert results[0][0] == results[2][0]
    if form in {"tencent", "csv"}:
        assert results[0] == results[2]


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_of_another_vocabulary_is_refused_and_leaves_no_partial_file(
    form: str, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    tables = write_parts(tmp_path / "in", [("a", {N_CLASSES: (1.0, 0)})], LABELS)
    with pytest.raises(DataError, match=r"a class index is not in 0\.\.5; name the vocabulary"):
        exported(vocabulary, tables, form, tmp_path / "out")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert set(left) <= {DICTIONARY_FILE, "categories.parquet", "mapping.parquet"}


def test_a_folder_of_one_table_is_taken_for_training(tmp_path: Path) -> None:
    write_parts(tmp_path, TRAIN, ANNOTATIONS, sizes=(1,))
    assert Counter({split: len(parts) for split, parts in splits_of(tmp_path).items()}) == Counter(train=2)


def test_tables_beside_the_splits_are_refused(tmp_path: Path) -> None:
    write_parts(tmp_path / "train", TRAIN, LABELS)
    write_parts(tmp_path / "annotations", TRAIN, LABELS)
    with pytest.raises(UsageError, match="holds tables in annotations, not only in train and val"):
        splits_of(tmp_path)


@given(rows(N_CLASSES))
def test_rows_survive_a_batch(images: list[Row]) -> None:
    assert rows_from(columns_of(batch_of([""] * len(images), images).column("labels"))) == images


@pytest.mark.parametrize(("more", "told"), [(("class_index", "origin"), 1), (("origin",), 0), ((), 0)])
def test_an_export_that_is_read_again_is_told(
    tmp_path: Path, vocabulary: Vocabulary, more: tuple[str, ...], told: int
) -> None:
    columns = ("image_id", "label", *more)
    values = {"image_id": "a", "label": "n00000002", "class_index": "2", "origin": "co_occurrence"}
    path = tmp_path / "train.csv"
    path.write_text(f"{','.join(columns)}\n{','.join(values[name] for name in columns)}\n")
    given = AnnotatedFiles(name="again", format="csv", files=(path,))
    summary = annotate(vocabulary, given, Workplace(tmp_path / "again")).summary
    assert summary.files_with_origins == told
    assert any("origin is not read" in text for text in summary.findings()) == bool(told)
    assert any("origin is not read" in text for text in summary.lines()) == bool(told)


@pytest.mark.parametrize(
    ("form", "columns"),
    [
        ("csv", ("image_id", "label", "_", "confidence", "_", "location")),
        ("csv", ("image_id", "class", "label", "confidence", "why", "location")),
        *itertools.product(
            ("csv", "parquet"),
            ((), ("image_id=location",), ("label=class_index",), ("location=origin", "label=class_index")),
        ),
    ],
)
def test_an_export_is_known_by_its_own_columns_whatever_its_user_calls_them(
    tmp_path: Path, *, form: str, columns: tuple[str, ...]
) -> None:
    rows = {"image_id": "a", "label": "n00000002", "class_index": "2", "confidence": "1", "origin": "ancestor"}
    table = pa.Table.from_pylist([{name: rows.get(name, "there") for name in LONG_FORM.names}])
    path = tmp_path / f"train.{form}"
    if form == "csv":
        csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    assert [piece.exported for piece in pieces_of(form, [path], layout=Layout(columns=columns))] == [True]


def test_an_export_that_is_read_without_its_header_is_told(tmp_path: Path, vocabulary: Vocabulary) -> None:
    path = tmp_path / "train.csv"
    path.write_text(f"{','.join(LONG_FORM.names)}\na,n00000002,2,1,ancestor,there\n")
    columns = ("image_id", "label", "_", "confidence", "_", "location")
    given = AnnotatedFiles(name="again", format="csv", files=(path,), columns=columns)
    summary = annotate(vocabulary, given, Workplace(tmp_path / "again")).summary
    assert (summary.labels, summary.files_with_origins) == (1, 1)
