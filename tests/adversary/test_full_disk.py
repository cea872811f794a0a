"""A disk that fills while a command writes: one sentence, `verify` says what was cut, and a rerun finishes it."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.pipeline.records import MANIFEST_NAME
from mlimages_dataset.tables.files import PARTIAL_PREFIX
from tests.benchmarks.measurement import COMMAND
from tests.crashes import digests
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

COMMANDS: dict[str, tuple[str, ...]] = {
    "vocab": ("vocab", "--imagenet", "synsets.txt"),
    "annotate": ("annotate", "--vocab", "vocabulary", "--format", "csv", "labels.csv"),
    "annotate --predictions": ("annotate", "--predictions", "--vocab", "vocabulary", "--format", "csv", "labels.csv"),
    "regions": ("regions", "--vocab", "vocabulary", "--format", "boxes", "boxes.parquet"),
    "cooccurrence": (
        "cooccurrence",
        "--vocab",
        "vocabulary",
        "--annotations",
        "annotations",
        "--predictions",
        "predictions",
    ),
    "labels": ("labels", "--vocab", "vocabulary", "--annotations", "annotations"),
    "export csv": ("export", "--vocab", "vocabulary", "--format", "csv", "labels"),
    "export huggingface": ("export", "--vocab", "vocabulary", "--format", "huggingface", "labels"),
    "export coco": ("export", "--vocab", "vocabulary", "--format", "coco", "--images", "pictures", "regions"),
    "export voc-results": (
        "export",
        "--vocab",
        "vocabulary",
        "--format",
        "voc-results",
        "--images",
        "pictures",
        "regions",
    ),
    "region-pairs": ("region-pairs", "--vocab", "vocabulary", "regions"),
    "region-sample": ("region-sample", "regions", "--draw", "train=20", "--draw", "val=10"),
    "fuse-detections": ("fuse-detections", "regions", "regions"),
    "images ingest": ("images", "ingest", "photos"),
    "images subset": (
        "images",
        "subset",
        "--labels",
        "labels",
        "--vocab",
        "vocabulary",
        "--images",
        "pictures",
        "--max-images",
        "20",
        "--shards",
    ),
    "start": ("start", "photos"),
}
"""Commands that write into `--out`, with what they read in the folder of the fixture `given`."""


def run(given: Path, out: Path, name: str, *, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """Return what a command left, in which no file may grow beyond a number of bytes."""

    def limited() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    alone = {"vocab", "region-pairs", "region-sample", "fuse-detections", "images subset"}
    workers = () if name in alone else ("--workers", "1")
    call = [sys.executable, "-c", COMMAND, *COMMANDS[name], "--out", str(out), *workers]
    return subprocess.run(call, cwd=given, capture_output=True, text=True, check=False, preexec_fn=limited)


@pytest.fixture(name="given", scope="module")
def _given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the commands read: each is also run once here, undisturbed, into its own name."""
    folder = tmp_path_factory.mktemp("given")
    wnids = ["n02084071", "n02121808", "n02958343"]
    (folder / "synsets.txt").write_text("".join(f"{wnid}\n" for wnid in wnids))
    names = [f"{['dog', 'cat', 'car'][number % 3]}/{number:03}" for number in range(40)]
    for number, name in enumerate(names):
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / f"{name}.jpg").write_bytes(picture(number))
    rows = [f"{name},{wnids[number % 3]},1" for number, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["image_id,label,confidence", *rows]) + "\n")
    sides = {"xmin": [0.1] * 40, "ymin": [0.1] * 40, "xmax": [0.5] * 40, "ymax": [0.5] * 40}
    boxes = {"image_id": names, "label": [wnids[number % 3] for number in range(40)], **sides}
    pq.write_table(pa.table(boxes), folder / "boxes.parquet")
    made = {
        "vocab": "vocabulary",
        "annotate --predictions": "predictions",
        "annotate": "annotations",
        "regions": "regions",
        "images ingest": "pictures",
    }
    for name in ("vocab", "annotate", "annotate --predictions", "regions", "images ingest", "labels"):
        ran = run(folder, folder / made.get(name, name), name)
        assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_full_disk_is_a_sentence_and_verify_and_a_rerun_know(given: Path, tmp_path: Path, name: str) -> None:
    whole = tmp_path / "whole"
    ran = run(given, whole, name)
    assert ran.returncode == 0, ran.stderr
    expected = digests(whole)
    sizes = sorted(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    cut = 0
    for largest_file in {60, sizes[len(sizes) // 2] - 1, sizes[-1] - 1}:
        out = tmp_path / str(largest_file)
        ran = run(given, out, name, largest_file=largest_file)
        if ran.returncode == 0:  # what grew beyond is a cache, which a command can do without
            continue
        cut += 1
        assert ran.returncode in {1, 2}
        (sentence,) = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
        assert "File too large" in sentence
        assert "Traceback" not in ran.stderr
        if (out / MANIFEST_NAME).exists():
            verified = subprocess.run(
                [sys.executable, "-c", COMMAND, "verify", str(out)], capture_output=True, text=True, check=False
            )
            recorded = digests(out)
            assert verified.returncode == 1 or recorded == expected, verified.stdout
            assert all(recorded[path] == expected[path] for path in recorded)
        again = run(given, out, name)
        assert again.returncode == 0, again.stderr
        assert digests(out) == expected
        assert not list(out.rglob(f"{PARTIAL_PREFIX}*"))
    assert cut
