"""The challenge's metric over 100,000 images and 2 million detections, beside pycocotools on the same boxes.

python -m tests.benchmarks.detection_at_scale --folder DIR
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mlimages_dataset.evaluation.detection_scores import evaluate_challenge

_CLASSES, _DEPTH = 500, 5


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For the simulated files.")
@click.option("--images", default=100_000, show_default=True)
@click.option("--detections", default=2_000_000, show_default=True)
def main(folder: Path, images: int, detections: int) -> None:
    """Print the seconds of both, and their ratio. Theirs measures one overlap, without a hierarchy or image labels."""
    folder.mkdir(parents=True, exist_ok=True)
    simulate(folder, images, detections)
    paths = [folder / name for name in ("boxes.csv", "labels.csv", "hierarchy.json", "found.csv")]
    evaluate_challenge(*paths)  # compiles
    begin = time.perf_counter()
    scores = evaluate_challenge(*paths)
    ours = time.perf_counter() - begin
    begin = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        _coco(folder)
    theirs = time.perf_counter() - begin
    click.echo(f"{images:,} images, {detections:,} detections, {scores.truths.sum():,} boxes with ancestors")
    click.echo(
        f"ours {ours:.1f} s, pycocotools {theirs:.1f} s, ours / theirs {ours / theirs:.2f}; mAP {scores.mean:.4f}"
    )


def simulate(folder: Path, images: int, detections: int) -> None:
    """Write boxes, labels, a hierarchy and detections: half of them close to a box; a tenth of the boxes are groups."""
    chance = np.random.default_rng(0)
    names = [f"/m/{number:03d}" for number in range(_CLASSES)]
    nodes = [{"LabelName": name, "Subcategory": []} for name in names]
    for number, node in enumerate(nodes):
        above = nodes[(number - _DEPTH) // _DEPTH]["Subcategory"] if number >= _DEPTH else None
        if isinstance(above, list):
            above.append(node)
    tree = {"LabelName": "root", "Subcategory": nodes[:_DEPTH]}
    (folder / "hierarchy.json").write_text(json.dumps(tree))
    boxes = detections // 4
    image, label = chance.integers(images, size=boxes), chance.integers(_CLASSES, size=boxes)
    low = chance.random((boxes, 2)) * 0.7
    sides = np.concatenate([low, low + 0.05 + chance.random((boxes, 2)) * 0.25], axis=1)
    _write(folder / "boxes.csv", names, image, label, sides, IsGroupOf=(chance.random(boxes) < 0.1).astype(np.int64))
    _write(folder / "labels.csv", names, image, label, None, Confidence=(chance.random(boxes) < 0.7).astype(np.int64))
    of = chance.integers(boxes, size=detections)
    spread = np.where(np.arange(detections) % 2, 0.005, 0.05)[:, None]
    moved = sides[of] + spread * chance.standard_normal((detections, 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.01)
    _write(folder / "found.csv", names, image[of], label[of], moved, Score=np.round(chance.random(detections), 6))


def _write(
    path: Path,
    names: list[str],
    image: np.ndarray,
    label: np.ndarray,
    sides: np.ndarray | None,
    **more: np.ndarray,
) -> None:
    columns = {
        "ImageID": pa.array([f"{number:016x}" for number in range(int(image.max()) + 1)]).take(pa.array(image)),
        "LabelName": pa.array(names).take(pa.array(label)),
    }
    if sides is not None:
        columns |= {
            side: pa.array(np.round(sides[:, at], 6)) for at, side in enumerate(("XMin", "YMin", "XMax", "YMax"))
        }
    pa_csv.write_csv(pa.table({**columns, **{name: pa.array(one) for name, one in more.items()}}), path)


def _coco(folder: Path) -> None:
    truth, found = (pa_csv.read_csv(folder / name).to_pandas() for name in ("boxes.csv", "found.csv"))
    labels = {name: number for number, name in enumerate(sorted(set(truth["LabelName"])), 1)}
    images = {name: number for number, name in enumerate(sorted({*truth["ImageID"], *found["ImageID"]}), 1)}

    def rows(frame: object, **more: object) -> list[dict[str, object]]:
        return [
            {
                "id": at,
                "image_id": images[row.ImageID],
                "category_id": labels[row.LabelName],
                "bbox": [row.XMin, row.YMin, row.XMax - row.XMin, row.YMax - row.YMin],
                "area": (row.XMax - row.XMin) * (row.YMax - row.YMin),
                **{name: getattr(row, str(column)) for name, column in more.items()},
            }
            for at, row in enumerate(frame.itertuples(), 1)  # type: ignore[attr-defined]  # a frame
        ]

    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": one} for one in images.values()],
        "categories": [{"id": one, "name": name} for name, one in labels.items()],
        "annotations": rows(truth, iscrowd="IsGroupOf"),
    }
    dataset.createIndex()
    evaluation = COCOeval(dataset, dataset.loadRes(rows(found, score="Score")), "bbox")
    evaluation.params.iouThrs = np.array([0.5])
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [10_000]
    evaluation.evaluate()
    evaluation.accumulate()


if __name__ == "__main__":
    main()
