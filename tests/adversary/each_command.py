"""Each command that writes a folder, with small inputs for all of them."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.measurement import COMMAND
from tests.images.folders import picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
"""Commands that write into `--out`, with what they read in the folder that `write_given` fills."""


DOWNLOAD = "images download"
"""The command of `DOWNLOAD_WORDS`, which needs the server of `served`."""
DOWNLOAD_WORDS = ("images", "download", "urls.csv", "--allow-private", "--shard-images", "10")


def words(name: str, out: Path) -> list[str]:
    """Return the words of a command's call that writes into a folder, in one process."""
    alone = {"vocab", "region-pairs", "region-sample", "fuse-detections", "images subset"}
    workers = () if name in alone else ("--workers", "1")
    return [*(DOWNLOAD_WORDS if name == DOWNLOAD else COMMANDS[name]), "--out", str(out), *workers]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[None]:
    """Serve the photographs in the folder of `write_given` on this machine, with a list of their addresses beside."""
    call = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        call, cwd=folder / "photos", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().split("port ")[1].split()[0]
        names = sorted(path.relative_to(folder / "photos").as_posix() for path in folder.glob("photos/*/*.jpg"))
        rows = [f"{name},http://127.0.0.1:{port}/{name}" for name in names]
        (folder / "urls.csv").write_text("\n".join(["image_id,url", *rows]) + "\n")
        try:
            yield
        finally:
            server.kill()


def run(given: Path, out: Path, name: str, *, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """Return what a command left, in which no file may grow beyond a number of bytes."""

    def limited() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    call = [sys.executable, "-c", COMMAND, *words(name, out)]
    return subprocess.run(call, cwd=given, capture_output=True, text=True, check=False, preexec_fn=limited)


def write_given(folder: Path) -> None:
    """Fill a folder with what the commands read; some of it is their own, undisturbed work."""
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
