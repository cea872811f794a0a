"""Parquet files with pictures in a column, as Hugging Face writes them: which column holds what.

https://huggingface.co/docs/datasets/about_dataset_features, https://huggingface.co/docs/hub/datasets-image

* Pictures are the column that the file's metadata call an `Image`, or one of `{bytes, path}`, or one of bytes with a
  name among `BYTES_COLUMNS`. Where there are several, it is the one named `image`, else the first.
* A row's name is the picture's `path`, else the first of `NAME_COLUMNS` that is not null. A row without a name has that
  of its file and its number.
* Classes are the first of `LABEL_KEYS`, else the only column of `ClassLabel`s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.sources.confidence_names import is_like_confidence
from mlimages_dataset.sources.folders import class_of_path
from mlimages_dataset.sources.picture_objects import ObjectColumn, object_column
from mlimages_dataset.sources.places import shards_below
from mlimages_dataset.sources.samples import LABEL_KEYS, class_texts, refuse_unheard
from mlimages_dataset.tables.parquet import open_parquet, parquet_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlimages_dataset.core.locations import Location

BYTES_COLUMNS = ("image", "images", "img", "picture", "photo", "image_bytes", "bytes", "content")
"""Names of columns of bytes that hold pictures, as the names of their suffixes do: bytes may be anything."""
NAME_COLUMNS = ("file_name", "filename", "image_path", "path", "image_id", "id", "key", "__key__")
_FEATURES_KEY = b"huggingface"


@dataclass(frozen=True, slots=True)
class PictureColumns:
    """What the columns of a file hold.

    Attributes:
        image: the column of pictures.
        is_struct: whether its values are of `{bytes, path}`.
        names: paths of the columns that name a row, the first of which that is not null counts.
        labels: the column of classes; empty if there is none.
        class_names: what the numbers in it stand for; empty if they stand for themselves.
        objects: the column of boxes, if there is one.
        unheard: columns that may hold confidences: a class beside one cannot be read.
    """

    image: str
    is_struct: bool
    names: tuple[str, ...]
    labels: str = ""
    class_names: tuple[str, ...] = ()
    objects: ObjectColumn | None = None
    unheard: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """The path of the column of bytes."""
        return f"{self.image}.bytes" if self.is_struct else self.image

    @property
    def of_classes(self) -> tuple[str, ...]:
        """The columns that `classes_of` needs, beside the rows' own names."""
        return (self.labels, *self.unheard) if self.labels else ()

    def classes_of(self, batch: pa.RecordBatch, names: Sequence[str]) -> list[list[str] | ValueError | None]:
        """Return the classes of each row, None where nothing says one, an error where they cannot be read.

        Where no column has classes, they are those that the rows' own names tell, as paths do.
        """
        if not self.labels:
            return [[one] if one else None for one in map(class_of_path, names)]
        column = batch.column(self.labels)
        found: list[list[str] | ValueError | None] = []
        values = (column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).to_pylist()
        for value, beside in zip(values, self._beside(batch), strict=True):
            try:
                found.append(self._classes(value, beside))
            except ValueError as error:
                found.append(error)
        return found

    def _beside(self, batch: pa.RecordBatch) -> list[tuple[tuple[str, object], ...]]:
        """Return what each row of a batch has in the columns that may hold confidences, by their names."""
        columns = [
            [(name, value) for value in column.to_pylist()]
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
            if name in self.unheard
        ]
        return list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows

    def _classes(self, value: object, beside: Iterable[tuple[str, object]]) -> list[str] | None:
        if value is None:
            return None
        refuse_unheard(beside)
        if not self.class_names:
            return class_texts(value, self.labels)
        listed = value if isinstance(value, list) else [value]
        if listed == [-1]:  # what datasets writes where a test's labels are withheld
            return None
        return [self._class_name(one) for one in listed if one is not None]

    def _class_name(self, number: object) -> str:
        if not isinstance(number, int) or not 0 <= number < len(self.class_names):
            raise ValueError(f"its {self.labels} is none of the {len(self.class_names)} classes: {str(number)[:40]}")
        return self.class_names[number]

    def names_of(self, batch: pa.RecordBatch) -> list[str]:
        """Return the name that each row of a batch has of its own, empty where it has none."""
        stated = [""] * batch.num_rows
        for path in self.names:
            column, _, child = path.partition(".")
            values = batch.column(column).to_pylist()
            texts = [value and value.get(child) for value in values] if child else values
            stated = [
                one or ("" if text is None else as_text(str(text).strip()))
                for one, text in zip(stated, texts, strict=True)
            ]
        return stated


def row_name(shard: str, row: int, name: str) -> str:
    """Return what names a row of a file, whose id is `name`, or where that is empty the file and the row."""
    return as_text(f"{shard}/{row}/{name}" if name else f"{shard}/{row}")


