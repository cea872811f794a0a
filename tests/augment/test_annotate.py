"""Annotations and tallies are those of the files, however files, pieces, blocks and ranges are cut."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment import runs
from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.augment.annotation_counts import AnnotationSummary
from mlimages_dataset.augment.tally import tally
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.journal import Journal
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.sources import pieces as pieces_module
from mlimages_dataset.sources.registry import pieces_of
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, CLASS_COUNTS, PREDICTIONS, Origin
from tests.augment.tables import read_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from mlimages_dataset.pipeline.records import StageResult
    from mlimages_dataset.vocab.vocabulary import Vocabulary

LABELS_HEADER = "ImageID,Source,LabelName,Confidence\n"
IMAGES_HEADER = "ImageID,OriginalURL,Title\n"
label_rows = st.lists(
    st.one_of(
        st.tuples(
            st.integers(0, 30),
            st.sampled_from(["/m/0bt9lr", "/m/0k4j", "/m/0zorb", "/m/99", "/m/98"]),
            st.sampled_from("01"),
        ).map(lambda row: f"{row[0]:03d},human,{row[1]},{row[2]}"),
        st.sampled_from(
            ["bad", '007,"a ""quoted"",\nsource",/m/0k4j,1', '"008",human,"/m/0k4j",0.5', "", "009,human,/m/068hy,0.75"]
        ),
    ),
    max_size=25,
)
image_rows = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 2), st.sampled_from(["plain", '"two\nlines, ""quoted"""'])).map(
        lambda row: f"{row[0]:03d},http://{row[1]},{row[2]}"
    ),
    max_size=10,
)


def annotated(
    vocabulary: Vocabulary, form: str, files: Sequence[Path], out: Path, *, at: Workplace | None = None, **options: Any
) -> tuple[Any, AnnotationSummary]:
    """Return the rows of all parts and the summary."""
    result = made(vocabulary, form, files, out, at=at, **options)
    tables = [read_table(receipt.path, ANNOTATIONS) for receipt in result.receipts]
    return pa.concat_tables(tables).to_pylist(), result.summary


def made(
    vocabulary: Vocabulary, form: str, files: Sequence[Path], out: Path, *, at: Workplace | None = None, **options: Any
) -> StageResult[AnnotationSummary]:
    """Annotate files."""
    given = AnnotatedFiles(name="s", format=form, files=tuple(files))
    return annotate(vocabulary, given, at or Workplace(out, engine=Engine(**options)))


# However files are cut


