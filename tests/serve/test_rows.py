"""Filters, pages and copied text agree with plain Python over random small builds."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.serve import filters, index, snippets
from mlimages_dataset.serve import rows as rows_module
from mlimages_dataset.serve.build import open_build
from mlimages_dataset.serve.filters import Cursor, Filter, read_cursor, read_filter
from mlimages_dataset.serve.rows import Rows
from mlimages_dataset.tables.files import give_name
from mlimages_dataset.tables.schemas import Origin
from tests.augment.strategies import CONFIDENCES
from tests.images.folders import image_folder, picture
from tests.serve.builds import SOURCES, Build, Image, builds, matches, rows_of, vocabulary_of, write_build

if TYPE_CHECKING:
    from mlimages_dataset.serve.build import ServedBuild
    from mlimages_dataset.vocab.vocabulary import Vocabulary

TWO: Build = {
    "train": [[[Image("a", "s", {0: (1.0, 1), 1: (1.0, 0)}), Image("b", "s", {0: (0.0, 0), 1: (0.0, 1)})]]],
    "val": [[[Image("c", "t", {0: (0.5, 2)})]]],
}
PAIR = vocabulary_of([[], [0]])


def drawn_filters(n_classes: int) -> st.SearchStrategy[Filter]:
    confidences = st.one_of(st.none(), st.just(0.0), CONFIDENCES)
    return st.builds(
        Filter,
        category=st.one_of(st.none(), st.integers(0, n_classes - 1)),
        below=st.booleans(),
        origin=st.one_of(st.none(), st.sampled_from(Origin)),
        least=confidences,
        most=confidences,
        source=st.one_of(st.none(), st.sampled_from(SOURCES)),
        split=st.sampled_from([None, "train"]),
    ).filter(lambda one: one.category is not None or not one.below)


def opened(folder: Path, images: tuple[Path, ...] = ()) -> tuple[Rows, ServedBuild]:
    build = open_build(folder, images)
    return Rows(index.open_index(build), build), build


def walked(rows: Rows, chosen: Filter, size: int, *, backwards: bool) -> list[list[int]]:
    """Return the rows of all pages as a reader turns them."""
    cursor, pages = (Cursor(before=2**31 - 1) if backwards else Cursor()), []
    while True:
        page = rows.page(chosen, cursor, size)
        pages.append([row.row for row in page.rows])
        if not (page.earlier if backwards else page.later):
            return pages
        cursor = Cursor(before=pages[-1][0]) if backwards else Cursor(after=pages[-1][-1])


@pytest.mark.parametrize("chunk_rows", [1, 1 << 18])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=builds(), data=st.data())
@pytest.mark.slow
def test_pages_hold_each_matching_row_once(
    monkeypatch: pytest.MonkeyPatch,
    chunk_rows: int,
    drawn: tuple[Vocabulary, Build, list[set[int]]],
    data: st.DataObject,
) -> None:
    monkeypatch.setattr(index, "_CHUNK_ROWS", chunk_rows)
    vocabulary, splits, below = drawn
    with tempfile.TemporaryDirectory() as folder:
        rows, build = opened(write_build(Path(folder) / "it's [a] *build*", vocabulary, splits))
        for chosen in data.draw(st.lists(drawn_filters(len(vocabulary)), min_size=2, max_size=4)):
            expected = [k for k, row in enumerate(rows_of(splits)) if matches(*row, chosen, below)]
            for size in (1, 3):
                forwards = walked(rows, chosen, size, backwards=False)
                assert [row for page in forwards for row in page] == expected
                assert all(len(page) == size for page in forwards[:-1])
                backwards = walked(rows, chosen, size, backwards=True)
                assert [row for page in reversed(backwards) for row in page] == expected
            assert rows.count(chosen) in {None, len(expected)}
            assert_copied_text_finds(rows, expected, chosen, build)


def assert_copied_text_finds(rows: Rows, expected: list[int], chosen: Filter, build: ServedBuild) -> None:
    ids = [row.image_id for row in rows.rows(expected)]
    assert sorted(row[0] for row in duckdb.execute(snippets.sql(chosen, build)).fetchall()) == ids
    names: dict[str, object] = {}
    exec(snippets.python(chosen, build), names)  # noqa: S102 - our own text is what is tested
    assert sorted(names["image_ids"]) == ids  # type: ignore[call-overload]  # an array


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=builds())
@pytest.mark.slow
def test_counts_are_those_of_the_rows(
    monkeypatch: pytest.MonkeyPatch, drawn: tuple[Vocabulary, Build, list[set[int]]]
) -> None:
    monkeypatch.setattr(rows_module, "_COMPARED_CHUNKS", 100)
    vocabulary, splits, _ = drawn
    with tempfile.TemporaryDirectory() as folder:
        rows, _ = opened(write_build(Path(folder), vocabulary, splits))
        given_rows = rows_of(splits)
        for c in range(len(vocabulary)):
            counted: dict[tuple[str, int, bool], int] = {}
            together: dict[int, int] = {}
            for split, image in given_rows:
                if c in image.labels:
                    confidence, origin = image.labels[c]
                    counted[split, origin, confidence > 0] = counted.get((split, origin, confidence > 0), 0) + 1
                    for other, (other_confidence, _) in image.labels.items():
                        if confidence > 0 and other_confidence > 0:
                            together[other] = together.get(other, 0) + 1
            assert {(one.split, int(one.origin), one.present): one.images for one in rows.counts(c)} == counted
            n, companions = rows.companions(c)
            assert {**({c: n} if n else {}), **dict(companions)} == together
        present = [c for _, image in given_rows for c, (confidence, _) in image.labels.items() if confidence > 0]
        assert rows.images_of_classes() == {c: present.count(c) for c in present}


@settings(max_examples=100)
@given(chosen=drawn_filters(3), after=st.one_of(st.none(), st.integers(0, 100)))
def test_an_address_states_its_filter(chosen: Filter, after: int | None) -> None:
    vocabulary = vocabulary_of([[], [0], [1]])
    address = filters.address("/", chosen, vocabulary, after=after)
    given_back = dict(filters_query(address))
    if chosen.least is not None and chosen.least > (1 if chosen.most is None else chosen.most):
        with pytest.raises(UsageError, match="above the highest"):
            read_filter(given_back, vocabulary)
        return
    assert read_filter(given_back, vocabulary) == chosen
    assert read_cursor(given_back) == Cursor(after=after)


def filters_query(address: str) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl, urlsplit  # noqa: PLC0415 - the standard library's reader is the oracle

    return parse_qsl(urlsplit(address).query)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"colour": "red"}, "there is no filter 'colour'"),
        ({"from": "much"}, "give a number from 0 to 1"),
        ({"to": "nan"}, "give a number from 0 to 1"),
        ({"to": "1.5"}, "give a number from 0 to 1"),
        ({"origin": "guess"}, "there is no origin 'guess'"),
        ({"below": "no", "category": "n00000000"}, "use yes, or leave it out"),
        ({"category": "nothing"}, "no category has the id or the name 'nothing'"),
    ],
)
def test_what_is_no_filter_is_refused_in_a_sentence(stated: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_filter(stated, PAIR)


@pytest.mark.parametrize("stated", [{"after": "-1"}, {"before": "x"}, {"after": "1", "before": "2"}, {"after": "²"}])
def test_what_is_no_page_is_refused(stated: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no page of these images"):
        read_cursor(stated)


def test_confidences_are_compared_as_tables_hold_them() -> None:
    chosen = read_filter({"from": "0,8", "to": ".9"}, PAIR)
    assert (filters.number(chosen.least), filters.number(chosen.most)) == ("0.8", "0.9")
    assert filters.sentence(chosen, PAIR) == "confidence from 0.8 to 0.9"


def test_the_index_is_made_once_for_the_same_tables_and_pictures(tmp_path: Path) -> None:
    folder = write_build(tmp_path / "build", PAIR, TWO)
    opened(folder)
    (made,) = folder.glob(".cache-serve-*.duckdb")
    before = made.stat().st_mtime_ns
    opened(folder)
    assert made.stat().st_mtime_ns == before
    write_build(folder, PAIR, {"val": [[[Image("d", "u", {})]]]})
    rows, _ = opened(folder)
    assert [row.image_id for row in rows.page(Filter()).rows] == ["a", "b", "d"]
    (again,) = folder.glob(".cache-serve-*")
    assert again != made
    pictures = image_folder(tmp_path / "pictures", [{"d": picture(1), "a": None}])
    rows, _ = opened(folder, (pictures,))
    assert [row.image_id for row in rows.page(Filter(pictures=True)).rows] == ["d"]
    assert rows.count(Filter(category=0, pictures=True)) == 0
    assert not list(folder.glob(".partial-*"))


def test_where_the_build_cannot_be_written_the_index_is_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_build(tmp_path / "build", PAIR, TWO)

    def refuse(partial: Path, path: Path) -> None:
        if path.parent == folder:
            raise UsageError("cannot be written", where=path)
        give_name(partial, path)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "give_name", refuse)
    for _ in range(2):
        rows, _ = opened(folder)
        assert rows.n == 3
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    assert len(list((tmp_path / "cache" / "mlimages-dataset").iterdir())) == 1


def test_the_cache_keeps_the_newest_indices_of_builds_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their builds' names are such that DuckDB cannot write beside them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache = tmp_path / "cache" / "mlimages-dataset"

    def shown(*names: str) -> set[str]:
        """Serve builds in turn, and return the names of all builds whose index is kept."""
        for name in names:
            opened(write_build(tmp_path / f"{name}?", PAIR, TWO))
        kept = (Path(index._first_part(path)) for path in cache.glob(".cache-serve-*.duckdb"))
        return {path.relative_to(tmp_path).parts[0].removesuffix("?") for path in kept}

    assert shown("a", "b", "c", "d") == {"a", "b", "c", "d"}
    assert shown("a", "e") == {"a", "c", "d", "e"}, "b was asked longest ago"
    shutil.rmtree(tmp_path / "d?")
    (cache / ".cache-serve-0123456789abcdef.duckdb").write_bytes(b"of another version")
    (cache / ".cache-serve-0123456789abcdef.pictures-0.arrow").touch()
    write_build(tmp_path / "c?", PAIR, {"val": [[[Image("d", "u", {})]]]})
    assert shown("c") == {"a", "c", "e"}
    assert len(list(cache.iterdir())) == 3


def test_a_folder_whose_name_duckdb_cannot_open_is_served_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows, _ = opened(write_build(tmp_path / "what?", PAIR, TWO))
    assert [row.image_id for row in rows.page(Filter()).rows] == ["a", "b", "c"]


def test_a_table_that_changed_meanwhile_is_told(tmp_path: Path) -> None:
    folder = write_build(tmp_path / "build", PAIR, TWO)
    rows, _ = opened(folder)
    (first,) = rows.rows([0])
    assert rows.table(first)["image_id"].to_pylist() == ["a"]
    write_build(folder, PAIR, {"train": [[[Image("z", "s", {})]]]})
    with pytest.raises(DataError, match="has changed since"):
        rows.table(first)
    (folder / "labels" / "train" / "part-00000.parquet").unlink()
    with pytest.raises(DataError, match="cannot be read"):
        rows.table(first)


def test_an_image_of_several_rows_has_them_all(tmp_path: Path) -> None:
    twice: Build = {"train": [[[Image("a", "s", {0: (1.0, 0)})]], [[Image("a", "t", {}), Image("b", "t", {})]]]}
    rows, _ = opened(write_build(tmp_path, PAIR, twice))
    assert [(row.row, row.source) for row in rows.rows_of_id("a")] == [(0, "s"), (1, "t")]
    assert rows.rows_of_id("' OR true --") == ()


def test_a_build_without_rows_has_one_empty_page(tmp_path: Path) -> None:
    rows, _ = opened(write_build(tmp_path, PAIR, {"train": [[]]}))
    page = rows.page(Filter())
    assert (page.rows, page.earlier, page.later, rows.n, rows.count(Filter())) == ((), False, False, 0, 0)
    assert rows.companions(0) == (0, [])
