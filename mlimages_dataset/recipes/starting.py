"""The recipe of a first build: pictures in any layout, and what their owner says of them in files."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import as_folder_name, refuse_no_unicode, relative
from mlimages_dataset.sources.class_files import format_of_files, is_annotation_file
from mlimages_dataset.sources.class_lists import CLASS_COLUMNS
from mlimages_dataset.sources.delimited import DELIMITERS, first_fields
from mlimages_dataset.sources.folders import names_of_parts
from mlimages_dataset.sources.json_lines import JsonLines, is_array, keys_of
from mlimages_dataset.sources.layout import NEEDED_COLUMNS
from mlimages_dataset.sources.picture_tables import names_classes
from mlimages_dataset.sources.yolo import Yolo
from mlimages_dataset.tables.files import numbered
from mlimages_dataset.tables.parquet import open_parquet, parquet_errors
from mlimages_dataset.vocab.stage import VocabularyFiles, read_class_lists
from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, TENCENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location

_TABLE_SUFFIXES = {".csv", ".tsv", ".parquet", ".pq"}
_YOLO_LABELS, _YOLO_PICTURES = "labels", "images"
_JSON_LINES = {".jsonl", ".ndjson"}
PHOTOS = "photos"
"""The name of the pictures, as a class list and as annotations."""
_LONGEST_STEM = 180
"""Bytes of a file's name that become that of a collection: a number may follow."""
_TAKEN = {IMAGENET, OPEN_IMAGES, TENCENT, PHOTOS}
_HEAD = "# Written by mlimages-build start. To build it again: mlimages-build run recipe.toml --out FOLDER"


@dataclass(frozen=True, slots=True)
class Said:
    """A file of a user's about pictures.

    Attributes:
        path: the file, or a folder of files.
        lists_classes: it is a class list.
        form: the format in which it says what pictures show; empty if it does not.
    """

    path: Location
    lists_classes: bool
    form: str


def said_by(path: Location) -> Said:
    """Return what a file says: a class list (id, name), labels of pictures (image_id, label), or annotations.

    Raises:
        UsageError: there is no such file.
        DataError: it is neither, or cannot be read.
    """
    if not path.exists():
        raise UsageError("there is no such file or folder", where=path, remedy="check the path")
    if _is_rows_of_json(path):
        return _said_by_json(path)
    if is_annotation_file(path):
        return Said(path, lists_classes=True, form=format_of_files(path))
    if path.suffix.lower() in {".yaml", ".yml"}:
        raise UsageError(
            "is YOLO's list of classes, which belongs to a folder of labels",
            where=path,
            remedy=f"name that folder, such as {path.parent}",
        )
    columns, form = _columns_of(path)
    if form == "huggingface":
        return Said(path, lists_classes=True, form=form)
    if set(NEEDED_COLUMNS) <= columns:
        return Said(path, lists_classes=False, form=form)
    if set(CLASS_COLUMNS) <= columns:
        return Said(path, lists_classes=True, form="")
    raise DataError(
        f"has neither the columns id and name (a class list) nor image_id and label (labels of pictures), but "
        f"{', '.join(sorted(columns))[:80]}",
        where=path,
        line=None if form == "parquet" else 1,
        remedy="name its columns so",
    )


def beside_pictures(photos: Sequence[Location]) -> list[Said]:
    """Return what the tables say that lie directly in the folders of pictures, of those that say something."""
    files = itertools.chain.from_iterable(map(_inside, photos))
    read = (_said_or_none(path) for path in files if path.suffix.lower() in _TABLE_SUFFIXES)
    return [said for said in read if said is not None]


def _inside(place: Location) -> list[Location]:
    found: list[Location] = sorted(place.iterdir()) if place.is_dir() else []
    return found


def listed_ids(said: Sequence[Said]) -> list[str]:
    """Return the ids of class lists; they are read before anything is built, so that a fault replaces no build.

    Raises:
        UsageError, DataError: a class list cannot be read.
    """
    named = tuple((one.path.name, one.path) for one in said if not one.form)
    return [each.source_id for one in read_class_lists(VocabularyFiles(classes=named)) for each in one.classes]


def stated_folders(said: Sequence[Said], ids: Sequence[str]) -> list[str]:
    """Return the folders that class lists say are classes, although their names are such as parts of collections have.

    There are none where files say what pictures show; `ids` is what `listed_ids` returned.
    """
    return [] if any(one.form for one in said) else names_of_parts(ids)


def pictures_in(photos: Sequence[Location], said: Sequence[Said]) -> str:
    """Return the name of YOLO's folders of pictures, if its folders of labels lie beside them below the only source.

    YOLO calls a picture `images/train/a.jpg` or `train/images/a.jpg`, and its labels `labels/train/a.txt` or
    `train/labels/a.txt`. The name is empty for any other layout.
    """
    stated = [one for one in said if one.form]
    if len(photos) != 1 or [one.form for one in stated] != [Yolo.name] or not photos[0].is_dir():
        return ""
    root, given = photos[0], stated[0].path.absolute()
    if given not in {root.absolute(), root.absolute() / _YOLO_LABELS}:
        return ""
    folders = {relative(one.parent, root.absolute()) for one in Yolo().files(given)}
    beside = all(
        folder.split("/").count(_YOLO_LABELS) == 1
        and root.joinpath(*(_YOLO_PICTURES if one == _YOLO_LABELS else one for one in folder.split("/"))).is_dir()
        for folder in folders
    )
    return _YOLO_PICTURES if beside else ""


