"""Transfer by a linear SVM: draws, cross-validation, the command, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.svm import LinearSVC

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.train.__main__ import main
from mlimages_dataset.train.caltech import (
    TABLE_4,
    Collection,
    Few,
    Protocol,
    check_sizes,
    drawn,
    measure,
    without_clutter,
)
from mlimages_dataset.train.checkpoint import Checkpoint, RunProgress, save_checkpoint
from mlimages_dataset.train.extract import read_features
from mlimages_dataset.train.models import create_model
from tests.benchmarks.linear_svm_speed import features_of_classes

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

CPU = torch.device("cpu")


def _collection(sizes: dict[str, int], n_features: int = 3) -> Collection:
    classes = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    return Collection(tuple(sizes), classes, np.zeros((len(classes), n_features), np.float32))


@given(
    sizes=st.lists(st.integers(2, 20), min_size=2, max_size=5),
    per_class=st.integers(1, 12),
    split=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_so_many_images_of_each_class_are_drawn(sizes: list[int], per_class: int, split: int, seed: int) -> None:
    collection = _collection({f"{number:03d}.class": size for number, size in enumerate(sizes)})
    protocol = Protocol(per_class=per_class, seed=seed, few=Few.USE)
    place = drawn(collection, protocol, split)
    assert (place == drawn(collection, protocol, split)).all()
    for number, size in enumerate(sizes):
        wanted = per_class if size > per_class else size // 2
        of_class = place[collection.classes == number]
        assert sorted(of_class[of_class >= 0]) == list(range(wanted))
        assert (of_class < 0).sum() == size - wanted > 0


def test_a_draw_does_not_depend_on_other_classes_and_splits_differ() -> None:
    both = _collection({"001.ak47": 30, "056.dog": 30, "257.clutter": 30})
    alone = without_clutter(both)
    assert (alone.names, len(alone.features)) == (("001.ak47", "056.dog"), 60)
    protocol = Protocol(per_class=10)
    assert (drawn(both, protocol, 0)[:60] == drawn(alone, protocol, 0)).all()
    draws = [tuple(drawn(alone, protocol, split)) for split in range(3)]
    draws += [tuple(drawn(alone, Protocol(per_class=10, seed=1), split)) for split in range(3)]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("normalised", [True, False])
def test_the_result_is_what_linear_svc_gives_on_the_same_draw(*, normalised: bool) -> None:
    features, classes = features_of_classes(6, 25, 20, spread=1.5)
    collection = Collection(tuple("abcdef"), classes, features)
    protocol = Protocol(per_class=12, splits=2, costs=(0.01, 1.0), folds=3, normalised=normalised, tolerance=1e-6)
    found = measure(collection, protocol, few={}, device=CPU)
    rows = features.astype(np.float64)
    if normalised:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    def right(cost: float, train: np.ndarray, test: np.ndarray) -> np.ndarray:
        svm = LinearSVC(C=cost, dual=False, tol=1e-8, max_iter=10_000).fit(rows[train], classes[train])
        hits: np.ndarray = svm.predict(rows[test]) == classes[test]
        return hits

    for split, result in enumerate(found.splits):
        place = drawn(collection, protocol, split)
        train, test = place >= 0, place < 0
        hits = right(result.cost, train, test)
        assert result.accuracy == pytest.approx(hits.mean(), abs=1.5 / len(hits))
        by_class = np.mean([hits[classes[test] == number].mean() for number in range(6)])
        assert result.mean_class_accuracy == pytest.approx(by_class, abs=0.03)
        for cost, accuracy in zip(protocol.costs, result.cross_validation, strict=True):
            folds = [right(cost, train & (place % 3 != fold), train & (place % 3 == fold)) for fold in range(3)]
            assert accuracy == pytest.approx(np.concatenate(folds).mean(), abs=2.5 / train.sum())
        assert result.cost == protocol.costs[int(np.argmax(result.cross_validation))]
        assert (result.trained, result.tested) == (72, 78)
    mean, spread = found.measures()["accuracy"]
    both = [split.accuracy for split in found.splits]
    assert mean == pytest.approx(np.mean(both))
    assert spread == pytest.approx(np.std(both, ddof=1))


def test_the_published_table_is_4() -> None:
    assert list(TABLE_4.values()) == [86.0, 83.6, 86.5], "Wu et al. 2019, table 4: checkpoints 1 to 3"


@pytest.mark.parametrize(
    "wrong",
    [
        *({"per_class": 0}, {"splits": 0}, {"folds": 1}, {"seed": -1}, {"tolerance": 0.0}),
        *({"costs": ()}, {"costs": (1.0, 1.0)}, {"costs": (0.0,)}, {"costs": (float("nan"),)}),
    ],
)
def test_a_protocol_without_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Protocol(**wrong)  # type: ignore[arg-type]  # that is what is tested


def test_classes_with_few_images_are_named_or_used() -> None:
    sizes = {"001.ak47": 5, "002.flag": 3, "003.backpack": 4}
    protocol = Protocol(per_class=3)
    with pytest.raises(DataError, match=r"1 of 3 classes have fewer than 4 usable images \(002.flag has 3\)"):
        check_sizes(sizes, protocol, where="here")
    assert check_sizes(sizes, Protocol(per_class=3, few=Few.USE), where="here") == {"002.flag": 3}
    with pytest.raises(DataError, match=r"fewer than 2 usable images \(b has 1\); add images"):
        check_sizes({"a": 9, "b": 1}, Protocol(per_class=3, few=Few.USE), where="here")


@pytest.fixture(name="checkpoint", scope="module")
def _checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of a small network with random weights, of no known vocabulary."""
    path = tmp_path_factory.mktemp("network") / "random.pt"
    _save(path, seed=0)
    return path


