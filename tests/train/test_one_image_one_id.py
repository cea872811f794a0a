"""What is ingested, annotated, predicted and loaded of one folder joins: a picture has one id everywhere."""

from __future__ import annotations

import itertools
import json
import tarfile
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner, Result

from cli.main import main as build
from mlimages_dataset import samples
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders import Loader, MLImages, ShuffledSampler, StreamedImages, train_transform
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMAGES, LABELS, PREDICTIONS, TableSchema
from mlimages_dataset.train.checkpoint import Checkpoint, RunProgress, save_checkpoint
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.models import create_model
from tests.images.foreign_folders import class_label, features, image_table, tar_folder, write_parquet
from tests.train.test_main import called, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DOG, CAT = "n02084071", "n02121620"
NAMES = (
    f"{DOG}/rex.jpg",
    f"{CAT}/rex.jpg",
    f"{DOG}/{DOG}_7.JPEG",
    f"{DOG}/deep/er/a b.c.JPG",
    f"{CAT}/cafe\u0301.jpg",
    f"{CAT}/john.smit.jpeg",
)
IDS = {
    f"{DOG}/rex",
    f"{CAT}/rex",
    f"{DOG}_7",
    f"{DOG}/deep/er/a b.c",
    f"{CAT}/caf\u00e9",
    f"{CAT}/john.smit",
}


