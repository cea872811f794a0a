"""Boxes in a column of Hugging Face's Parquet files of pictures: which column, and what it holds.

https://huggingface.co/docs/datasets/object_detection, https://huggingface.co/docs/hub/datasets-image#object-detection

`objects` is a struct of lists or a list of structs. A box is `bbox`, as COCO has it (x, y, width, height) unless a user
states another order, or one of `CORNER_KEYS` (xmin, ymin, xmax, ymax), in pixels. A class is under one of `CLASS_KEYS`,
by its number or name. A confidence is under `score` or `confidence`, and flags under their names.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image

from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.sources.boxes import Instance, as_stated, number_of, of_pixels
from mlimages_dataset.sources.entries import JUDGING_FLAGS, confidence_of, fault_of_flags, flag_of, name_of
from mlimages_dataset.sources.nested import is_list
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlimages_dataset.sources.boxes import Sides

COLUMNS = ("objects", "annotations")
CORNER_KEYS = ("bbox_xyxy", "xyxy", "box_xyxy")
BOX_KEYS = ("bbox", *CORNER_KEYS)
CLASS_KEYS = ("category", "categories", "category_id", "label", "labels", "class")
_FLAG_OF_KEY = {flag: flag for flag in REGION_FLAGS} | {"is_crowd": "crowd", "iscrowd": "crowd"}
_JUDGING = tuple(key for key in JUDGING_FLAGS if key in _FLAG_OF_KEY)
_SIDES = 4


@dataclass(frozen=True, slots=True)
class ObjectColumn:
    """The column of boxes.

    Attributes:
        name: of the column.
        box: the key of a box.
        label: the key of a class.
        class_names: what the numbers of classes stand for; empty if they stand for themselves.
        sized: whether the columns `width` and `height` have the size of each picture.
        corners: whether the last two numbers of a box are its right lower corner, not its width and height.
    """

    name: str
    box: str
    label: str
    class_names: tuple[str, ...]
    sized: bool
    corners: bool

    def ordered(self, order: str) -> ObjectColumn:
        """Return the column with boxes in the order of `BOX_ORDERS` that a user states; empty for the key's own."""
        return replace(self, corners=order == "xyxy") if order else self

    def instances(self, value: object, image: str, size: tuple[float, float], where: str) -> Iterator[Instance]:
        """Yield what a row's value states, or that it lists the image.

        Args:
            value: of the column.
            image: the row's name.
            size: width and height of the picture, NaN if nobody knows them.
            where: the file.
        """
        found = list(_objects(value))
        if not found:
            yield Instance.of_listed(image, where)
        for at, one in enumerate(found, 1):
            sides = one.get(self.box)
            yield Instance(
                image=image,
                class_id=self._class(one.get(self.label)),
                where=where,
                place=f"object {at} of {image}",
                box=fault_of_flags(one, _JUDGING) or self._box(sides, *size),
                confidence=confidence_of(one),
                flags=frozenset(flag for key, flag in _FLAG_OF_KEY.items() if flag_of(one.get(key))),
                location=image,
                stated=as_stated(sides),
            )

    def _class(self, value: object) -> str:
        if self.class_names:
            number = name_of(value)
            is_class = is_whole(number) and int(number) < len(self.class_names)
            return self.class_names[int(number)] if is_class else ""
        return name_of(value).strip()

    def _box(self, sides: object, width: float, height: float) -> Sides | str:
        if not (isinstance(sides, list) and len(sides) == _SIDES):
            return f"its {self.box} has no four numbers"
        x, y, right, bottom = map(number_of, sides)
        corner = (right, bottom) if self.corners else (x + right, y + bottom)
        return of_pixels((x, y, *corner), width, height)


def object_column(schema: pa.Schema, names_of: Mapping[str, tuple[str, ...]]) -> ObjectColumn | None:
    """Return the column of boxes, None if there is none.

    Args:
        schema: of the file.
        names_of: the names of the classes of each column's keys, as `column.key`.
    """
    for name in (one for one in COLUMNS if one in schema.names):
        kind = schema.field(name).type
        kind = kind.value_type if is_list(kind) else kind
        keys = [kind.field(at).name for at in range(kind.num_fields)] if pa.types.is_struct(kind) else []
        box, label = (next((key for key in known if key in keys), "") for known in (BOX_KEYS, CLASS_KEYS))
        if box and label:
            sized = {"width", "height"} <= set(schema.names)
            return ObjectColumn(name, box, label, names_of.get(f"{name}.{label}", ()), sized, box in CORNER_KEYS)
    return None


def size_of(content: bytes | None) -> tuple[float, float]:
    """Return width and height of an encoded picture, NaN where they cannot be read."""
    try:
        with Image.open(io.BytesIO(content or b"")) as image:
            return float(image.width), float(image.height)
    except Exception:  # noqa: BLE001 - decoders raise exceptions of every kind; the box is a reject
        return float("nan"), float("nan")


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a row, given as a list of them or as an object of lists."""
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))
    elif isinstance(value, dict):
        lists = {key: one for key, one in value.items() if isinstance(one, list)}
        for at in range(max(map(len, lists.values()), default=0)):
            yield {key: one[at] for key, one in lists.items() if at < len(one)}
