"""Regions as COCO's JSON of instances: https://cocodataset.org/#format-data.

A category's id is its class index, and its name the wnid, as several categories share a name. An image's `file_name`
is its id, since a region does not say where its image is. `ignore` is 1 for difficult objects; `score` is there where a
box is not verified. An annotation's `attributes` hold flags other than these and `iscrowd`, and the origin of what was
not stated. An area is that of the box.

Boxes are in pixels here, so the images' sizes are needed: of the `images` tables beside pictures.
"""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.exports.counts import ExportCounts, summed
from mlimages_dataset.exports.publication import ORIGIN_NAMES
from mlimages_dataset.exports.sizes import number_without_regions, size_tables, sizes_of_part
from mlimages_dataset.exports.writing import BLOCK_BYTES, region_parts
from mlimages_dataset.tables.batches import region_batches
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, whole_file
from mlimages_dataset.tables.parquet import scan_table
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.exports.sizes import Size
    from mlimages_dataset.exports.writing import Export, PartWritten, Written
    from mlimages_dataset.vocab.vocabulary import Vocabulary

INSTANCES_FILE = "instances.json"
_FLAGS = tuple(flag for flag in REGION_FLAGS if flag not in {"crowd", "difficult"})
_DIGITS = 3
_Job: TypeAlias = "tuple[Location, int, int, Location]"
"""A part of regions, the numbers of its first image and of its first row, and the file to write its annotations into;
its images go into a file of that name with `.images` behind it."""


def write(export: Export) -> Written:
    """Write `instances.json`."""
    sizes = size_tables(export)
    parts = region_parts(export)
    work = functools.partial(_write_part, sizes=tuple(sizes), n_classes=len(export.vocabulary))
    written = list(export.done(work, list(_jobs(parts, export.at.out))))
    path = export.at.out / INSTANCES_FILE
    with whole_file(path) as sink:
        for key, suffix in (("images", ".images"), ("annotations", "")):
            sink.write(f'{"{" if key == "images" else "],"}\n"{key}": [\n'.encode())
            between = b""
            for text, counts in written:
                file = text.path.with_name(text.path.name + suffix)
                if counts.images:
                    sink.write(between)
                    with file.open("rb") as stream:
                        shutil.copyfileobj(stream, sink, BLOCK_BYTES)
                    between = b",\n"
                file.unlink()
        categories = ",\n".join(map(json.dumps, _categories(export.vocabulary)))
        sink.write(f'\n],\n"categories": [\n{categories}\n]}}\n'.encode())
    receipt = Receipt(path, -1, sink.size, sink.digest.hexdigest(), "")
    counts = summed(counts for _, counts in written)
    return [receipt], replace(counts, pictures_without_regions=number_without_regions(sizes, parts))


def _jobs(parts: Sequence[Location], out: Location) -> Iterator[_Job]:
    image, row = 1, 1
    for number, part in enumerate(parts):
        yield part, image, row, out / f"{PARTIAL_PREFIX}regions-{number:05d}"
        ids = pa.chunked_array((batch[0] for batch in scan_table(part, REGIONS, columns=["image_id"])), pa.string())
        image, row = image + pc.count_distinct(ids).as_py(), row + len(ids)


def _categories(vocabulary: Vocabulary) -> Iterator[dict[str, Any]]:
    for index, category in enumerate(vocabulary.categories):
        above = vocabulary.categories[category.parent].wnid if category.parent >= 0 else ""
        yield {"id": index, "name": category.wnid, "supercategory": above, "words": category.name}


def _write_part(job: _Job, *, sizes: Sequence[Location], n_classes: int) -> PartWritten:
    """Write the annotations of a part and its images, each as the inside of a JSON list."""
    part, first_image, first_row, path = job
    size_of = sizes_of_part(part, sizes)
    numbers: dict[str, int] = {}
    counts = ExportCounts()
    row = first_row
    with whole_file(path) as annotations, whole_file(path.with_name(f"{path.name}.images")) as images:
        for batch in region_batches(part, n_classes):
            for region in batch.to_pylist():
                image_id = region["image_id"]
                size = size_of.get(image_id)
                is_new = image_id not in numbers
                number = numbers.setdefault(image_id, first_image + len(numbers))
                if size is None:
                    counts += ExportCounts(unsized_images=int(is_new))
                    continue
                if is_new:
                    _append(images, {"id": number, "file_name": image_id, "width": size[0], "height": size[1]})
                annotation, masks = _annotation(region, row, number, size)
                _append(annotations, annotation)
                counts += ExportCounts(images=int(is_new), regions=1, unsaid_masks=masks)
                row += 1
    return Receipt(path, -1, annotations.size, annotations.digest.hexdigest(), ""), counts


def _append(sink: Any, value: Mapping[str, Any]) -> None:
    sink.write((",\n" if sink.size else "").encode() + json.dumps(value, separators=(",", ":")).encode())


def _annotation(region: Mapping[str, Any], row: int, image: int, size: Size) -> tuple[dict[str, Any], int]:
    """Return a region as an annotation, and how many masks it could not say."""
    across, down = size
    left, top = _short(region["xmin"] * across), _short(region["ymin"] * down)
    width = _short(region["xmax"] * across - left) or (region["xmax"] - region["xmin"]) * across
    height = _short(region["ymax"] * down - top) or (region["ymax"] - region["ymin"]) * down
    run_lengths = _run_lengths(region["mask"])
    attributes: dict[str, Any] = {flag: True for flag in _FLAGS if region[flag]}
    if region["origin"] != Origin.ORIGINAL:
        attributes["origin"] = ORIGIN_NAMES[region["origin"]]
    annotation: dict[str, Any] = {
        "id": row,
        "image_id": image,
        "category_id": region["class_index"],
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": int(region["crowd"]),
        "segmentation": run_lengths or [],
    }
    more = {
        "ignore": 1 if region["difficult"] else None,
        "score": region["confidence"] if region["confidence"] < 1 else None,
        "attributes": attributes or None,
    }
    annotation |= {key: value for key, value in more.items() if value is not None}
    return annotation, int(bool(region["mask"]) and run_lengths is None)


def _run_lengths(mask: str) -> Json | None:
    """Return the run lengths that a mask holds; None if it is a file, or malformed."""
    try:
        found = parse_json(mask) if mask.startswith("{") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() == {"size", "counts"} else None


def _short(number: float) -> float:
    """Return a number of pixels without the digits that float32 made up."""
    return round(number, _DIGITS)