def pictures(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Write a photograph under each name and return the folder."""
    for name, source in zip(names, itertools.cycle(sorted(samples.photographs().glob("*.jpg"))), strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source.read_bytes())
    return folder


def built(*words: str | Path) -> Result:
    """Return what became of a command of mlimages-build."""
    result = CliRunner().invoke(build, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


def ids(folder: Path, schema: TableSchema) -> set[str]:
    """Return the ids of a table's rows, each of which has another."""
    found = [one for part in table_parts(folder) for one in read_table(part, schema)["image_id"].to_pylist()]
    assert len(found) == len(set(found))
    return set(found)


@pytest.fixture(name="vocabulary", scope="module")
def _vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dogs-and-cats")
    (folder / "wnids.txt").write_text(f"{DOG}\n{CAT}\n", encoding="utf-8")
    built("vocab", "--imagenet", folder / "wnids.txt", "--out", folder / "vocabulary")
    return folder / "vocabulary"


@pytest.fixture(name="checkpoint", scope="module")
def _checkpoint(vocabulary: Path) -> Path:
    """Return a checkpoint of a small network with random weights."""
    classes = read_classes(vocabulary)
    torch.manual_seed(0)
    model = create_model("resnet18", len(classes))
    path = vocabulary.parent / "random.pt"
    checkpoint = Checkpoint(
        progress=RunProgress(),
        model_name="resnet18",
        n_classes=len(classes),
        image_size=32,
        vocabulary=classes.digest,
        science={"model.batch_norm_epsilon": "1e-05"},
        model=model.state_dict(),
        average={},
        optimizer={},
        loss={},
        scaler={},
        generators=[],
        sampler={},
    )
    save_checkpoint(path, checkpoint)
    return path


@pytest.mark.slow
def test_what_is_made_of_one_folder_joins(tmp_path: Path, vocabulary: Path, checkpoint: Path) -> None:
    folder = pictures(tmp_path / "pictures")
    with tarfile.open(tmp_path / "pictures.tar", "w") as tar:
        tar.add(folder, arcname=".")
    predict = ("predict", checkpoint, "--vocabulary", vocabulary, "--workers", "0", "--above", "0")
    built("images", "ingest", folder, "--out", tmp_path / "shards")
    built("images", "ingest", tmp_path / "pictures.tar", "--out", tmp_path / "of-tar")
    annotate = ("annotate", "--vocab", vocabulary)
    built(*annotate, "--format", "imagenet", folder, "--out", tmp_path / "of-folder")
    stated = tmp_path / "shards" / "labels.csv"
    built(*annotate, "--format", "csv", "--source", "mine", stated, "--out", tmp_path / "of-csv")
    rows = "".join(f"{name},{name.split('/')[0]}\n" for name in NAMES)
    (tmp_path / "paths.csv").write_text(f"image_id,label\n{rows}", encoding="utf-8")
    built(*annotate, "--format", "csv", "--source", "mine", tmp_path / "paths.csv", "--out", tmp_path / "of-paths")
    for images in ("pictures", "shards"):
        out = tmp_path / f"predicted-{images}"
        assert called(*predict, "--images", tmp_path / images, "--out", out).exit_code == 0
        assert ids(out, PREDICTIONS) == IDS, images
    assert ids(tmp_path / "shards", IMAGES) == IDS
    assert ids(tmp_path / "of-tar", IMAGES) == IDS
    for table in ("of-folder", "of-csv", "of-paths"):
        assert ids(tmp_path / table, ANNOTATIONS) == IDS, table
        built(
            *("labels", "--vocab", vocabulary, "--annotations", tmp_path / table),
            *("--out", tmp_path / f"labels-{table}"),
        )
        labels = tmp_path / f"labels-{table}"
        assert set().union(*(ids(split, LABELS) for split in labels.iterdir() if split.is_dir())) == IDS
        for images in ("pictures", "shards", "of-tar"):
            data = MLImages(
                tmp_path / images,
                tmp_path / table,
                split=None,
                transform=train_transform(16),
                n_classes=len(read_classes(vocabulary)),
            )
            assert {data[row].image_id for row in range(len(data))} == IDS, (table, images)
            contents = {data.catalogue.image_id(row): data.catalogue.content(row) for row in range(len(data))}
            assert contents[f"{DOG}/rex"] == (folder / DOG / "rex.jpg").read_bytes()
    # The teacher's predictions meet the annotations.
    built(
        *("cooccurrence", "--vocab", vocabulary, "--annotations", tmp_path / "of-paths"),
        *("--predictions", tmp_path / "predicted-pictures", "--probability", "0", "--out", tmp_path / "pairs"),
    )


def foreign(folder: Path, form: str) -> Path:
    """Write the pictures of `NAMES` as others do, in two shards whose labels are stated, and return their folder."""
    contents = {name: (pictures(folder.parent / "plain") / name).read_bytes() for name in NAMES}
    for number in range(2):
        names = NAMES[number::2]
        if form == "webdataset":
            members = {name: contents[name] for name in names}
            stated = {f"{name.rpartition('.')[0]}.cls": name.partition("/")[0].encode() for name in names}
            tar_folder(folder, {f"0000{number}.tar": dict(sorted((members | stated).items()))})
        else:
            images = [{"bytes": contents[name], "path": name} for name in names]
            table = image_table(images, label=[(DOG, CAT).index(name.partition("/")[0]) for name in names])
            metadata = features(image={"_type": "Image"}, label=class_label(DOG, CAT))
            write_parquet(folder / "data" / f"train-{number}.parquet", table, metadata=metadata, row_group_size=2)
    return folder


@pytest.mark.parametrize("form", ["webdataset", "huggingface"])
@pytest.mark.slow
def test_others_shards_join_wherever_they_are_read(
    tmp_path: Path, vocabulary: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = foreign(tmp_path / "in", form)
    built("annotate", "--vocab", vocabulary, "--format", form, folder, "--out", tmp_path / "annotations")
    assert ids(tmp_path / "annotations", ANNOTATIONS) == IDS
    built("images", "ingest", folder, "--out", tmp_path / "shards")
    assert ids(tmp_path / "shards", IMAGES) == IDS
    verified = built("images", "verify", folder, "--labels", tmp_path / "annotations", "--vocab", vocabulary)
    assert "6" in verified.output
    predict = ("predict", checkpoint, "--vocabulary", vocabulary, "--workers", "0", "--above", "0")
    assert called(*predict, "--images", folder, "--out", tmp_path / "predicted").exit_code == 0
    assert ids(tmp_path / "predicted", PREDICTIONS) == IDS
    data = MLImages(folder, tmp_path / "annotations", split=None, transform=train_transform(16), n_classes=9)
    loader = Loader(data, ShuffledSampler(data), batch_size=2, workers=2)
    assert {image for batch in loader for image in batch.image_ids} == IDS
    assert {sample.image_id for sample in StreamedImages(data)} == IDS
    plain = tmp_path / "plain" / DOG / "rex.jpg"
    contents = {data.catalogue.image_id(row): data.catalogue.content(row) for row in range(len(data))}
    assert contents[f"{DOG}/rex"] == plain.read_bytes()


def test_a_name_without_its_folder_is_another_image(tmp_path: Path, vocabulary: Path) -> None:
    folder = pictures(tmp_path / "pictures")
    text = f"image_id,label\nrex.jpg,{DOG}\n{DOG}/rex,{DOG}\n{DOG}/rex.JPG,{DOG}\n"
    (tmp_path / "paths.csv").write_text(text, encoding="utf-8")
    built("annotate", "--vocab", vocabulary, "--format", "csv", tmp_path / "paths.csv", "--out", tmp_path / "out")
    assert ids(tmp_path / "out", ANNOTATIONS) == {"rex", f"{DOG}/rex"}
    data = MLImages(folder, tmp_path / "out", split=None, transform=train_transform(16), n_classes=9)
    assert (len(data), data.catalogue.facts.without_picture) == (1, 1)


SHARED = [
    (f"{DOG}/rex.jpg", f"{DOG}/rex.png"),
    (f"{DOG}/rex.jpg", f"{DOG}/rex.JPG"),
    (f"{DOG}/{DOG}_7.jpg", f"{CAT}/{DOG}_7.jpg"),
    (f"{DOG}/caf\u00e9.jpg", f"{DOG}/cafe\u0301.jpg"),
]


@pytest.mark.slow
@pytest.mark.parametrize("names", SHARED)
def test_two_pictures_of_one_id_are_told_or_refused(
    tmp_path: Path, vocabulary: Path, checkpoint: Path, names: tuple[str, str]
) -> None:
    folder = pictures(tmp_path / "pictures", names)
    told = refusal(
        *(2, "predict", checkpoint, "--vocabulary", vocabulary, "--images", folder, "--workers", "0"),
        *("--out", tmp_path / "predicted"),
    )
    assert " would be one image, " in told
    assert "mlimages-build images ingest" in told
    ingested = json.loads(built("images", "ingest", folder, "--out", tmp_path / "shards", "--json").stdout)
    assert ingested["summary"]["statuses"]["repeated_id"] == 1
    csv = tmp_path / "paths.csv"
    csv.write_text("image_id,label\n" + "".join(f"{name},{DOG}\n" for name in names), encoding="utf-8")
    for form, given in (("imagenet", folder), ("csv", csv)):
        result = built("annotate", "--vocab", vocabulary, "--format", form, given, "--out", tmp_path / form)
        assert "1  images of several names, which may be different pictures" in result.output
        assert "one image: " in result.output
    without = tmp_path / "without.csv"
    without.write_text(f"image_id,label\n{names[0]},{DOG}\n", encoding="utf-8")
    built("annotate", "--vocab", vocabulary, "--format", "csv", without, "--out", tmp_path / "without")
    with pytest.raises(UsageError, match="would be one image"):
        MLImages(folder, tmp_path / "without", split=None, transform=train_transform(16), n_classes=9)


def test_one_file_is_seen_in_columns_and_as_json(tmp_path: Path, vocabulary: Path, checkpoint: Path) -> None:
    folder = pictures(tmp_path / "pictures", (f"{DOG}/rex.jpg", f"{CAT}/tom.JPG"))
    (folder / "broken.png").write_bytes(b"no picture")
    given = ("--vocabulary", vocabulary, "--workers", "0")
    shown = called("predict", checkpoint, folder / DOG / "rex.jpg", *given, "--top", "2")
    assert shown.exit_code == 0, shown.output
    assert "holds no calibration fit" in shown.stderr
    assert called("predict", checkpoint, folder / DOG / "rex.jpg", *given, "--raw").stderr == "", "none is asked for"
    title, *lines = shown.stdout.splitlines()
    assert title == "rex.jpg"
    assert len(lines) == 2
    probabilities = [float(line.split()[0]) for line in lines]
    assert probabilities == sorted(probabilities, reverse=True)
    assert {line.split()[1] for line in lines} <= set(read_classes(vocabulary).wnids)

    told = called("predict", checkpoint, folder, *given, "--json")
    assert told.exit_code == 0, told.output
    seen = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["image_id"] for one in seen] == ["broken", f"{DOG}/rex", f"{CAT}/tom"]
    assert "error" in seen[0]
    assert len(seen[1]["classes"]) == min(10, len(read_classes(vocabulary)))
    assert seen[1]["classes"][0].keys() == {"class_index", "wnid", "name", "confidence"}
    assert [round(one["confidence"], 4) for one in seen[1]["classes"][:2]] == pytest.approx(probabilities, abs=2e-4)
    # What is printed is what the table holds.
    assert called("predict", checkpoint, folder, *given, "--above", "0", "--out", tmp_path / "out").exit_code == 0
    rows = [row for part in table_parts(tmp_path / "out") for row in read_table(part, PREDICTIONS).to_pylist()]
    table = {row["image_id"]: {label["class_index"]: label["confidence"] for label in row["labels"]} for row in rows}
    for one in seen[1:]:
        assert all(table[one["image_id"]][c["class_index"]] == pytest.approx(c["confidence"]) for c in one["classes"])


def test_predict_refuses_in_one_sentence(tmp_path: Path, vocabulary: Path, checkpoint: Path) -> None:
    folder = pictures(tmp_path / "pictures")
    given = ("--vocabulary", vocabulary, "--workers", "0")
    assert refusal(2, "predict", checkpoint, *given).startswith("no pictures; name ")
    assert refusal(2, "predict", checkpoint, folder, "--images", folder, *given).startswith("pictures are given twice;")
    assert "there is no such file or folder" in refusal(2, "predict", checkpoint, tmp_path / "none.jpg", *given)
    told = refusal(2, "predict", checkpoint, folder, "--top", "3", "--out", tmp_path / "out", *given)
    assert told.startswith("--out writes a table, but --top and --json print;")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    result = called("predict", checkpoint, tmp_path / "broken.jpg", *given)
    assert result.exit_code == 1
    assert result.stdout == ""
    first, last = result.stderr.splitlines()
    assert first.startswith("broken.jpg: cannot be used: ")
    assert "no picture can be used" in last


# ImageNet's forms of one picture

TRAINING = [f"{wnid}_{number}" for wnid in (DOG, CAT) for number in (10026, 8388, 7, 42, 999)]
VALIDATION = [f"ILSVRC2012_val_{number:08}" for number in (1, 2, 10, 999, 1000, 2500, 33333, 48981, 49999, 50000)]


def class_of(stem: str) -> str:
    """Return the class of a picture of ours: that in its name, or in turn."""
    return stem.partition("_")[0] if stem.startswith("n") else (DOG, CAT)[VALIDATION.index(stem) % 2]


FORMS: dict[str, Callable[[str], str]] = {
    "published list": lambda stem: f"{class_of(stem)}/{stem}.JPEG",
    "tar of a class": lambda stem: f"{class_of(stem)}/{stem}.JPEG",
    "hugging face": lambda stem: f"{stem}_{class_of(stem)}.JPEG",
    "kaggle": lambda stem: f"Data/CLS-LOC/{'train/' + class_of(stem) if stem.startswith('n') else 'val'}/{stem}",
    "bare stem": lambda stem: stem,
}


def lists(folder: Path, form: str, stems: list[str]) -> tuple[Path, Path]:
    """Write what a user has of a form: a list of ImageNet's own, and a table."""
    names = [FORMS[form](stem) for stem in stems]
    lines = [f"{name} {class_of(stem)}\n" for name, stem in zip(names, stems, strict=True)]
    (folder / "list.txt").write_text("".join(lines), encoding="utf-8")
    rows = "".join(line.replace(" ", ",") for line in lines)
    (folder / "rows.csv").write_text(f"image_id,label\n{rows}", encoding="utf-8")
    return folder / "list.txt", folder / "rows.csv"


@pytest.mark.slow
@pytest.mark.parametrize("stems", [TRAINING, VALIDATION], ids=["training", "validation"])
def test_imagenets_five_forms_of_ten_pictures_have_ten_ids(
    tmp_path: Path, vocabulary: Path, checkpoint: Path, stems: list[str]
) -> None:
    predict = ("predict", checkpoint, "--vocabulary", vocabulary, "--workers", "0", "--above", "0")
    tables, stores = [], []
    for form, name_of in FORMS.items():
        place = tmp_path / form.replace(" ", "-")
        place.mkdir()
        for given, kind in zip(lists(place, form, stems), ("imagenet", "csv"), strict=True):
            out = place / f"annotations-{kind}"
            built("annotate", "--vocab", vocabulary, "--format", kind, given, "--out", out)
            assert ids(out, ANNOTATIONS) == set(stems), (form, kind)
            tables.append(out)
        # A picture in a folder or an archive has a suffix in whatever form.
        names = tuple(f"{name_of(stem).removesuffix('.JPEG')}.JPEG" for stem in stems)
        folder = given = pictures(place / "pictures", names)
        if form.startswith("tar"):
            given = place / "pictures.tar"
            with tarfile.open(given, "w") as tar:
                tar.add(folder, arcname=".")
        built("images", "ingest", given, "--out", place / "shards")
        assert ids(place / "shards", IMAGES) == set(stems), form
        assert called(*predict, "--images", folder, "--out", place / "predictions").exit_code == 0
        assert ids(place / "predictions", PREDICTIONS) == set(stems), form
        stores += [folder, place / "shards"]
    for store in stores:
        data = MLImages(
            store, tables[0], split=None, transform=train_transform(16), n_classes=len(read_classes(vocabulary))
        )
        assert {data[row].image_id for row in range(len(data))} == set(stems), store
