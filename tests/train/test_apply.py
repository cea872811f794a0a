"""What a network says of pictures does not depend on who asks: parts, rows and bytes are those of one rank."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset.tables.checks import check_rows
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import LABELS, PREDICTIONS
from mlimages_dataset.train.__main__ import main
from mlimages_dataset.train.checkpoint import Checkpoint, RunProgress, read_checkpoint, save_checkpoint
from mlimages_dataset.train.config import Data, Phase, Run
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.pictures import Part
from mlimages_dataset.train.predict import prediction_rows, top_classes
from mlimages_dataset.train.science import science, turns_upright
from tests.images.test_orientation import stating
from tests.train.processes import on_ranks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.train.conftest import Photographs


@given(n_pictures=st.integers(1, 100_000), batch_size=st.integers(1, 512))
def test_parts_cover_every_picture_once_in_whole_batches(n_pictures: int, batch_size: int) -> None:
    parts = Part.all_of(n_pictures, batch_size)
    assert [number for part in parts for number in (part.first, part.stop)][1:-1] == [
        first for part in parts[1:] for first in (part.first, part.first)
    ]
    assert (parts[0].first, parts[-1].stop) == (0, n_pictures)
    assert all((part.stop - part.first) % batch_size == 0 for part in parts[:-1])


@given(data=st.data(), n_images=st.integers(0, 6), n_classes=st.integers(1, 9))
def test_rows_list_what_is_probable_and_nothing_else(data: st.DataObject, n_images: int, n_classes: int) -> None:
    values = data.draw(
        st.lists(st.floats(0, 1, width=32), min_size=n_images * n_classes, max_size=n_images * n_classes)
    )
    probabilities = torch.tensor(values).reshape(n_images, n_classes)
    ids = [f"image-{number}" for number in range(n_images)]
    table = prediction_rows(probabilities, ids, [""] * n_images, source="model", above=0.5)
    check_rows(table, PREDICTIONS, where="rows")
    assert table["image_id"].to_pylist() == ids
    found = [{label["class_index"]: label["confidence"] for label in row} for row in table["labels"].to_pylist()]
    most = 1 - 2**-24  # 1 would be verified
    assert found == [{c: min(p, most) for c, p in enumerate(row) if p > 0.5} for row in probabilities.tolist()]


@pytest.fixture(name="checkpoint")
def _checkpoint(photographs: Photographs, tmp_path: Path) -> Path:
    """Return a checkpoint of a small network with random weights."""
    classes = read_classes(photographs.vocabulary)
    torch.manual_seed(0)
    model = create_model("resnet18", len(classes))
    save_checkpoint(
        tmp_path / "random.pt",
        Checkpoint(
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
        ),
    )
    return tmp_path / "random.pt"


@pytest.mark.slow
def test_no_probability_is_verified() -> None:
    probabilities = torch.tensor([[200.0, 17.5, 0.0, -200.0], [0.0, 30.0, -90.0, -100.0]]).sigmoid()
    assert probabilities[0, 0] == 1, "float32 has no number between"
    table = prediction_rows(probabilities, ["a", "b"], ["", ""], source="model", above=0.0)
    found = {one["class_index"]: one["confidence"] for one in table["labels"][0].as_py()}
    assert found[0] == found[1] == 1 - 2**-24
    assert found[2] == 0.5
    assert all(0 < one["confidence"] < 1 for labels in table["labels"].to_pylist() for one in labels)
    assert top_classes(probabilities, 2, 0.5)[0] == ((0, 1 - 2**-24), (1, 1 - 2**-24))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "extract"])
def test_parts_are_the_same_bytes_for_any_number_of_ranks(
    checkpoint: Path, photographs: Photographs, tmp_path: Path, command: str
) -> None:
    found = []
    for n_ranks in (1, 3):
        out = tmp_path / str(n_ranks)
        arguments = {"images": photographs.images, "vocabulary": photographs.vocabulary, "out": out}
        options = [text for name, value in arguments.items() for text in (f"--{name}", str(value))]
        fixed = ["--batch-size", "4", "--workers", "0", "--device", "cpu"]
        ranks = on_ranks(n_ranks, "-m", "mlimages_dataset.train", command, str(checkpoint), *options, *fixed)
        assert [done.code for done in ranks] == [0] * n_ranks, ranks[0].err
        found.append({path.name: file_digest(path) for path in sorted(out.glob("part-*.parquet"))})
    assert found[0] == found[1]
    assert len(found[0]) == 9, "34 photographs in batches of 4"


def test_probabilities_of_one_label_an_image_add_up_to_one(
    checkpoint: Path, photographs: Photographs, tmp_path: Path
) -> None:
    taught = read_checkpoint(checkpoint)
    softmax = tmp_path / "softmax.pt"
    save_checkpoint(softmax, dataclasses.replace(taught, science={**taught.science, "loss.name": '"softmax"'}))
    options = {"--images": photographs.images, "--vocabulary": photographs.vocabulary, "--out": tmp_path / "out"}
    given_options = [text for name, value in options.items() for text in (name, str(value))]
    result = CliRunner().invoke(main, ["predict", str(softmax), *given_options, "--above", "0", "--workers", "0"])
    assert result.exit_code == 0, result.output
    assert "calibration" not in result.stderr, "there is nothing to calibrate"
    for part in table_parts(tmp_path / "out"):
        for row in read_table(part, PREDICTIONS)["labels"].to_pylist():
            assert sum(label["confidence"] for label in row) == pytest.approx(1, abs=1e-4)


def test_a_picture_that_cannot_be_decoded_is_told_and_left_out(
    checkpoint: Path, photographs: Photographs, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted(photographs.images.glob("*.jpg"))[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    given_files = dataclasses.replace(photographs, images=folder)
    options = ["--images", str(given_files.images), "--vocabulary", str(given_files.vocabulary), "--workers", "0"]
    result = CliRunner().invoke(main, ["predict", str(checkpoint), *options, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "3 images, and 1 that cannot be used" in result.stdout
    no_fit, unreadable = result.stderr.splitlines()
    assert no_fit.startswith(f"{checkpoint} holds no calibration fit, so only the weights of its loss are undone: ")
    assert unreadable.startswith("cannot be used: broken: ")


def test_a_network_that_learnt_of_upright_pictures_is_shown_upright_ones(
    checkpoint: Path, photographs: Photographs, tmp_path: Path
) -> None:
    for path in sorted(photographs.images.glob("*.jpg"))[:2]:
        upright = Image.open(path).convert("RGB").resize((48, 36))
        for folder, content in (
            ("upright", stating(1, "PNG", upright)),
            ("turned", stating(6, "PNG", upright.transpose(Image.Transpose.ROTATE_90))),  # EXIF 6 is turned back
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{path.stem}.png").write_bytes(content)
    stored = read_checkpoint(checkpoint)
    turning = tmp_path / "turning.pt"
    save_checkpoint(turning, dataclasses.replace(stored, science={**stored.science, "data.upright": "true"}))
    found = {}
    for network, folder in ((turning, "upright"), (turning, "turned"), (checkpoint, "turned")):
        out = tmp_path / f"{network.stem}-{folder}"
        options = ["--images", str(tmp_path / folder), "--vocabulary", str(photographs.vocabulary), "--workers", "0"]
        result = CliRunner().invoke(main, ["predict", str(network), *options, "--above", "0", "--out", str(out)])
        assert result.exit_code == 0, result.output
        found[network, folder] = [read_table(part, PREDICTIONS)["labels"].to_pylist() for part in table_parts(out)]
    assert found[turning, "turned"] == found[turning, "upright"] != found[checkpoint, "turned"]


@pytest.mark.parametrize("upright", [True, False])
def test_a_runs_settings_say_whether_pictures_are_turned(*, upright: bool) -> None:
    run = Run(epochs=1, data=Data(upright=upright), phases=(Phase(),))
    assert turns_upright(science(run)) == upright
    assert ("data.upright" in science(run)) == upright, "as in checkpoints of earlier versions"


def test_a_labelled_picture_that_cannot_be_decoded_is_told_and_not_measured(
    checkpoint: Path, photographs: Photographs, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(photographs.images, folder)
    labelled = read_table(table_parts(photographs.labels)[0], LABELS)["image_id"][0].as_py()
    (folder / f"{labelled}.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    options = ["--vocabulary", str(photographs.vocabulary), "--labels", str(photographs.labels), "--workers", "0"]

    def n_images(images: Path) -> int:
        result = CliRunner().invoke(main, ["evaluate", str(checkpoint), "--images", str(images), *options, "--json"])
        assert result.exit_code == 0, result.output
        return int(json.loads(result.stdout)["n_images"])

    whole = n_images(photographs.images)
    with pytest.warns(UserWarning, match=rf"^not measured: 1 bad picture in {whole} samples: {labelled} \("):
        assert n_images(folder) == whole - 1
