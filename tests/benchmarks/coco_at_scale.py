"""Time `annotate` and `regions` of a large JSON file in COCO's form against ijson and json, which only read it.

Run: python -m tests.benchmarks.coco_at_scale --folder DIR [--scale 1.0]. At full scale the file has 1.2 GB: 290,000
images and 2,100,000 annotations with polygons, in the proportions of COCO's instances_train2017.json. The peers only
parse: they map no class and write nothing. `json.load` holds the whole document.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import click
import numpy as np

from tests.benchmarks.measurement import Contender, Row, command, contest, machine, table

IMAGES, ANNOTATIONS, CATEGORIES = 290_000, 2_100_000, 80
_POINTS = 25
_SIZE = 640, 480
_WORDS = ("dog", "cat", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "bird")


def coco_file(folder: Path, scale: float) -> Path:
    """Return a simulated file, written when it is first asked for."""
    path = folder / f"instances-{scale:g}.json"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    n_images, n_annotations = max(1, round(IMAGES * scale)), max(1, round(ANNOTATIONS * scale))
    generator = np.random.default_rng(0)
    categories = [{"id": at, "name": _WORDS[at] if at < len(_WORDS) else f"thing {at}"} for at in range(CATEGORIES)]
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write('{"info": {"year": 2026}, "licenses": [], "images": [')
        for k in range(n_images):
            image = {"id": k, "file_name": f"{k:012}.jpg", "width": _SIZE[0], "height": _SIZE[1], "license": 3}
            image |= {"coco_url": f"http://images.example.org/{k:012}.jpg", "date_captured": "2026-01-01 00:00:00"}
            file.write(f"{',' if k else ''}\n{json.dumps(image)}")
        file.write('], "annotations": [')
        for k in range(n_annotations):
            file.write(f"{',' if k else ''}\n{json.dumps(_annotation(k, n_images, generator))}")
        file.write(f'], "categories": {json.dumps(categories)}}}')
    partial.rename(path)
    return path


def _annotation(k: int, n_images: int, generator: np.random.Generator) -> dict[str, object]:
    centre = generator.uniform(60, [_SIZE[0] - 60, _SIZE[1] - 60])
    angle = np.linspace(0, 2 * np.pi, _POINTS, endpoint=False)
    points = centre + generator.uniform(10, 60, (_POINTS, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    return {
        "segmentation": [np.round(points, 2).ravel().tolist()],
        "area": round(float(np.prod(high - low)), 2),
        "iscrowd": 0,
        "image_id": int(generator.integers(n_images)),
        "bbox": np.round([*low, *(high - low)], 2).tolist(),
        "category_id": int(generator.integers(CATEGORIES)),
        "id": k,
    }


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of our commands and of what only parses the file."""
    path = coco_file(folder, scale)
    vocabulary = folder / "vocabulary"
    if not vocabulary.exists():
        command("vocab", "--classes", f"coco={path}", "--attach", "--out", vocabulary)
    peers = [Contender("ijson, each list once", functools.partial(_ijson, path))]
    peers += [Contender("json.load, the whole file", functools.partial(_json, path))]
    size = path.stat().st_size
    rows = []
    for name in ("annotate", "regions"):
        ours = Contender(f"mlimages-build {name}", functools.partial(_ours, name, vocabulary, path))
        rows += contest(f"{name} --format coco", size, "bytes", [ours, *peers], folder, repeat=repeat)
    return rows


def _ours(name: str, vocabulary: Path, path: Path, out: Path) -> None:
    command(name, "--vocab", vocabulary, "--format", "coco", "--ids-of", "coco", path, "--out", out)


def _ijson(path: Path, out: Path) -> None:
    import ijson  # noqa: PLC0415 - only the process of this peer needs it

    out.mkdir(parents=True)
    for name in ("categories", "images", "annotations"):
        with path.open("rb") as stream:
            for _ in ijson.items(stream, f"{name}.item", use_float=True):
                pass


def _json(path: Path, out: Path) -> None:
    out.mkdir(parents=True)
    with path.open("rb") as stream:
        json.load(stream)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For inputs and outputs.")
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True)
def main(folder: Path, scale: float, repeat: int) -> None:
    """Measure, and print one table."""
    where = machine()
    click.echo(f"{where}\n\n{table(run(folder.absolute(), scale, repeat=repeat))}")


if __name__ == "__main__":
    main()
