"""The catalogue is the join of pictures and labels, made once, whoever asks first."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.loaders.catalogue import Catalogue, open_catalogue, split_folder
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.samples import photographs
from tests.images.folders import image_folder
from tests.loaders.tables import pictures, write_labels

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from pathlib import Path

    from tests.loaders.tables import Row

C = 9


def content(row: int, catalogue: Catalogue) -> tuple[str, str, dict[int, float], bytes]:
    """Return all that a catalogue says of a row."""
    classes, confidence, origin = catalogue.labels(row)
    assert origin.tolist() == [c % 4 for c in classes.tolist()]
    labels = dict(zip(classes.tolist(), confidence.tolist(), strict=True))
    return catalogue.image_id(row), catalogue.facts.sources[catalogue.source(row)], labels, catalogue.content(row)


def random_rows(ids: list[str], seed: int) -> list[Row]:
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(ids).tolist()
    labels = [{int(c): float(rng.choice([0, 0.5, 1])) for c in rng.integers(0, C, rng.integers(0, 4))} for _ in chosen]
    return [(name, f"source-{len(of)}", "", of) for name, of in zip(chosen, labels, strict=True)]


def test_rows_are_the_labelled_pictures_in_the_order_of_the_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlimages_dataset.loaders.catalogue.layout.BLOCK_ROWS", 7)
    saved = pictures(40)
    names = list(saved)
    first = image_folder(tmp_path / "first", [{n: saved[n] for n in names[:15]}, {n: saved[n] for n in names[15:22]}])
    second = image_folder(tmp_path / "second", [{n: saved[n] for n in names[20:33]}, {"not-saved": None}])
    rows = random_rows([*names[3:], "not-saved", "unknown"], 0)
    write_labels(tmp_path / "labels" / "part-00000.parquet", rows[:17])
    labels = write_labels(tmp_path / "labels" / "part-00001.parquet", rows[17:])
    catalogue = open_catalogue([first, second], labels, n_classes=C, cache=tmp_path / "cache")

    of_id = {row[0]: row for row in rows}
    expected = [(n, of_id[n][1], of_id[n][3], saved[n]) for n in names[3:33]]
    assert [content(row, catalogue) for row in range(len(catalogue))] == expected
    assert catalogue.facts.without_picture == len(rows) - len(expected)
    assert catalogue.facts.labels == sum(len(labels) for _, _, labels, _ in expected)
    for c in range(C):
        begin, end = catalogue.rows_of_class.offsets[c : c + 2]
        having = [k for k, (_, _, labels, _) in enumerate(expected) if labels.get(c, 0) > 0]
        assert catalogue.rows_of_class.rows[begin:end].tolist() == having

    again: Catalogue = pickle.loads(pickle.dumps(catalogue))  # noqa: S301 - our own bytes
    assert content(13, again) == expected[13]
    folder, offset, length = catalogue.place(0)
    assert folder.read_bytes()[offset : offset + length] == saved[names[3]]


def test_the_order_of_the_label_table_does_not_matter(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [pictures(12)])
    rows = random_rows(list(pictures(12)), 1)
    contents = []
    for number, order in enumerate((rows, rows[::-1])):
        labels = write_labels(tmp_path / str(number) / "part-00000.parquet", order)
        catalogue = open_catalogue([images], labels, n_classes=C, cache=tmp_path / "cache")
        contents.append([content(row, catalogue) for row in range(len(catalogue))])
    assert contents[0] == contents[1]


def test_an_image_that_two_sources_label_is_a_row_for_each(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [pictures(2)])
    rows: list[Row] = [("picture-0001", "b", "", {1: 1.0}), ("picture-0001", "a", "", {2: 1.0})]
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", rows)
    catalogue = open_catalogue([images], labels, n_classes=C, cache=tmp_path / "cache")
    assert [content(row, catalogue)[:3] for row in range(2)] == [
        ("picture-0001", "b", {1: 1.0}),
        ("picture-0001", "a", {2: 1.0}),
    ]


def test_a_folder_of_files_is_read_by_location(tmp_path: Path) -> None:
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(b"no")
    known, others = ["tulips.jpg", str(photographs() / "fig.jpg")], ["../secret.jpg", str(outside)]
    others += [f"{photographs()}/../__init__.py", f"data:image/png;base64,{'A' * 300}"]
    places = [*known, *others, "https://example.org/a.jpg", "", "no.jpg"]
    rows: list[Row] = [(f"id-{k}", "mine", place, {k: 1.0}) for k, place in enumerate(places)]
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", rows)
    catalogue = open_catalogue([photographs()], labels, n_classes=C, cache=tmp_path / "cache")
    assert [content(row, catalogue) for row in range(len(catalogue))] == [
        ("id-0", "mine", {0: 1.0}, (photographs() / "tulips.jpg").read_bytes()),
        ("id-1", "mine", {1: 1.0}, (photographs() / "fig.jpg").read_bytes()),
    ]
    assert catalogue.place(0) == (photographs() / "tulips.jpg", 0, -1)


def test_a_copy_of_a_folder_does_not_stand_for_it(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"a")
    rows: list[Row] = [("id", "mine", str(tmp_path / "one" / "a.jpg"), {1: 1.0})]
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", rows)
    assert len(open_catalogue([tmp_path / "one"], labels, n_classes=C, cache=tmp_path / "cache")) == 1
    with pytest.raises(UsageError, match=r"none of 1 labelled images has a picture in .*other"):
        open_catalogue([tmp_path / "other"], labels, n_classes=C, cache=tmp_path / "cache")


def _open(images: Path, labels: Path, cache: Path, results: SimpleQueue[tuple[int, float]]) -> None:
    catalogue = open_catalogue([images], labels, n_classes=C, cache=cache)
    results.put((len(catalogue), next(path for path in cache.glob("catalogue-*")).stat().st_ctime))


def test_several_processes_make_one(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [pictures(5)])
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", random_rows(list(pictures(5)), 2))
    context = multiprocessing.get_context("fork")
    results: SimpleQueue[tuple[int, float]] = context.SimpleQueue()
    processes = [context.Process(target=_open, args=(images, labels, tmp_path / "c", results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    assert len(set(found)) == 1
    assert found[0][0] == 5
    left = {path.name.strip(".").partition("-")[0] for path in (tmp_path / "c").glob("*")}
    assert left == {"catalogue"}, "nothing is left of the making but the lock"


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [pictures(2)])
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", random_rows(list(pictures(2)), 2))
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=_open_and_die, args=(images, labels, tmp_path / "c"))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert list((tmp_path / "c").glob(".partial-*"))
    assert len(open_catalogue([images], labels, n_classes=C, cache=tmp_path / "c")) == 2
    assert not list((tmp_path / "c").glob(".partial-*"))


def _open_and_die(images: Path, labels: Path, cache: Path) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlimages_dataset.loaders.catalogue.build._write_rows_of_class", die)
        open_catalogue([images], labels, n_classes=C, cache=cache)


@pytest.mark.parametrize("name", ["rows.arrow", "classes.npy", "rows_of_class.npy"])
@pytest.mark.parametrize("left", [0, 100, None])
def test_a_damaged_catalogue_is_named(tmp_path: Path, name: str, left: int | None) -> None:
    images = image_folder(tmp_path / "images", [pictures(2)])
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", [("picture-0000", "a", "", {1: 1.0})])
    open_catalogue([images], labels, n_classes=C, cache=tmp_path / "c")
    (path,) = (tmp_path / "c").glob(f"catalogue-*/{name}")
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(DataError, match=f"{name}: is not a complete"):
        open_catalogue([images], labels, n_classes=C, cache=tmp_path / "c")


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [pictures(2)])
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", [("picture-0000", "a", "", {1: 1.0})])
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"no catalogue can be kept in it .*; name another cache"):
        open_catalogue([images], labels, n_classes=C, cache=tmp_path / "file")


def test_other_pictures_or_labels_make_another(tmp_path: Path) -> None:
    some = pictures(4)
    images = image_folder(tmp_path / "images", [dict(list(some.items())[:2])])
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", random_rows(list(some), 3))
    lengths = [len(open_catalogue([images], labels, n_classes=C, cache=tmp_path / "cache"))]
    image_folder(images, [some], overwrite=True)
    lengths.append(len(open_catalogue([images], labels, n_classes=C, cache=tmp_path / "cache")))
    write_labels(tmp_path / "labels" / "part-00000.parquet", random_rows(list(some)[:3], 3))
    lengths.append(len(open_catalogue([images], labels, n_classes=C, cache=tmp_path / "cache")))
    assert lengths == [2, 4, 3]


def test_the_number_of_classes_is_the_manifests(tmp_path: Path) -> None:
    images = image_folder(tmp_path / "images", [pictures(2)])

    def work(out: Path) -> StageResult[Any]:
        write_labels(out / "train" / "part-00000.parquet", random_rows(list(pictures(2)), 4))
        return StageResult((), {"train": {"images_of_class": [0] * 77}})

    OutputFolder(tmp_path / "labels").run("labels", parameters={}, inputs={}, work=work)  # type: ignore[arg-type]
    catalogue = open_catalogue([images], tmp_path / "labels" / "train", cache=tmp_path / "cache")
    assert catalogue.facts.n_classes == 77


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ("no images", UsageError, "there is no such folder"),
        ("none named", UsageError, "no folder of images is named"),
        ("no picture", UsageError, r"none of 1 labelled images has a picture in .*images"),
        ("no count", UsageError, "no manifest gives the number of classes; pass n_classes"),
        ("few classes", DataError, r"class index is not in 0\.\.1"),
        ("no labels", UsageError, r"there is no part-\*\.parquet in it"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, change: str, error: type[Exception], sentence: str) -> None:
    images = image_folder(tmp_path / "images", [pictures(1)])
    name = "unknown" if change == "no picture" else "picture-0000"
    labels = write_labels(tmp_path / "labels" / "part-00000.parquet", [(name, "mine", "", {5: 1.0})])
    with pytest.raises(error, match=sentence) as raised:
        open_catalogue(
            [tmp_path / "nowhere" if change == "no images" else images][: change != "none named"],
            tmp_path / "nowhere" if change == "no labels" else labels,
            n_classes={"no count": None, "few classes": 2}.get(change, C),
            cache=tmp_path / "cache",
        )
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache").glob("catalogue-*")), "nothing half-made is left"


def test_a_split_that_there_is_not(tmp_path: Path) -> None:
    write_labels(tmp_path / "train" / "part-00000.parquet", [])
    assert split_folder(tmp_path, "train") == tmp_path / "train"
    assert split_folder(tmp_path, None) == tmp_path
    with pytest.raises(UsageError, match="there is no split 'test' in it, only train"):
        split_folder(tmp_path, "test")