@settings(max_examples=6)
@given(labels=label_rows, images=image_rows, size=st.integers(60, 500), part=st.integers(4, 40), packed=st.booleans())
@pytest.mark.slow
def test_no_cut_changes_anything(
    *,
    mini_vocabulary: Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
    labels: list[str],
    images: list[str],
    size: int,
    part: int,
    packed: bool,
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    for name, header, rows in (("labels.csv", LABELS_HEADER, labels), ("images.csv", IMAGES_HEADER, images)):
        # The first label makes sure that there is one.
        first = "000,human,/m/0bt9lr,1\n" if name == "labels.csv" else ""
        (folder / name).write_text(header + first + "\n".join(rows))
    files = [folder / "labels.csv", folder / "images.csv"]
    expected = annotated(mini_vocabulary, "open-images", files, folder / "whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pieces_module, "PIECE_BYTES", size)
        patched.setattr(runs, "PART_IMAGES", part)
        if packed:
            (folder / "labels.csv.gz").write_bytes(gzip.compress((folder / "labels.csv").read_bytes()))
            found = annotated(mini_vocabulary, "open-images", [folder / "labels.csv.gz", files[1]], folder / "packed")
            rejected = [row.replace("labels.csv", "labels.csv.gz") for row in expected[1].first_rejected_rows]
            summary = replace(expected[1], first_rejected_rows=tuple(rejected))
            expected = expected[0], summary
        else:
            found = annotated(mini_vocabulary, "open-images", files, folder / "cut")
    assert found == expected
    assert not list(folder.rglob(".partial*")), "nothing is left over"


@pytest.mark.slow
def test_lines_of_lists_are_cut_at_line_ends(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\ufeff" + "".join(f"http://é/{n:02d}\t15:1\t2:0.5\r\n" + "bad\r\n" * (n % 7 == 0) for n in range(40))
    (tmp_path / "list").write_bytes(text.encode()[:-2])
    expected = annotated(mini_vocabulary, "tencent", [tmp_path / "list"], tmp_path / "whole")
    assert expected[1].rejected_rows == 6
    for size in (17, 100, 1000):
        monkeypatch.setattr(pieces_module, "PIECE_BYTES", size)
        pieces = pieces_of("tencent", [tmp_path / "list"])
        assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
        assert annotated(mini_vocabulary, "tencent", [tmp_path / "list"], tmp_path / str(size)) == expected


def test_parquet_tables_are_cut_at_row_groups(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.table({"image_id": [f"i{n % 37:02d}" for n in range(200)], "label": ["n02084071", "n02958343"] * 100})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=9)
    expected = annotated(mini_vocabulary, "parquet", [tmp_path / "t.parquet"], tmp_path / "whole")
    assert len(expected[0]) == 37
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 300)
    pieces = pieces_of("parquet", [tmp_path / "t.parquet"])
    assert len(pieces) > 3
    assert (pieces[0].start, pieces[-1].stop) == (0, 23)
    assert annotated(mini_vocabulary, "parquet", [tmp_path / "t.parquet"], tmp_path / "cut") == expected


def test_a_quote_left_open_spoils_two_blocks_at_most(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{n:04d},human,/m/0k4j,1" for n in range(2000)]
    rows[500] = '"' + rows[500]
    (tmp_path / "labels.csv").write_text(LABELS_HEADER + "\n".join(rows) + "\n")
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 4000)
    found, summary = annotated(mini_vocabulary, "open-images", [tmp_path / "labels.csv"], tmp_path / "out")
    ids = {row["image_id"] for row in found}
    assert {f"{n:04d}" for n in range(500)} <= ids
    assert {f"{n:04d}" for n in range(1200, 2000)} <= ids, "a block has about 200 rows"
    assert summary.rejected_rows >= 1
    assert str(summary.first_rejected_rows[0]).startswith("labels.csv, line 502: ")


def test_rows_with_too_few_fields_in_the_middle_are_told_with_their_lines(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{n:04d},human,/m/0k4j,1" for n in range(1000)]
    rows[700] = "0700,v"
    (tmp_path / "labels.csv").write_text(LABELS_HEADER + "\n".join(rows) + "\n")
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 4000)
    found, summary = annotated(mini_vocabulary, "open-images", [tmp_path / "labels.csv"], tmp_path / "out")
    assert len(found) == 999
    assert summary.first_rejected_rows == ("labels.csv, line 702: missing columns: '0700,v'",)


def test_a_file_that_becomes_shorter_or_vanishes_amid_the_work_is_a_sentence(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.csv"
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 400)

    def spoil(change: Callable[[], object]) -> Callable[..., Iterator[Any]]:
        def mapper(function: Callable[[Any], Any], jobs: Iterable[Any], /) -> Iterator[Any]:
            for number, job in enumerate(list(jobs)):
                if number == 2:
                    change()
                yield function(job)

        return mapper

    for change, told in (
        (lambda: path.write_text("short"), "became shorter while it was read; run it again when the file is complete"),
        (path.unlink, "there is no such file; check the path"),
    ):
        path.write_text(LABELS_HEADER + "".join(f"{n:04d},human,/m/0k4j,1\n" for n in range(100)))
        with pytest.raises((DataError, UsageError), match=f"^{path}: {told}"):
            annotated(mini_vocabulary, "open-images", [path], tmp_path / "out", mapper=spoil(change))


# What was cut goes on


def test_a_cut_run_does_no_finished_piece_and_no_finished_part_again(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        LABELS_HEADER + "".join(f"{n % 50:04d},human,/m/0k4j,1\n{n % 50:04d},human,/m/9,1\nbad\n" for n in range(100))
    )
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 400)
    monkeypatch.setattr(runs, "PART_IMAGES", 7)
    expected = annotated(mini_vocabulary, "open-images", [path], tmp_path / "whole")
    journal = Journal.of(tmp_path / "out", {}, {})
    at = Workplace(tmp_path / "out", journal=journal)
    done: list[str] = []
    record = Journal.record

    def recording(self: Journal, job: str, finished: Any) -> None:
        record(self, job, finished)
        done.append(job)
        if len(done) % 5 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "record", recording)
    attempts = 0
    while True:
        attempts += 1
        try:
            found = annotated(mini_vocabulary, "open-images", [path], tmp_path / "out", at=at)
            break
        except KeyboardInterrupt:
            continue
    assert found == expected
    assert attempts >= 4
    assert len(done) == len(set(done)), "nothing was done twice"
    assert {job.partition("-")[0] for job in done} == {"piece", "part"}
    monkeypatch.setattr(Journal, "record", record)
    other = replace(journal, fingerprint="another")
    assert [other.finished(job) for job in done] == [None] * len(done), "another run takes nothing of it"