def _save(path: Path, *, seed: int, factor: float = 1.0) -> None:
    torch.manual_seed(seed)
    model = {name: value * factor for name, value in create_model("resnet18", 2).state_dict().items()}
    science = {"model.batch_norm_epsilon": "1e-05"}
    nothing: dict[str, dict[str, object]] = {name: {} for name in ("average", "optimizer", "loss", "scaler", "sampler")}
    save_checkpoint(
        path,
        Checkpoint(
            progress=RunProgress(),
            model_name="resnet18",
            n_classes=2,
            image_size=32,
            vocabulary="",
            science=science,
            model=model,
            generators=[],
            **nothing,
        ),
    )


COLOURS = {"001.red": (200, 40, 40), "002.green": (40, 200, 40), "257.clutter": (120, 120, 120)}


@pytest.fixture(name="pictures")
def _pictures(tmp_path: Path) -> Path:
    """Return a folder of classes of noisy pictures of one colour each."""
    chance = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.clip(chance.normal(colour, 30, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{name[:3]}_{number:04d}.png")
    return tmp_path / "pictures"


def _called(checkpoint: Path, pictures: Path, *options: str) -> Result:
    fixed = ["--workers", "0", "--device", "cpu", "--splits", "2", "--folds", "2", "--costs", "0.1,1"]
    out = pictures.parent / "out"
    words = ["caltech", str(checkpoint), "--images", str(pictures), "--out", str(out), *fixed, *options]
    return CliRunner().invoke(main, words)


def test_features_are_computed_once_for_any_parameters(checkpoint: Path, pictures: Path) -> None:
    first = _called(checkpoint, pictures, "--per-class", "3", "--json")
    assert first.exit_code == 0, first.output
    content = json.loads(first.stdout)
    assert content["accuracy"]["mean"] > 0.9, "two colours"
    assert (content["classes"], content["features"], content["images"]) == (2, 512, 18)
    assert content["parameters"]["costs"] == [0.1, 1.0]
    assert (content["view"], content["image_size"]) == ("crop80", 32)
    assert content["checkpoint_sha256"] == file_digest(checkpoint)
    assert "computed" in first.stderr
    out = pictures.parent / "out"
    features = {path: path.stat().st_mtime_ns for path in (out / "features").iterdir()}
    second = _called(checkpoint, pictures, "--per-class", "2", "--clutter", "--no-normalise")
    assert second.exit_code == 0, second.output
    assert "as computed before" in second.stderr
    assert {path: path.stat().st_mtime_ns for path in (out / "features").iterdir()} == features
    assert "3 classes, with clutter; 512 features, not normalised" in second.stdout
    assert "  86.5 %  pre-trained on Tencent ML-Images" in second.stdout
    results = sorted(out.glob("caltech-*.json"))
    assert len(results) == 2, "no result replaces another"
    assert content in [json.loads(path.read_text()) for path in results]


def test_pictures_that_cannot_be_used_are_counted(checkpoint: Path, pictures: Path) -> None:
    (pictures / "001.red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    (pictures / "002.green" / "deeper").mkdir()
    good = (pictures / "002.green" / "002_0000.png").read_bytes()
    (pictures / "002.green" / "deeper" / "x.png").write_bytes(good)
    (pictures / "beside.png").write_bytes(good)
    ran = _called(checkpoint, pictures, "--per-class", "3")
    assert ran.exit_code == 0, ran.output
    assert "20 images, and 1 that cannot be used" in ran.stdout
    assert "2 pictures are not directly in a folder of a class, and not used" in ran.stdout
    assert "cannot be used: 001.red/broken: " in ran.stderr
    assert read_features(pictures.parent / "out" / "features")[1].shape == (20, 512)


def test_what_cannot_be_measured_is_told_in_a_sentence(checkpoint: Path, pictures: Path, tmp_path: Path) -> None:
    def told(*options: str, network: Path = checkpoint, images: Path = pictures) -> str:
        ran = _called(network, images, *options)
        assert ran.exit_code in {1, 2}, ran.output
        return ran.stderr

    assert "2 of 2 classes have fewer than 7 usable images (001.red has 6, 002.green has 6)" in told("--per-class", "6")
    assert "name a folder with one sub-folder of pictures per class" in told(images=pictures / "001.red")
    assert "there is no such" in told(images=tmp_path / "nowhere")
    assert "is not a list of numbers" in told("--costs", "a,b")
    assert "costs" in told("--costs", "0")
    assert not (tmp_path / "out").exists(), "nothing is computed for what cannot be measured"
    (tmp_path / "text.pt").write_text("no checkpoint")
    assert "text.pt" in told("--per-class", "3", network=tmp_path / "text.pt")
    _save(tmp_path / "diverged.pt", seed=0, factor=float("nan"))
    assert "18 of 18 images have features that are not finite" in told(
        "--per-class", "3", network=tmp_path / "diverged.pt"
    )
    _save(tmp_path / "other.pt", seed=1)
    assert "--overwrite" in told("--per-class", "3", network=tmp_path / "other.pt")
    ran = _called(tmp_path / "other.pt", pictures, "--per-class", "3", "--overwrite", "--few", "use")
    assert ran.exit_code == 0, ran.output