def picture_columns(schema: pa.Schema, where: Location) -> PictureColumns | None:
    """Return what the columns of a file hold, None if none holds pictures.

    Raises:
        DataError: several columns may be that of the classes, or it is of a type that holds none.
    """
    features = features_of(schema)
    images = [field.name for field in schema if _holds_pictures(field.type)]
    called = [name for name in images if _kind(features.get(name)) == "Image"]
    structs = [name for name in images if pa.types.is_struct(schema.field(name).type)]
    found = called or structs or [name for name in images if _names_pictures(name)]
    if not found:
        return None
    image = "image" if "image" in found else found[0]
    is_struct = pa.types.is_struct(schema.field(image).type)
    names = [name for name in NAME_COLUMNS if name in schema.names and _holds_names(schema.field(name).type)]
    if is_struct and schema.field(image).type.get_field_index("path") >= 0:
        names.insert(0, f"{image}.path")
    labels, class_names = _labels(schema, features, where)
    objects = object_column(schema, _names_in_columns(features))
    unheard = tuple(name for name in schema.names if name != labels and is_like_confidence(name))
    return PictureColumns(image, is_struct, tuple(names), labels, class_names, objects, unheard)


def _names_in_columns(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the names of classes under each key of each column, by `column.key`."""
    found: dict[str, tuple[str, ...]] = {}
    for column, feature in features.items():
        inner: Any = feature[0] if isinstance(feature, list) and len(feature) == 1 else feature
        inner = inner.get("feature", inner) if isinstance(inner, dict) else {}
        found |= {f"{column}.{key}": _class_names(one) for key, one in inner.items()} if isinstance(inner, dict) else {}
    return found


def features_of(schema: pa.Schema) -> Mapping[str, Any]:
    """Return what a file's metadata say of its columns, in Hugging Face's form; empty if they say nothing."""
    try:
        features = parse_json((schema.metadata or {}).get(_FEATURES_KEY, b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def names_classes(schema: pa.Schema) -> bool:
    """Return whether a file's metadata name classes of a column."""
    features = features_of(schema)
    return any(_class_names(features.get(name)) for name in schema.names)


def _kind(feature: object) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _class_names(feature: object) -> tuple[str, ...]:
    """Return the names of a `ClassLabel` or of a list of them; empty for any other feature."""
    if isinstance(feature, list) and len(feature) == 1:
        return _class_names(feature[0])
    if not isinstance(feature, dict):
        return ()
    if _kind(feature) in {"Sequence", "List", "LargeList"}:
        return _class_names(feature.get("feature"))
    names = feature.get("names")
    return tuple(map(str, names)) if _kind(feature) == "ClassLabel" and isinstance(names, list) else ()


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0) and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _names_pictures(name: str) -> bool:
    return name.lower() in BYTES_COLUMNS or f".{name.lower()}" in PICTURE_SUFFIXES


def _is_bytes(kind: pa.DataType) -> bool:
    return any(one(kind) for one in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _holds_names(kind: pa.DataType) -> bool:
    return any(one(kind) for one in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer))


def _labels(schema: pa.Schema, features: Mapping[str, Any], where: Location) -> tuple[str, tuple[str, ...]]:
    """Return the column of classes and what its numbers stand for; see `PictureColumns`."""
    of_column = {name: names for name in schema.names if (names := _class_names(features.get(name)))}
    column = next((key for key in LABEL_KEYS if key in schema.names), "")
    if not column and len(of_column) > 1:
        raise DataError(
            f"has {len(of_column)} columns of classes: {', '.join(of_column)[:80]}",
            where=where,
            remedy="call the one that is meant `label`",
        )
    column = column or next(iter(of_column), "")
    if column and not _holds_classes(schema.field(column).type):
        raise DataError(
            f"its column {column} is {str(schema.field(column).type)[:60]}, no class or list of classes",
            where=where,
            remedy="give names or numbers of classes",
        )
    return column, of_column.get(column, ())


def _holds_classes(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(one(kind) for one in lists):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return _holds_names(kind) or bool(pa.types.is_floating(kind) or pa.types.is_null(kind))


def picture_tables(folder: Location) -> list[tuple[str, Location]]:
    """Return the Parquet files below a folder that have a column of pictures, by their paths in it and in their order.

    Raises:
        DataError: one is damaged.
    """
    found = shards_below(folder, ".parquet")
    return [(relative(path, folder), path) for path in found if picture_columns(schema_of(path), path) is not None]


def schema_of(path: Location) -> pa.Schema:
    """Return the schema of a file.

    Raises:
        DataError: it is no whole Parquet file.
    """
    with parquet_errors(path), open_parquet(path) as parquet:
        return parquet.schema_arrow
