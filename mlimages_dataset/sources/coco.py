"""COCO's JSON of instances, and what others write in its form: LVIS, Objects365, exports of annotation tools.

https://cocodataset.org/#format-data, https://www.lvisdataset.org/dataset

A class's id is its category's number. An annotation says that its category is in its image, for any box or mask,
crowds included; LVIS's `neg_category_ids` say that categories are verified to be absent. A box needs its image's width
and height. A mask of run lengths is kept, and polygons become one. The file is read as a stream, once for each list,
because categories and images may come after the annotations.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.boxes import DocumentSource, Instance, as_stated, number_of, of_pixels, statements_of
from mlimages_dataset.sources.classes import OWN_WNID, SourceClass
from mlimages_dataset.sources.entries import as_whole, confidence_of, fault_of_flags, flag_of, name_of, with_attributes
from mlimages_dataset.sources.folders import is_wnid
from mlimages_dataset.sources.json_items import items_of
from mlimages_dataset.sources.polygons import Polygons, rings_of
from mlimages_dataset.sources.rejects import REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.rle import mask_text
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    import pyarrow as pa

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.boxes import Sides
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog

_Key: TypeAlias = int | str
_FLAG_OF_KEY = {flag: flag for flag in REGION_FLAGS} | {
    "iscrowd": "crowd",
    "ignore": "difficult",
    "isfake": "depiction",
}
"""A flag's own name, COCO's own key, and those of exports of Pascal VOC and of Objects365."""
_KEYS = tuple(key for key in _FLAG_OF_KEY if key not in REGION_FLAGS)

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")


class Coco(DocumentSource):
    """Files of COCO's form."""

    name: ClassVar[str] = "coco"
    member_suffixes: ClassVar[tuple[str, ...]] = (".json",)
    takes_wnids: ClassVar[bool] = False

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`: most of a file is polygons, which say nothing of what is in an image."""
        yield from statements_of(self._instances(piece, log, shallow=True), log)

    def instances(self, piece: Piece, log: RejectLog) -> Iterator[Instance]:
        """See `BoxSource.instances`."""
        return self._instances(piece, log, shallow=False)

    def _instances(self, piece: Piece, log: RejectLog, *, shallow: bool) -> Iterator[Instance]:
        path = piece.path
        listed = _Listed.of(path, log)
        for image_id, negatives in listed.absent.items():
            image = listed.images[image_id]
            for category in negatives:
                if category is None:
                    yield Instance.of_doubt(image.name, str(path))
                    continue
                place = f"negative of image {image_id}"
                yield Instance(image.name, str(category), str(path), place, None, 0.0, location=image.address)
        bare = listed.images.keys() - listed.absent.keys()
        for at, annotation in enumerate(_items(path, "annotations", shallow=shallow)):
            place = f"annotation {annotation.get('id', at)}"
            image_key, named = _key(annotation.get("image_id")), _key(annotation.get("category_id"))
            bare.discard(image_key)
            if image_key in listed.images and named in listed.categories:
                yield _instance(annotation, listed.images[image_key], str(named), where=str(path), place=place)
                continue
            # An image that is not listed has no row, so nothing is said of it.
            _reject(log, path, *_why_not(listed, annotation, place), is_placed=image_key is not None)
            for doubted in listed.doubted(image_key):
                yield Instance.of_doubt(doubted.name, str(path))
        for key, image in listed.images.items():
            if key in bare:
                yield Instance.of_listed(image.name, str(path), image.address)


def _why_not(listed: _Listed, annotation: Mapping[str, Any], place: str) -> tuple[str, object]:
    """Return why an annotation cannot be used, and the value that is to blame."""
    image, category = annotation.get("image_id"), annotation.get("category_id")
    image_key = _key(image)
    if image_key in listed.shared:
        return f"{place} refers to an id that several images have", image_key
    if image_key in listed.named_twice:
        first = listed.named_twice[image_key]
        return f"{place} refers to image {image_key}, which has the file_name of image {first}", image_key
    for what, value, known in (("image", image, listed.images), ("category", category, listed.categories)):
        key = _key(value)
        if value is None:
            return f"{place} has no {what}_id", ""
        if key is None or key not in known:
            break
    return f"{place} refers to {_an(what)} that is not listed{_other_form(key, known)}", value


def _an(noun: str) -> str:
    return f"an {noun}" if noun == "image" else f"a {noun}"


def _twin(key: _Key | None) -> _Key | None:
    """Return an identifier that is a text as a number, or a number as a text; None for one that is no number."""
    if isinstance(key, int):
        return str(key)
    return int(key) if key is not None and _WHOLE.fullmatch(key) else None


def _other_form(key: _Key | None, known: Container[_Key]) -> str:
    """Return that an identifier is a text and a known one the same number, or the other way; empty if neither is so."""
    twin = _twin(key)
    if twin is None or twin not in known:
        return ""
    forms = ("the number", "the text") if isinstance(key, int) else ("the text", "the number")
    return f": it is {forms[0]} {json.dumps(key)}, and the list has {forms[1]} {json.dumps(twin)}; write both alike"


def _instance(annotation: Mapping[str, Any], image: _Image, category: str, *, where: str, place: str) -> Instance:
    segmentation = annotation.get("segmentation")
    mask = mask_text(segmentation) if isinstance(segmentation, dict) else ""
    rings = rings_of(segmentation)
    named = with_attributes(annotation)
    return Instance(
        image=image.name,
        class_id=category,
        where=where,
        place=place,
        box=fault_of_flags(named, _KEYS) or _box(annotation.get("bbox"), image),
        confidence=confidence_of(named),
        flags=_flags(named),
        mask=mask,
        location=image.address,
        stated=as_stated(annotation.get("bbox")),
        outline=bool(segmentation) and not mask,
        polygons=Polygons(rings, number_of(image.width), number_of(image.height)) if rings else None,
    )


def _box(bbox: object, image: _Image) -> Sides | str:
    """Return a box that is given by its left upper corner, width and height in pixels, or why there is none."""
    if not (isinstance(bbox, list) and len(bbox) == 4):  # noqa: PLR2004 - x, y, width, height
        return "it has no bbox"
    x, y, across, down = map(number_of, bbox)
    return of_pixels((x, y, x + across, y + down), image.width, image.height)


def _flags(named: Mapping[str, Any]) -> frozenset[str]:
    """Return what an annotation states by COCO's `iscrowd`, others' `ignore` and `isfake`, or a flag's own name."""
    return frozenset(flag for key, flag in _FLAG_OF_KEY.items() if key in named and flag_of(named[key]))


def _key(value: object) -> _Key | None:
    """Return a number or text as an identifier, None for other values."""
    value = as_whole(value)
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def coco_classes(path: Location) -> list[SourceClass]:
    """Return the categories of a file of COCO's form, as a class list, with the synsets that LVIS names.

    Raises:
        DataError: it is not such a file, or two categories have the same number.
    """
    categories = _categories(path)
    if not categories:
        raise DataError("lists no categories", where=path, remedy="name a file of instances, in COCO's form")
    listed = {_key(one.get("id")): one for one in _items(path, "categories")}
    return [_class_of(number, name, listed[number]) for number, name in categories.items()]


def _class_of(number: _Key, name: str, category: Mapping[str, Any]) -> SourceClass:
    """Return a category as a class; one of `export` has a wnid as its name, and its names as `words`."""
    words, synset = name_of(category.get("words")), name_of(category.get("synset"))
    if words and OWN_WNID.fullmatch(name):
        return SourceClass(str(number), words, parent=name_of(category.get("supercategory")))
    if words and is_wnid(name):
        return SourceClass(str(number), words, wnid=name)
    return SourceClass(str(number), name, synset=synset)


@dataclass(frozen=True, slots=True)
class _Image:
    name: str
    address: str
    width: object
    height: object


@dataclass(frozen=True, slots=True)
class _Listed:
    """What annotations refer to.

    Attributes:
        images: by their number.
        categories: names by number.
        absent: the absent categories of each image, None for one that is not listed.
        shared: numbers that images of several names have; nobody knows of which an annotation is, so `images` has none
            of them. Each with the other numbers by which such images are listed.
        named_twice: numbers of images that are not used, and the number of the image that has their name.
    """

    images: dict[_Key, _Image]
    categories: dict[_Key, str]
    absent: dict[_Key, list[_Key | None]]
    shared: dict[_Key | None, list[_Key]]
    named_twice: dict[_Key | None, _Key]

    def doubted(self, key: _Key | None) -> list[_Image]:
        """Return the listed images that an annotation with such a number may be about."""
        if key is not None and key in self.images:
            return [self.images[key]]
        keys = (key, _twin(key))
        others = (self.named_twice.get(one) for one in keys)
        found = dict.fromkeys((*keys, *others, *(other for one in keys for other in self.shared.get(one, ()))))
        return [self.images[one] for one in found if one is not None and one in self.images]

    @classmethod
    def of(cls, path: Location, log: RejectLog) -> _Listed:
        categories = _categories(path)
        images: dict[_Key, _Image] = {}
        absent: dict[_Key, list[_Key | None]] = {}
        named_twice: dict[_Key | None, _Key] = {}
        key_of: dict[str, _Key] = {}
        names_of: dict[_Key | None, list[str]] = {}
        for number, image in enumerate(_items(path, "images")):
            address = name_of(image.get("coco_url")) or name_of(image.get("flickr_url"))
            name = name_of(image.get("file_name") or address.rpartition("/")[2])
            key = _key(image.get("id"))
            if not name or key is None:
                _reject(log, path, f"image {number if key is None else key} has no file_name or id", name)
            elif (before := images.get(named_twice.get(key, key))) and before.name == name:
                _reject(log, path, f"two images have the id {key}", name)
            elif before:
                names_of.setdefault(key, [before.name]).append(name)
                _reject(log, path, f"images {before.name} and {name} have one id", key)
            elif key_of.setdefault(name, key) != key:
                _reject(log, path, f"image {key} has the file_name of image {key_of[name]}", name)
                named_twice[key] = key_of[name]
            else:
                images[key] = _Image(name, address or name, image.get("width"), image.get("height"))
                negatives = image.get("neg_category_ids") or []
                for value in negatives if isinstance(negatives, list) else [negatives]:
                    category = _key(value)
                    is_known = category is not None and category in categories
                    absent.setdefault(key, []).append(category if is_known else None)
                    if not is_known:
                        what = f"image {key} gives as absent a category that is not listed"
                        _reject(log, path, what + _other_form(category, categories), value)
        if not (categories and images):
            raise DataError(
                f"lists no {'categories' if images else 'images'}",
                where=path,
                remedy="name a file of instances, in COCO's form",
            )
        return cls(
            {key: image for key, image in images.items() if key not in names_of},
            categories,
            {key: named for key, named in absent.items() if key not in names_of},
            {key: [key_of[name] for name in names if name in key_of] for key, names in names_of.items()},
            named_twice,
        )


def _categories(path: Location) -> dict[_Key, str]:
    """Return the names of categories by their number."""
    found: dict[_Key, str] = {}
    for category in _items(path, "categories"):
        key, name = _key(category.get("id")), name_of(category.get("name"))
        if key is None or not name:
            raise DataError("a category has no id or name", where=path, remedy="give each an id and a name")
        if _twin(key) in found:
            what = f"two categories have the id {key}, one as a number and one as a text"
            raise DataError(what, where=path, remedy="give each an id of its own")
        if found.setdefault(key, name) != name:
            raise DataError(
                f"two categories have the id {key}: {found[key]} and {name}", where=path, remedy="correct one"
            )
    return found


def _items(path: Location, key: str, *, shallow: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the items of a list in the file's object, holding only a few at a time; see `json_items.items_of`."""
    for item in items_of(path, key, shallow=shallow):
        if not isinstance(item, dict):
            raise DataError(f"its {key} are not objects", where=path, remedy="name a file in COCO's form")
        yield item


def _reject(log: RejectLog, path: Location, what: str, value: object, *, is_placed: bool = True) -> None:
    log.add([Reject(str(path), 0, what, str(value)[:REJECT_CHARACTERS])], 1, placed=int(is_placed))
