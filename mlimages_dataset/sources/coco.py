"""COCO's JSON of instances, and what others write in its form: LVIS, Objects365, exports of annotation tools.

https://cocodataset.org/#format-data, https://www.lvisdataset.org/dataset

A class's id is its category's number. An annotation says that its category is in its image, for any box or mask,
crowds included; LVIS's `neg_category_ids` say that categories are verified to be absent. The file is read as a stream,
once for each list, because categories and images may come after the annotations.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import ijson
import pyarrow as pa

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import unpacked
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.sources.pieces import read_to_its_end
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.source import BatchSource, statements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog

_Key: TypeAlias = int | str
BLOCK_STATEMENTS = 1 << 16
_LOOK_BYTES = 1 << 16


class Coco(BatchSource):
    """Files of COCO's form."""

    name: ClassVar[str] = "coco"
    takes_wnids: ClassVar[bool] = False

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        piece = super().piece(path)
        with read_to_its_end(path), unpacked(path) as stream:
            if not stream.read(_LOOK_BYTES).strip():
                raise DataError("is empty", where=path, remedy="obtain the file again")
        return piece

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`: a JSON object is one piece."""
        return [piece]

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        block = _Block()
        for image, category, confidence in _said(piece.path, log):
            block.add(image, category, confidence)
            if len(block) >= BLOCK_STATEMENTS:
                yield block.batch()
                block = _Block()
        if len(block):
            yield block.batch()


def _said(path: Location, log: RejectLog) -> Iterator[tuple[_Image, _Key, float]]:
    """Yield each image and category, with 1 for what an annotation says, and 0 for a negative."""
    listed = _Listed.of(path, log)
    for image_id, negatives in listed.absent.items():
        for category in negatives:
            yield listed.images[image_id], category, 0.0
    for number, annotation in enumerate(_items(path, "annotations")):
        image, named = _key(annotation.get("image_id")), _key(annotation.get("category_id"))
        name = f"annotation {annotation.get('id', number)}"
        if image is None or image not in listed.images:
            _reject(log, path, f"{name} refers to an image that is not listed", annotation.get("image_id"))
        elif named is None or named not in listed.categories:
            _reject(log, path, f"{name} refers to a category that is not listed", annotation.get("category_id"))
        else:
            yield listed.images[image], named, 1.0


def _key(value: object) -> _Key | None:
    """Return a number or text as an identifier, None for other values; some tools write 1 as 1.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def coco_classes(path: Location) -> list[SourceClass]:
    """Return the categories of a file of COCO's form, as a class list.

    Raises:
        DataError: it is not such a file, or two categories have the same number.
    """
    categories = _categories(path)
    if not categories:
        raise DataError("lists no categories", where=path, remedy="name a file of instances, in COCO's form")
    return [SourceClass(str(number), name) for number, name in categories.items()]


@dataclass(frozen=True, slots=True)
class _Image:
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class _Listed:
    """What annotations refer to: images by their number, categories, and the absent categories of each image."""

    images: dict[_Key, _Image]
    categories: dict[_Key, str]
    absent: dict[_Key, list[_Key]]

    @classmethod
    def of(cls, path: Location, log: RejectLog) -> _Listed:
        categories = _categories(path)
        images: dict[_Key, _Image] = {}
        absent: dict[_Key, list[_Key]] = {}
        for number, image in enumerate(_items(path, "images")):
            address = str(image.get("coco_url") or image.get("flickr_url") or "")
            name = str(image.get("file_name") or address.rpartition("/")[2])
            key = _key(image.get("id"))
            if not name or key is None:
                _reject(log, path, f"image {number if key is None else key} has no file_name or id", name)
            elif key in images:
                _reject(log, path, f"two images have the id {key}", name)
            else:
                images[key] = _Image(name, address or name)
                negatives = image.get("neg_category_ids") or []
                for value in negatives if isinstance(negatives, list) else [negatives]:
                    category = _key(value)
                    if category is not None and category in categories:
                        absent.setdefault(key, []).append(category)
                    else:
                        _reject(log, path, f"image {key} gives as absent a category that is not listed", value)
        if not (categories and images):
            raise DataError(
                f"lists no {'categories' if images else 'images'}",
                where=path,
                remedy="name a file of instances, in COCO's form",
            )
        return cls(images, categories, absent)


@dataclass(slots=True)
class _Block:
    """Statements that are collected for a batch."""

    names: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, image: _Image, category: object, confidence: float) -> None:
        self.names.append(image.name)
        self.places.append(image.address)
        self.classes.append(str(category))
        self.confidences.append(confidence)

    def batch(self) -> pa.RecordBatch:
        names, classes, places = (pa.array(column, pa.string()) for column in (self.names, self.classes, self.places))
        return statements(names, classes, places, pa.array(self.confidences, pa.float32()))


def _categories(path: Location) -> dict[_Key, str]:
    """Return the names of categories by their number."""
    found: dict[_Key, str] = {}
    for category in _items(path, "categories"):
        key, name = _key(category.get("id")), str(category.get("name") or "")
        if key is None or not name:
            raise DataError("a category has no id or name", where=path, remedy="give each an id and a name")
        if found.setdefault(key, name) != name:
            raise DataError(
                f"two categories have the id {key}: {found[key]} and {name}", where=path, remedy="correct one"
            )
    return found


def _items(path: Location, key: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a list in the file's object, holding only one at a time."""
    with read_to_its_end(path), _json_errors(path), unpacked(path) as stream:
        for item in ijson.items(stream, f"{key}.item", use_float=True):
            if not isinstance(item, dict):
                raise DataError(f"its {key} are not objects", where=path, remedy="name a file in COCO's form")
            yield item


@contextlib.contextmanager
def _json_errors(path: Location) -> Iterator[None]:
    try:
        yield
    except (ijson.JSONError, UnicodeDecodeError) as error:  # its parser decodes the texts
        reason = str(error).split("\n", 1)[0].strip()
        raise DataError(f"is not a complete JSON file ({reason})", where=path, remedy="obtain it again") from error


def _reject(log: RejectLog, path: Location, what: str, value: object) -> None:
    rejects = [Reject(str(path), 0, what, str(value)[:REJECT_CHARACTERS])] if log.count < LISTED_REJECTS else []
    log.add(rejects, 1)
