"""What ranks need to be fed: arithmetic against plain numbers, the rate of real pictures, sentences for bad folders."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.samples import photographs
from mlimages_dataset.train import supply
from mlimages_dataset.train.__main__ import main
from mlimages_dataset.train.supply import CoreRate, Supply, available_cores, core_rate
from tests.images.folders import image_folder

if TYPE_CHECKING:
    from pathlib import Path

RATE = CoreRate(
    images_per_second=500.0, bytes_per_image=110_000.0, image_size=224, pictures=200, packaged=False, cores=16
)


@pytest.fixture(autouse=True)
def _as_found() -> None:
    torch.set_num_threads(1)


def test_cores_and_bytes_are_those_of_plain_arithmetic() -> None:
    # 8 H100 of 2,800 images/s: 22,400 images/s of 110 kB are 2.464 GB/s; each rank needs 5.6 cores of 500 images/s.
    supply = Supply(images_per_second=22_400.0, ranks=8, workers=6, rate=RATE)
    assert supply.cores_per_rank == 6
    assert supply.bytes_per_second == pytest.approx(2.464e9)
    assert supply.lines() == [
        "one core here makes 500 images/s of 224 pixels, from pictures of 110 kB (200 of --images)",
        "6 cores must decode for each rank's 2,800.0 images/s: data.workers = 6 is enough",
        "a machine of 8 such ranks needs 48 cores that decode; this one has 16",
        "the storage must deliver 2.5 GB/s to all ranks, 308.0 MB/s to each",
    ]


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (5, "data.workers = 5 is too few, and the network would wait: set 6, or store smaller pictures"),
        (0, "data.workers = 0 decodes in the training process, so the network waits"),
        (7, "data.workers = 7 is enough"),
    ],
)
def test_workers_are_judged_by_the_cores_that_are_needed(workers: int, said: str) -> None:
    assert said in Supply(2_800.0, ranks=1, workers=workers, rate=RATE).lines()[1]


def test_exactly_as_many_cores_as_the_rate_divides() -> None:
    assert [RATE.cores_for(pace) for pace in (1.0, 500.0, 500.1, 1_000.0)] == [1, 1, 2, 2]


def test_a_pace_of_this_cpu_is_said_to_be_one() -> None:
    assert "the speed was measured on this CPU" in Supply(9.0, 1, 1, RATE, paced_on_cpu=True).lines()[-1]
    assert "measured on this CPU" not in "".join(Supply(9.0, 1, 1, RATE).lines())


def test_the_rate_is_the_processors_time_of_real_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of this thread's work: of a picture's 1/8 s, so the rate is 8 however busy the machine is."""
    seen: list[bytes] = []
    clock = itertools.count()

    class Counted:
        """A transform that notes what it is given."""

        def __call__(self, content: bytes, rng: np.random.Generator) -> None:
            del rng
            seen.append(content)

    monkeypatch.setattr(time, "thread_time", lambda: next(clock) / 8)
    monkeypatch.setattr(supply, "train_transform", lambda *_, **__: Counted())
    monkeypatch.setattr(supply, "DataLoader", lambda timed, **_: [timed[k] for k in range(len(timed))])
    rate = core_rate(None, 64, cores=1)
    contents = [path.read_bytes() for path in sorted(photographs().glob("*.jpg"))]
    assert rate.images_per_second == 8
    assert (rate.pictures, rate.packaged, rate.image_size) == (len(contents), True, 64)
    assert rate.bytes_per_image == pytest.approx(np.mean([len(content) for content in contents]))
    assert rate.cores == available_cores() >= 1
    assert Counter(seen[-204:]) == dict.fromkeys(contents, 6), "each of 34 as often, 200 or more in all"


def test_a_core_makes_images_of_real_pictures() -> None:
    assert 0 < core_rate(None, 64, cores=1).images_per_second < float("inf")


def test_shards_are_measured_as_files_are(tmp_path: Path) -> None:
    contents = {path.stem: path.read_bytes() for path in sorted(photographs().glob("*.jpg"))[:7]}
    image_folder(tmp_path / "shards", [contents])
    rate = core_rate(tmp_path / "shards", 32, cores=1)
    assert (rate.pictures, rate.packaged) == (7, False)
    assert rate.bytes_per_image == pytest.approx(np.mean([len(content) for content in contents.values()]))


def test_bad_pictures_count_for_nothing_unless_all_are_bad(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 1 pictures can be used; name other pictures"):
        core_rate(tmp_path, 32, cores=1)
    good = next(iter(sorted(photographs().glob("*.jpg"))))
    (tmp_path / "good.jpg").write_bytes(good.read_bytes())
    assert core_rate(tmp_path, 32, cores=1).images_per_second > 0


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        core_rate(tmp_path / "none", 32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no picture"):
        core_rate(tmp_path / "empty", 32)


def test_the_command_tells_cores_and_storage(tmp_path: Path) -> None:
    run = tmp_path / "run.toml"
    run.write_text(
        'epochs = 1\n[model]\nname = "resnet18"\n[[phases]]\nbatch_size = 8\nimage_size = 32\n'
        '[execution]\ndevice = "cpu"\nprecision = "float32"\n[data]\nworkers = 3\n'
    )
    given = ("plan", str(run), "--dataset-size", "80", "--images-per-second", "1", "--ranks", "1")
    result = CliRunner().invoke(main, [*given, "--images", str(photographs())])
    assert result.exit_code == 0, result.output
    assert "1 core must decode for each rank's 1.0 images/s: data.workers = 3 is enough\n" in result.stdout
    kilobytes = np.mean([path.stat().st_size for path in photographs().glob("*.jpg")]) / 1e3
    assert f"the storage must deliver {kilobytes:.1f} kB/s to all ranks" in result.stdout
    assert "(34 of --images)" in result.stdout
    missing = CliRunner().invoke(main, [*given, "--images", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "there is no such file or folder" in missing.stderr