# Parts, counts and sentences


def test_annotations_are_cut_into_parts_of_a_size(
    mini_vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"n02084071_{number:03d}\nn02958343_{number:03d}\n" for number in range(25))
    (tmp_path / "list").write_text(text)
    form, files = "imagenet", [tmp_path / "list"]
    whole = made(mini_vocabulary, form, files, tmp_path / "whole")
    assert [receipt.rows for receipt in whole.receipts] == [50]
    monkeypatch.setattr(runs, "PART_IMAGES", 7)
    images: list[int] = []
    cut = made(mini_vocabulary, form, files, tmp_path / "cut", progress=images.append)
    assert [receipt.rows for receipt in cut.receipts] == [7] * 7 + [1]
    assert cut.summary == whole.summary
    assert sum(images) == 50
    parts = [read_table(receipt.path, ANNOTATIONS) for receipt in cut.receipts]
    assert pa.concat_tables(parts).equals(read_table(whole.receipts[0].path, ANNOTATIONS))


def test_what_became_of_every_row_is_told(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    header = "ImageID,Source,LabelName,Confidence\n"
    rows = "a,human,/m/0bt9lr,1\na,human,/m/0zorb,1\na,human,/m/99,1\na,human,/m/99,1\n"
    rows += "b,human,/m/98,1\nbad\n,human,/m/0bt9lr,1\n"
    (tmp_path / "labels.csv").write_text(header + rows)
    result = made(mini_vocabulary, "open-images", [tmp_path / "labels.csv"], tmp_path / "out")
    assert result.summary == AnnotationSummary(
        labels=1,
        dropped=1,
        unknown=3,
        malformed=1,
        images=1,
        images_without_labels=1,
        rejected_rows=1,
        without_image=1,
        first_rejected_rows=("labels.csv, line 7: missing columns: 'bad'",),
        most_frequent_unknown_classes=(("/m/99", 2), ("/m/98", 1)),
        first_malformed=("labels.csv, line 8: no image id: ',human,/m/0bt9lr,1'",),
    )


def test_an_unknown_class_that_is_known_without_its_blanks_is_told_as_that(
    mini_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("image_id,label\na, /m/0k4j\nb,/m/0k4j\nc,none\nd, none\n")
    summary = made(mini_vocabulary, "csv", [tmp_path / "a.csv"], tmp_path / "out").summary
    hint = "without the blanks around it, ' /m/0k4j' is a class: write it without them"
    told = f"' /m/0k4j' (1), ' none' (1), none (1); {hint}"
    assert summary.known_without_blanks == (" /m/0k4j",)
    assert f"unknown classes: {told}" in summary.lines()
    assert summary.findings() == [f"3 labels of unknown classes: {told}"]
    (tmp_path / "b.csv").write_text("image_id,label\na, /m/0k4j\n")
    with pytest.raises(DataError, match=f"no image keeps a label.*; {hint}$"):
        made(mini_vocabulary, "csv", [tmp_path / "b.csv"], tmp_path / "none")


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("imagenet", "n99999999_1\nbad\n", r"1 malformed rows, 1 labels of unknown classes \(.n99999999.\), 0 of"),
        ("csv", "image_id,label\na,\n", r"1 malformed rows, 0 labels of unknown classes, 0 of dropped"),
        ("csv", "image_id,label\n", "the files state none; check that the file is complete and in the right format$"),
        ("csv", "image_id,label\na,v\nb,w\nc,x\nd,y\n", r"4 labels of unknown classes \(such as ('.', ){2}'.'\), 0 of"),
        ("csv", "image_id,label\na,n00482298\n", "1 of dropped classes; check the format, and that the labels"),
        ("tencent", "\n\n", "the files state none; check that"),
    ],
)
def test_files_that_leave_no_label_are_refused(
    mini_vocabulary: Vocabulary, tmp_path: Path, form: str, text: str, told: str
) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(DataError, match=rf"^{tmp_path / 'f'}: no image keeps a label: .*{told}"):
        made(mini_vocabulary, form, [tmp_path / "f"], tmp_path / "out")
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("form", ["imagenet", "tencent"])
def test_a_list_that_is_empty_is_named_by_the_stage(mini_vocabulary: Vocabulary, tmp_path: Path, form: str) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(DataError, match=rf"^{tmp_path / 'f'}: is empty; obtain the file again$"):
        made(mini_vocabulary, form, [tmp_path / "f"], tmp_path / "out")