def recipe_of(
    photos: Sequence[Location],
    said: Sequence[Said],
    *,
    attach: bool = False,
    in_order: bool = False,
    class_folders: Sequence[str] = (),
    without: str = "",
) -> str:
    """Return the recipe, as TOML, that builds pictures with what files say of them.

    Folders of pictures are their classes, unless a file says what pictures show. Their names are a class list, unless a
    file lists classes. Class lists win over what annotations call their classes.

    Args:
        photos: folders, archives or shards.
        said: the files.
        attach: a class that is no noun of WordNet is kept under the nearest parent known.
        in_order: their owner named the files one by one: a class list wins over those before it.
        class_folders: what `stated_folders` returned.
        without: what `pictures_in` returned.

    Raises:
        UsageError: a path cannot be written in TOML.
    """
    lists = [one for one in said if one.lists_classes]
    labels = [one for one in said if one.form]
    name_of = dict(zip((one.path for one in said), _names(said), strict=True))
    lines = [_HEAD, "", "[images]", f"sources = {_texts(photos)}", f"name = {_text(PHOTOS)}"]
    lines += [f"labels = {_switch(on=not labels)}", f"classes = {_switch(on=not labels and not lists)}"]
    if class_folders:
        lines.append(f"class_folders = [{', '.join(map(_text, class_folders))}]")
    lines += [f"pictures_in = {_text(without)}"] if without else []
    lines += ["", "[vocabulary]", *(["attach = true"] if attach else [])]
    own = [_text(name_of[one.path]) for one in lists if not one.form]
    if own and (len(own) < len(lists) or (in_order and len(own) > 1)):
        lines.append(f"corrections = [{', '.join(own)}]")
    if lists:
        lines += ["[vocabulary.classes]", *(f"{_text(name_of[one.path])} = {_text(_path(one.path))}" for one in lists)]
    for one in labels:
        lines += ["", "[[annotations]]", f"name = {_text(name_of[one.path])}", f"format = {_text(one.form)}"]
        lines += [f"files = {_texts([one.path])}", f"classes = {_switch(on=not lists)}"]
        if len(labels) > 1 and one.lists_classes and not own:  # numbers of COCO mean another class in each file
            lines.append(f"ids_of = {_text(name_of[one.path])}")
    return "\n".join([*lines, ""])


def _names(said: Sequence[Said]) -> list[str]:
    """Return what a recipe calls files: their names without suffixes, as folders can have them, each once."""
    stems = [as_folder_name(one.path.name.partition(".")[0], "given", longest=_LONGEST_STEM) for one in said]
    return numbered([f"{stem}-1" if stem in _TAKEN else stem for stem in stems])


def _said_or_none(path: Location) -> Said | None:
    try:
        return said_by(path) if path.is_file() else None
    except DataError:
        return None


def _is_rows_of_json(path: Location) -> bool:
    """Return whether a file is JSON lines by its name, compressed or not, or one array of JSON."""
    if path.suffix.lower() == ".json":
        return path.is_file() and is_array(path)
    last = {suffix.lower() for suffix in path.suffixes[-2:]}
    return path.suffix.lower() not in _TABLE_SUFFIXES and not last.isdisjoint(_JSON_LINES)


def _said_by_json(path: Location) -> Said:
    keys = keys_of(path)
    if set(NEEDED_COLUMNS) <= keys:
        return Said(path, lists_classes=False, form=JsonLines.name)
    raise DataError(
        f"has not the keys image_id and label (labels of pictures), but {', '.join(sorted(keys))[:80] or 'none'}",
        where=path,
        remedy="name its keys so; a class list (id and name) is a CSV or Parquet file",
    )


def _columns_of(path: Location) -> tuple[set[str], str]:
    """Return the names of a table's columns in lower case, and the format of such a table."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        with parquet_errors(path), open_parquet(path) as parquet:
            schema = parquet.schema_arrow
        form = "huggingface" if names_classes(schema) else "parquet"
        return {name.strip().lower() for name in schema.names}, form
    found = [{name.strip().lower() for name in first_fields(path, one)} for one in DELIMITERS]
    known = {*CLASS_COLUMNS, *NEEDED_COLUMNS}
    return max(found, key=lambda names: (len(names & known), len(names))), "csv"


def _path(path: Location) -> str:
    refuse_no_unicode(path.absolute())
    return str(path.absolute())


def _texts(paths: Sequence[Location]) -> str:
    return f"[{', '.join(_text(_path(path)) for path in paths)}]"


def _text(text: str) -> str:
    """Return a basic string of TOML: JSON's, in which DEL is escaped too (https://toml.io/en/v1.0.0#string)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _switch(*, on: bool) -> str:
    return "true" if on else "false"
