"""A first build: the same pictures in any layout get the same labels, and what needs a decision is named."""

from __future__ import annotations

import json
import shutil
import zipfile
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pytest

import mlimages_dataset as ml
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.recipes import build as recipes
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.api.builds import Build

CLASS_OF = {"dog/a": "dog", "dog/b": "dog", "tabby cat/c": "tabby cat", "goldn retreiver/d": "goldn retreiver"}
KEPT = {"dog/a": "n02084071", "dog/b": "n02084071", "tabby cat/c": "n02123045"}
COLUMNS = ["image_id", "wnid", "confidence", "origin"]


@pytest.fixture(name="photos", scope="module")
def _photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a folder per class, with what is no picture, and pictures of no class."""
    folder = tmp_path_factory.mktemp("given") / "photos"
    for number, image_id in enumerate(CLASS_OF):
        (folder / image_id).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{image_id}.jpg").write_bytes(picture(number))
    (folder / "dog" / "cut.jpg").write_bytes(picture(7)[:300])
    (folder / "images").mkdir()
    (folder / "images" / "e.png").write_bytes(picture(8, form="PNG"))
    (folder / "notes\x1b[2J.txt").write_text("a note", "utf-8")
    return folder


@pytest.fixture(name="built", scope="module")
def _built(photos: Path) -> Build:
    return ml.start(photos, out=photos.parent / "build")


def labels_of(build: Build) -> pd.DataFrame:
    return build.labels.to_pandas(columns=COLUMNS).sort_values(COLUMNS, ignore_index=True)


def test_folders_are_classes_and_labels_have_all_parents(built: Build) -> None:
    frame = labels_of(built)
    stated = frame.query("origin == 0")
    assert dict(zip(stated["image_id"], stated["wnid"], strict=True)) == KEPT
    for image_id, rows in frame.groupby("image_id"):
        expected = {one.wnid for one in built.vocabulary.ancestors(KEPT[str(image_id)])}
        assert set(rows["wnid"]) == expected
    assert {"n01317541", "n02121808"} <= set(frame["wnid"])  # ancestors that no folder names


def test_the_pictures_are_in_shards_that_loaders_read(built: Build) -> None:
    assert built.images is not None
    store = open_store(built.images)
    assert sorted(store.image_ids.to_pylist()) == sorted([*CLASS_OF, "images/e"])
    shown = ml.show(built.folder, "dog/a.jpg").images[0]
    number = store.image_ids.to_pylist().index("dog/a")
    assert (shown.file, shown.offset) == (str(store.place(number).path), store.place(number).offset)
    assert store.read(number) == picture(0)


def test_a_picture_without_a_label_is_told_as_that(built: Build) -> None:
    for name in ("images/e", "images/e.png"):
        with pytest.raises(ml.MLImagesError, match=f"the picture '{name}' has no label; state what it shows"):
            ml.show(built.folder, name)
    with pytest.raises(ml.MLImagesError, match="no image and no category is called 'images/f'"):
        ml.show(built.folder, "images/f")


def test_what_needs_a_decision_is_named_with_the_line_to_write(built: Build) -> None:
    found = {one.kind: one for one in built.decisions}
    assert set(found) == {
        "class that fits nothing",
        "files that are no picture that can be read",
        "pictures without a label",
    }
    assert found["class that fits nothing"].lines == ("goldn retreiver,golden retriever,n02099601,",)
    unread = found["files that are no picture that can be read"].text
    assert "2 files: dog/cut.jpg (broken: " in unread
    assert "(not an image: " in unread
    told = "2 pictures: goldn retreiver/d, images/e; by their names, these folders are no classes: images (1); "
    assert found["pictures without a label"].text.startswith(told)


def test_the_line_decides(built: Build, photos: Path, tmp_path: Path) -> None:
    line = built.decisions[0].lines[0]
    listed = (built.folder / "classes" / "photos.csv").read_text("utf-8").splitlines()
    mine = [line if one.startswith("goldn retreiver") else one for one in listed]
    (tmp_path / "mine.csv").write_text("\n".join(mine) + "\n", "utf-8")
    decided = ml.start(photos, classes=tmp_path / "mine.csv", out=tmp_path / "build")
    stated = labels_of(decided).query("origin == 0")
    assert dict(zip(stated["image_id"], stated["wnid"], strict=True)) == {**KEPT, "goldn retreiver/d": "n02099601"}


def test_a_class_list_does_not_silence_the_labels_beside_the_pictures(photos: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for at, image_id in enumerate(CLASS_OF):
        shutil.copyfile(photos / f"{image_id}.jpg", flat / f"{at}.jpg")
    rows = [f"{at}.jpg,{name}" for at, name in enumerate(CLASS_OF.values())]
    (flat / "labels.csv").write_text("\n".join(["image_id,label", *rows, ""]), "utf-8")
    lines = [f"{name},golden retriever,n02099601" for name in dict.fromkeys(CLASS_OF.values())]
    (tmp_path / "mine.csv").write_text("\n".join(["id,name,wnid", *lines, ""]), "utf-8")
    built = ml.start(flat, classes=tmp_path / "mine.csv", out=tmp_path / "build")
    stated = labels_of(built).query("origin == 0")
    assert dict(zip(stated["image_id"], stated["wnid"], strict=True)) == {
        str(at): "n02099601" for at in range(len(rows))
    }


def test_blanks_and_line_breaks_in_names_of_folders_lose_no_label(tmp_path: Path) -> None:
    folders = ["dog ", " cat", "coffee\nmug", " \tzebra\t"]
    for number, name in enumerate(folders):
        (tmp_path / "given" / name).mkdir(parents=True)
        (tmp_path / "given" / name / "one.jpg").write_bytes(picture(number))
    built = ml.start(tmp_path / "given", out=tmp_path / "build")
    wnids = labels_of(built).query("origin == 0")["wnid"]
    names = {built.vocabulary.categories[built.vocabulary.index_of_wnid[wnid]].first_name for wnid in wnids}
    assert names == {"dog", "cat", "coffee mug", "zebra"}


def test_a_label_of_blanks_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    for number, name in enumerate("abc"):
        (tmp_path / "given" / f"{name}.jpg").write_bytes(picture(number))
    (tmp_path / "given" / "labels.csv").write_text('image_id,label\na,dog\nb," "\nc, dog \n', "utf-8")
    built = ml.start(tmp_path / "given", out=tmp_path / "build")
    told = next(one for one in built.decisions if one.kind == "labels of unknown classes")
    assert "2 labels of labels" in told.text
    assert not any(one.kind == "repeated id" for one in built.decisions)


@pytest.mark.parametrize("listed", [False, True])
def test_several_labels_in_a_cell_are_told_with_the_key_of_the_recipe_that_reads_them(
    photos: Path, tmp_path: Path, *, listed: bool
) -> None:
    (tmp_path / "flat").mkdir()
    for at, image_id in enumerate(CLASS_OF):
        shutil.copyfile(photos / f"{image_id}.jpg", tmp_path / "flat" / f"{at}.jpg")
    rows = ["image_id,label", "0.jpg,dog;cat", "1.jpg,dog", "2.jpg,zebra;dog", "3.jpg,cat;zebra"]
    (tmp_path / "mine.csv").write_text("\n".join([*rows, ""]), "utf-8")
    (tmp_path / "classes.csv").write_text("id,name\ndog,dog\ncat,cat\nzebra,zebra\n", "utf-8")
    given = [tmp_path / "mine.csv", *([tmp_path / "classes.csv"] if listed else [])]
    built = ml.start(tmp_path / "flat", classes=given, out=tmp_path / "build")
    told = next(one.text for one in built.decisions if one.kind == "several labels in a cell")
    assert told.startswith("3 labels of mine with ';', such as ")
    key = 'separator = ";"'
    assert f'write {key} below name = "mine" into a copy of recipe.toml' in told
    assert not any(";" in line for one in built.decisions for line in one.lines)
    recipe = (built.folder / "recipe.toml").read_text("utf-8")
    (tmp_path / "copy.toml").write_text(recipe.replace('name = "mine"', f'name = "mine"\n{key}'), "utf-8")
    again = ml.run(tmp_path / "copy.toml", out=tmp_path / "again")
    stated = labels_of(again).query("origin == 0")
    assert stated.groupby("image_id").size().to_dict() == {"0": 2, "1": 1, "2": 2, "3": 2}
    assert not any(one.kind == "several labels in a cell" for one in again.decisions)


def test_no_line_is_given_for_a_label_that_is_known_without_its_blanks(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for at, image_id in enumerate(CLASS_OF):
        shutil.copyfile(photos / f"{image_id}.jpg", tmp_path / "flat" / f"{at}.jpg")
    rows = ["image_id,label", "0.jpg,d", "1.jpg, d", "2.jpg,zebra ", "3.jpg,d"]
    (tmp_path / "flat" / "labels.csv").write_text("\n".join([*rows, ""]), "utf-8")
    (tmp_path / "mine.csv").write_text("id,name\nd,dog\n", "utf-8")
    built = ml.start(tmp_path / "flat", classes=tmp_path / "mine.csv", out=tmp_path / "build")
    told = next(one for one in built.decisions if one.kind == "labels of unknown classes")
    assert "without the blanks around it, ' d' is a class: write it without them" in told.text
    assert [line.split(",")[0].strip() for line in told.lines] == ["zebra"]


def test_what_is_known_of_classes_may_be_in_memory(photos: Path, tmp_path: Path) -> None:
    """A frame of labels, a frame of classes, a mapping, and names say the same; the recipe builds it again."""
    names = ["dog", "tabby cat", "goldn retreiver"]
    known = pd.DataFrame({"id": names, "name": ["dog", "tabby", "gold"], "wnid": ["", "", "n02099601"]})
    said = pd.DataFrame({"image_id": [f"{one}.jpg" for one in CLASS_OF], "label": CLASS_OF.values()})
    plain, decided = {**KEPT}, {**KEPT, "goldn retreiver/d": "n02099601"}
    cases: list[tuple[object, dict[str, str]]] = [
        (names, plain),
        ({"dog": "dog", "tabby cat": "tabby", "goldn retreiver": "golden retriever"}, decided),
        (known, decided),
        (pa.Table.from_pandas(known), decided),
        ([said, known], decided),
        (said, plain),
    ]
    for number, (classes, expected) in enumerate(cases):
        build = ml.start(photos, classes=classes, out=tmp_path / f"{number}")
        stated = labels_of(build).query("origin == 0")
        assert dict(zip(stated["image_id"], stated["wnid"], strict=True)) == expected
        assert recipes.verify(build.folder) == []
    again = ml.run(tmp_path / "1" / "recipe.toml", tmp_path / "again")
    assert {*labels_of(again).query("origin == 0")["wnid"]} == {*decided.values()}
    fresh: list[bool] = []
    ml.start(photos, classes=known, out=tmp_path / "2", ended=lambda _, outcome: fresh.append(outcome.fresh))
    assert not any(fresh)
    with pytest.raises(ml.MLImagesError, match=r"holds another build: in stage given, input classes"):
        ml.start(photos, classes=names, out=tmp_path / "2")


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (3, "classes is of the type int, which is not a path"),
        ({"dog": 3}, "classes maps other things than text"),
        (pd.DataFrame({"image_id": ["dog/a"]}), "the frame of classes: no column label"),
        (pd.DataFrame({"id": ["dog"]}), "the frame of classes: no column name"),
        (pd.DataFrame({"breed": ["dog"]}), "the frame of classes: no column image_id"),
        (["no-such-file.csv"], "there is no such file"),
        ([], "classes is empty"),
    ],
)
def test_what_says_nothing_of_classes_is_refused(photos: Path, tmp_path: Path, classes: object, sentence: str) -> None:
    with pytest.raises(ml.MLImagesError, match=sentence):
        ml.start(photos, classes=classes, out=tmp_path / "build")
    assert not (tmp_path / "build").exists()


@pytest.mark.slow
def test_any_layout_of_the_same_pictures_gives_the_same_labels(built: Build, photos: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for image_id in CLASS_OF:
            archive.write(photos / f"{image_id}.jpg", f"{image_id}.jpg")
    zipped = ml.start(tmp_path / "photos.zip", out=tmp_path / "zipped")
    pd.testing.assert_frame_equal(labels_of(zipped), labels_of(built))
    shutil.copytree(photos, tmp_path / "tabled")
    rows = [f"{image_id}.jpg,{name}" for image_id, name in CLASS_OF.items()]
    (tmp_path / "tabled" / "labels.csv").write_text("\n".join(["image_id,label", *rows, ""]), "utf-8")
    tabled = ml.start(tmp_path / "tabled", out=tmp_path / "of-table")
    pd.testing.assert_frame_equal(labels_of(tabled), labels_of(built))
    assert not any("labels.csv" in one.text for one in tabled.decisions)


def test_the_recipe_builds_the_same_again(built: Build, tmp_path: Path) -> None:
    again = ml.run(built.folder / "recipe.toml", tmp_path / "again")
    pd.testing.assert_frame_equal(labels_of(again), labels_of(built))
    fresh: list[bool] = []
    ml.run(built.folder / "recipe.toml", built.folder, ended=lambda _, outcome: fresh.append(outcome.fresh))
    assert fresh
    assert not any(fresh)


def test_verify_reads_the_pictures_too(built: Build, tmp_path: Path) -> None:
    copied = tmp_path / "build"
    shutil.copytree(str(built.folder), copied)
    assert recipes.verify(copied) == []
    shard = copied / "images" / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\1")
    assert [one.partition(":")[0] for one in recipes.verify(copied)] == ["images/shard-00000.tar"]


def test_labels_of_other_pictures_are_refused_by_their_file(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("image_id,label\nnobody.jpg,dog\n", "utf-8")
    with pytest.raises(ml.MLImagesError, match=r"other\.csv: names none of the 5 pictures: it has 'nobody'"):
        ml.start(photos, classes=tmp_path / "other.csv", out=tmp_path / "build")


def test_what_cannot_be_used_is_refused_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a", "utf-8")
    (tmp_path / "list.csv").write_text(json.dumps({}), "utf-8")
    (tmp_path / "data.yaml").write_text("names: [dog]", "utf-8")
    for given, classes, sentence in (
        (tmp_path / "texts", None, "holds no picture"),
        (tmp_path / "nowhere", None, "there is no such file or folder"),
        (photos, tmp_path / "list.csv", "has neither the columns id and name"),
        (photos, tmp_path / "missing.csv", "there is no such file"),
        (photos, tmp_path / "data.yaml", "is YOLO's list of classes, which belongs to a folder of labels"),
    ):
        with pytest.raises(ml.MLImagesError, match=sentence):
            ml.start(given, classes=classes, out=tmp_path / "build")
        assert not (tmp_path / "build").exists()
    with pytest.raises(ml.MLImagesError, match="photos is 3, but must be a path or a list of paths"):
        ml.start(3, out=tmp_path / "build")  # type: ignore[arg-type]  # what users do


@pytest.mark.slow
def test_pictures_that_say_nothing_are_refused_and_do_not_block_the_folder(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(picture(1))
    with pytest.raises(ml.MLImagesError, match=r"no picture says what it shows; put them into folders.* annotations"):
        ml.start(tmp_path / "flat", out=tmp_path / "build")
    (tmp_path / "labels.csv").write_text("image_id,label\na,dog\n", "utf-8")
    built = ml.start(tmp_path / "flat", classes=tmp_path / "labels.csv", out=tmp_path / "build")
    assert len(built.labels) == 1


VOC = "<annotation><size><width>9</width><height>9</height></size><object><name>dog</name></object></annotation>"


@pytest.mark.slow
@pytest.mark.parametrize("given", [None, "Annotations", ""])
def test_many_files_of_a_suffix_are_told_in_one_line_and_not_at_all_where_they_are_read(
    tmp_path: Path, given: str | None
) -> None:
    folder = tmp_path / "in"
    for number in range(15):
        for name, content in ((f"dog/{number}.jpg", picture(number)), (f"Annotations/{number}.xml", VOC.encode())):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    (folder / "dog" / "cut.jpg").write_bytes(picture(99)[:300])
    (folder / "README").write_text("a", "utf-8")
    (folder / "Annotations" / "notes.txt").write_text("a", "utf-8")
    # Annotations name pictures by their own names: those of another folder are without a label.
    (folder / "0.jpg").write_bytes(picture(98))
    built = ml.start(folder, classes=None if given is None else folder / given, out=tmp_path / "build")
    (told,) = [one.text for one in built.decisions if one.kind == "files that are no picture that can be read"]
    hint = " (annotations of voc, cvat? start --classes reads them), "
    many = f"18 files: 15 files .xml such as Annotations/0.xml{hint}"
    assert told.startswith(many if given is None else "3 files: ")
    assert (".xml" in told) == (hint in told) == (given is None)
    for name in ("README", "Annotations/notes.txt", "dog/cut.jpg (broken: "):
        assert name in told


@pytest.mark.slow
def test_pictures_of_one_id_are_told_as_such_and_names_of_any_kind_are_joined(tmp_path: Path) -> None:
    for number, name in enumerate(("dog/1.jpg", "dog/1.png", "dog/a\tb.jpg", "dog/c\nd.jpg", "tabby cat/\udcff.jpg")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(picture(number, form="PNG" if name.endswith("png") else "JPEG"))
    built = ml.start(tmp_path / "in", out=tmp_path / "build")
    found = {one.kind: one.text for one in built.decisions}
    told = "dog/1 (an earlier picture has the id, dog/1.jpg; this one is dog/1.png)"
    assert found["pictures with one id"].startswith("1 picture, ")
    assert found["pictures with one id"].endswith(told)
    assert not {"files that are no picture that can be read", "labels without a picture"} & set(found)
    assert {"dog/1", "dog/a\tb", "dog/c\nd", "tabby cat/ÿ"} <= set(labels_of(built)["image_id"])


def test_it_is_told_that_the_splits_of_folders_are_not_kept_and_how_to_draw_validation_images(tmp_path: Path) -> None:
    for number, name in enumerate(("train/dog/a", "train/cat/b", "test/dog/c")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / f"{name}.jpg").write_bytes(picture(number))
    built = ml.start(tmp_path / "photos", out=tmp_path / "all")
    (told,) = built.decisions
    assert told.kind == "folders of splits"
    assert told.text.startswith("the pictures lie in test, train, and all of them are training images of this build")
    assert "also those in test: to keep those in test apart" in told.text
    assert built.labels.summary is not None
    assert (built.labels.summary.train.images, built.labels.summary.val.images) == (3, 0)
    lines = "[labels]\nvalidation_images = 1\n"
    assert lines.strip().replace("\n", " and ") in told.text
    own = (tmp_path / "all" / "recipe.toml").read_text("utf-8")
    (tmp_path / "copy.toml").write_text(own + lines, "utf-8")
    drawn = ml.run(tmp_path / "copy.toml", out=tmp_path / "drawn")
    assert drawn.labels.summary is not None
    assert drawn.labels.summary.val.images == 1
    (told,) = drawn.decisions
    assert told.text.startswith("the pictures lie in test, train, and this build draws its 1 validation image from all")
    assert ml.start(tmp_path / "photos" / "train", out=tmp_path / "train").decisions == ()