def test_a_tally_is_read_back_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("n02084071_1\nn02084071_1\nn02084071_2\nn02958343_1\nbad\n")
    csv_tally, parquet_tally = (
        tally("imagenet", [tmp_path / "list"], "imagenet", tmp_path / f"counts.{kind}") for kind in ("csv", "parquet")
    )
    assert (csv_tally.classes, csv_tally.rejects.count) == (parquet_tally.classes, 1) == (2, 1)
    assert csv_tally.receipt.path.read_text().splitlines() == [
        '"source","source_id","images"',
        '"imagenet","n02084071",2',
        '"imagenet","n02958343",1',
    ]
    assert read_table(parquet_tally.receipt.path, CLASS_COUNTS).to_pylist() == [
        {"source": "imagenet", "source_id": "n02084071", "images": 2},
        {"source": "imagenet", "source_id": "n02958343", "images": 1},
    ]


def test_a_tally_is_replaced_only_if_asked_to(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("n02084071_1\n")
    (tmp_path / "counts.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"counts.csv: is there already; name another file, or pass --overwrite"):
        tally("imagenet", [tmp_path / "list"], "imagenet", tmp_path / "counts.csv")
    assert (tmp_path / "counts.csv").read_text() == "mine"
    tally("imagenet", [tmp_path / "list"], "imagenet", tmp_path / "counts.csv", overwrite=True)
    assert "n02084071" in (tmp_path / "counts.csv").read_text()


def test_a_tally_goes_over_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / ".partial-counts.csv-runs" / ".partial-duckdb-0123"
    left.mkdir(parents=True)
    (left / "duckdb_temp_storage").touch()
    (left.parent / ".partial-run-00000-00000").write_text("half")
    (tmp_path / "list").write_text("n02084071_1\n")
    assert tally("imagenet", [tmp_path / "list"], "imagenet", tmp_path / "counts.csv").classes == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.csv", "list"]


@pytest.mark.parametrize(("name", "told"), [("list.csv", "is an input"), ("counts.txt", "neither .csv nor .parquet")])
def test_a_tally_spares_its_input_and_names_its_form(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "list.csv").write_text("n02084071_1\n")
    with pytest.raises(UsageError, match=told):
        tally("imagenet", [tmp_path / "list.csv"], "imagenet", tmp_path / name)
    assert (tmp_path / "list.csv").read_text() == "n02084071_1\n"


def test_predictions_of_ones_own_are_counted_with(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("image_id,label,confidence\na,n02084071,0.97\nb,n02084071,0.4\n")
    given = AnnotatedFiles(name="mine", format="csv", files=(tmp_path / "mine.csv",))
    annotate(mini_vocabulary, given, Workplace(tmp_path / "predictions"), schema=PREDICTIONS)
    dog = mini_vocabulary.index_of_wnid["n02084071"]
    rows = read_parts(tmp_path / "predictions", PREDICTIONS)
    assert [(i, row[dog][1]) for i, row in rows] == [("a", Origin.MODEL_PREDICTION), ("b", Origin.MODEL_PREDICTION)]


def test_a_tally_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("bad\n")
    with pytest.raises(
        DataError, match=r"no image of any class \(1 malformed rows, the first is .*'bad'\); check the format"
    ):
        tally("imagenet", [tmp_path / "list"], "imagenet", tmp_path / "counts.csv")


@pytest.mark.shared_data
def test_the_published_rows_are_annotated_whole(shared_data: Path, tmp_path: Path) -> None:
    from mlimages_dataset.vocab.stage import read_tencent_dictionary  # noqa: PLC0415 - only where the files are

    vocabulary = read_tencent_dictionary(shared_data / "tencent" / "dictionary_first_9418.txt")
    path = shared_data / "tencent" / "train_urls_61.txt"
    result = made(vocabulary, "tencent", [path], tmp_path)
    published = {line.split()[0]: line.split()[1:] for line in path.read_text().splitlines()}
    assert (result.summary.images, result.summary.labels) == (61, sum(map(len, published.values())))
    assert {i: {c: p for c, (p, _) in row.items()} for i, row in read_parts(tmp_path, ANNOTATIONS)} == {
        url: {int(c): float(np.float32(p)) for c, p in (label.split(":") for label in labels)}
        for url, labels in published.items()
    }


@pytest.mark.parametrize(
    ("form", "header"), [("csv", "image_id,label,confidence"), ("open-images", "ImageID,LabelName,Confidence")]
)
@pytest.mark.parametrize(("numbers", "told"), [("1 7 10", "7, 10"), ("1 0.5 100", "100"), ("3 1.0001", "3")])
def test_confidences_on_another_scale_are_refused_with_the_values_seen(
    mini_vocabulary: Vocabulary, tmp_path: Path, *, form: str, header: str, numbers: str, told: str
) -> None:
    rows = "".join(f"{n},/m/0k4j,{number}\n" for n, number in enumerate(numbers.split()))
    (tmp_path / "scale.csv").write_text(f"{header}\n{rows}")
    line = next(n for n, number in enumerate(numbers.split(), 2) if float(number) > 1.5)
    said = (
        rf"scale\.csv, line {line}: has confidences such as {told}, on another scale than 0 to 1; the first one is in"
    )
    with pytest.raises(DataError, match=said):
        made(mini_vocabulary, form, [tmp_path / "scale.csv"], tmp_path / "out")


def test_rejects_beside_a_missing_confidence_are_counted_once(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    rows = "a,/m/0k4j,1\nb,/m/0k4j,\nbad\nc,/m/0k4j,1.2\nworse\n"
    (tmp_path / "rows.csv").write_text(f"image_id,label,confidence\n{rows}")
    summary = made(mini_vocabulary, "csv", [tmp_path / "rows.csv"], tmp_path / "out").summary
    assert (summary.rejected_rows, summary.malformed) == (2, 2)


def test_a_tally_of_another_scale_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scale.csv").write_text("image_id,label,confidence\na,x,1\nb,y,90\n")
    with pytest.raises(DataError, match="has confidences such as 90, on another scale than 0 to 1"):
        tally("csv", [tmp_path / "scale.csv"], "s", tmp_path / "counts.csv")


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string(), pa.float32(), pa.decimal128(9, 2)])
def test_confidences_of_parquet_on_another_scale_are_refused(
    mini_vocabulary: Vocabulary, tmp_path: Path, kind: pa.DataType
) -> None:
    numbers = pa.array([1, 5, 9]).cast(pa.float64()).cast(kind)
    table = pa.table({"image_id": ["a", "b", "c"], "label": ["/m/0k4j"] * 3, "confidence": numbers})
    pq.write_table(table, tmp_path / "scale.parquet")
    with pytest.raises(DataError, match="has confidences such as 5, 9, on another scale than 0 to 1"):
        made(mini_vocabulary, "parquet", [tmp_path / "scale.parquet"], tmp_path / "out")


def test_labels_that_are_all_below_the_least_confidence_say_so(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "low.csv").write_text("image_id,label,confidence\na,/m/0k4j,0.3\n")
    given = AnnotatedFiles(name="s", format="csv", files=(tmp_path / "low.csv",), min_confidence=0.5)
    with pytest.raises(DataError, match=r"no image keeps a label: .* 1 below the least confidence; lower --min-confid"):
        annotate(mini_vocabulary, given, Workplace(tmp_path / "out"))
