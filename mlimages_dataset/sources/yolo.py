"""YOLO's folders of label files, in Darknet's, Ultralytics' and other tools' layouts.

https://docs.ultralytics.com/datasets/detect/, https://github.com/AlexeyAB/darknet

A file of lines `class x y width height`, in shares of the image, is named as its picture: `labels/train/a.txt` is
`train/a`. A sixth number is a model's confidence. More numbers are a polygon, whose box is the least that holds it, and
whose mask is that of COCO's tools if its picture is there (`images/train/a.jpg`, or beside the file), since no other
file has its size; or key points behind a box, where the folder's YAML has `kpt_shape`. A class's id is its name: in
`names` of a YAML file, or a line of `*.names` or `classes.txt`, in the folder or up to two above. An empty file says
that nothing is there.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import yaml

from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.sources.annotation_files import FileSource, reject
from mlimages_dataset.sources.boxes import Instance, around, number_of
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.sources.entries import confidence_of
from mlimages_dataset.sources.pictures_beside import size_of_picture
from mlimages_dataset.sources.places import (
    archive_of,
    files_below,
    files_in,
    is_folder,
    opened,
    place_digest,
    read_file,
)
from mlimages_dataset.sources.polygons import Polygons
from mlimages_dataset.tables.files import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.annotation_files import Given
    from mlimages_dataset.sources.boxes import Sides
    from mlimages_dataset.sources.rejects import Reject

_LISTS = frozenset({"train", "val", "valid", "test", "trainval", "classes"})
"""Names of text files that list pictures or classes, unless their first line is of numbers."""
_NAMES = ("data.yaml", "*.yaml", "*.yml", "*.names", "classes.txt")
"""Names of files that name classes, in the order to look."""
_MERGE = "tag:yaml.org,2002:merge"
_FOLDERS_ABOVE = 2
_LOOK_BYTES = 1 << 12
_TOLD_SIGNS = 40
_BOX_FIELDS, _WITH_CONFIDENCE, _POLYGON_FIELDS = 5, 6, 7


@dataclass(frozen=True, slots=True)
class _Classes:
    """What a folder says of all its label files: the names of classes by number, and whether they have key points."""

    where: Location
    names: dict[int, str]
    key_points: bool = False


class Yolo(FileSource):
    """YOLO's folders and files."""

    name: ClassVar[str] = "yolo"
    suffix: ClassVar[str] = ".txt"
    suffixes_beside: ClassVar[tuple[str, ...]] = (".yaml", ".yml", ".names")
    may_be_empty: ClassVar[bool] = True
    folders_of_layout: ClassVar[frozenset[str]] = frozenset(
        {"labels", "obj_train_data", "obj_valid_data", "obj_test_data"}
    )

    def is_annotation(self, path: Location) -> bool:
        """See `FileSource.is_annotation`: lists of pictures and classes, and notes, are none."""
        if not super().is_annotation(path) or path.name.upper().startswith("README"):
            return False
        return path.stem.lower() not in _LISTS or _begins_with_numbers(path)

    def context(self, path: Location) -> _Classes:
        """See `FileSource.context`."""
        return _classes(path)

    def instances_of(self, path: Location, content: bytes, given: Given) -> Iterator[Instance | Reject]:
        """See `FileSource.instances_of`."""
        image = self.picture_name(path, given, "")
        size: tuple[float, float] | None = None
        if not content.strip():
            yield Instance.of_listed(image, as_text(str(path)))
        for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
            if line.strip():
                one = _of_line(line.split(), given.context)
                if isinstance(one, str):
                    yield reject(path, one, line, number)
                    continue
                if one.outline:
                    size = size_of_picture(path) if size is None else size
                    one = replace(one, polygons=_polygon(line.split(), *size))
                yield replace(one, image=image, where=as_text(str(path)), line=number)

    def digest(self, path: Location) -> str:
        """See `Source.digest`: of the file with the names too."""
        return hashlib.sha256(f"{super().digest(path)} {place_digest(_classes(path).where)}".encode()).hexdigest()

    def classes(self, path: Location) -> list[SourceClass]:
        """See `FileSource.classes`: in the order of their numbers, whether they have boxes or not."""
        return [SourceClass(name, name) for _, name in sorted(_classes(path).names.items())]


def _of_line(fields: Sequence[str], classes: _Classes) -> Instance | str:
    """Return what a line states, of no image yet, or why it states nothing."""
    values = [number_of(field) for field in fields]
    box = _box(values, key_points=classes.key_points)
    if isinstance(box, str):
        return box
    name = classes.names.get(int(values[0])) if values[0].is_integer() else None
    if name is None:
        return f"its class is not the number of one of {len(classes.names)}"
    confidence = confidence_of({"confidence": fields[5]} if len(fields) == _WITH_CONFIDENCE else {})
    is_polygon = len(fields) >= _POLYGON_FIELDS and not classes.key_points
    return Instance(
        image="",
        class_id=name,
        where="",
        place="box",
        box=box,
        confidence=confidence,
        outline=is_polygon,
        stated=", ".join(fields[1:]),
    )


def _box(values: Sequence[float], *, key_points: bool) -> Sides | str:
    n_fields = len(values)
    if n_fields < _BOX_FIELDS or (n_fields >= _POLYGON_FIELDS and n_fields % 2 == 0 and not key_points):
        return f"has {n_fields} fields, not a class and a box or polygon"
    if n_fields >= _POLYGON_FIELDS and not key_points:
        return around(list(zip(values[1::2], values[2::2], strict=True)))
    x, y, across, down = values[1:_BOX_FIELDS]
    return x - across / 2, y - down / 2, x + across / 2, y + down / 2


def _polygon(fields: Sequence[str], width: float, height: float) -> Polygons:
    """Return the polygon of a line, in pixels of a picture."""
    values = map(number_of, fields[1:])
    sides = itertools.cycle((width, height))
    return Polygons((tuple(value * side for value, side in zip(values, sides, strict=False)),), width, height)


def _classes(path: Location) -> _Classes:
    """Return what the folder of label files, or one above, says of their classes.

    Raises:
        DataError: nothing does, or it cannot be read, or two classes have one name.
    """
    for place in _folders_of_names(path):
        files = files_in(place)
        for pattern in _NAMES:
            for one in (file for file in files if fnmatch.fnmatchcase(file.name, pattern)):
                found = _of_yaml(one) if one.suffix in {".yaml", ".yml"} else _of_lines(one)
                if found is not None:
                    return _checked(found)
    raise DataError(
        "nothing names the classes: no names in a YAML file, no *.names and no classes.txt, in the folder or two above",
        where=path,
        remedy="put classes.txt beside the files, one name a line",
    )


def _folders_of_names(path: Location) -> list[Location]:
    """Return the folders that may name the classes of a file or folder of label files, in the order to look.

    What an archive holds is often in a folder of its own: there it is the folder that all label files share that has
    the names, or one above it.
    """
    folder = path if is_folder(path) else path.parent
    archive = archive_of(folder)
    if archive is None:
        return [folder, *folder.absolute().parents[:_FOLDERS_ABOVE]]
    labels = [relative(one, archive) for one in files_below(folder) if one.suffix.lower() == Yolo.suffix]
    shared = archive / os.path.commonpath(labels or [""]) if len(labels) != 1 else folder
    inside = [one for one in (shared, *shared.parents[:_FOLDERS_ABOVE]) if one == archive or archive in one.parents]
    return list(dict.fromkeys([folder, *inside]))


def _of_lines(path: Location) -> _Classes:
    lines = lines_of(read_file(path), path)
    return _Classes(path, {at: line.strip() for at, line in enumerate(lines) if line.strip()})


def _of_yaml(path: Location) -> _Classes | None:
    """Return the classes that a YAML file names as it writes them: as values, `no` is false and `007` is 7.

    Raises:
        DataError: it is no YAML file, or a class has no number or no name, or its number stands twice.
    """
    try:
        content = _pairs(yaml.compose(read_file(path), yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError("is no YAML file", where=path, remedy="correct it") from error
    names = dict(content).get("names")
    if not isinstance(names, (yaml.SequenceNode, yaml.MappingNode)):
        return None
    is_list = isinstance(names, yaml.SequenceNode)
    numbered = [(str(at), name) for at, name in enumerate(names.value)] if is_list else _pairs(names)
    classes: dict[int, str] = {}
    for number, name in numbered:
        if fault := _fault_of_name(number, name, classes):
            line = name.start_mark.line + 1
            raise DataError(fault, where=path, line=line, remedy="give each class a number and a name")
        classes[int(number)] = name.value.strip()
    return _Classes(path, classes, key_points="kpt_shape" in dict(content))


def _pairs(node: yaml.Node | None) -> list[tuple[str, yaml.Node]]:
    """Return the keys of a mapping of YAML, as they are written, and their values; nothing for any other node.

    Mappings that it merges (`<<`) give the keys that it lacks. Each is visited once, however often aliases name it.
    """
    pairs: list[tuple[str, yaml.Node]] = []
    names: set[str] = set()
    seen: set[int] = set()
    waiting = [node] if isinstance(node, yaml.MappingNode) else []
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, yaml.SequenceNode):  # of mappings to merge: the first counts most
            waiting += reversed(one.value)
        elif isinstance(one, yaml.MappingNode):
            pairs += [(name, value) for name, value in _own_pairs(one) if name not in names]
            names |= {name for name, _ in _own_pairs(one)}
            waiting += [value for key, value in reversed(one.value) if key.tag == _MERGE]
    return pairs


def _own_pairs(node: yaml.MappingNode) -> list[tuple[str, yaml.Node]]:
    return [
        (key.value if isinstance(key, yaml.ScalarNode) else "", value) for key, value in node.value if key.tag != _MERGE
    ]


def _fault_of_name(number: str, name: yaml.Node, before: Mapping[int, str]) -> str:
    """Return why a name in YAML is that of no class, or of one that has a name before; empty if it is."""
    if not is_whole(number):
        return f"names has the key {number[:_TOLD_SIGNS]!r}, which is no number of a class"
    if int(number) in before:
        return f"names has the class {number} twice"
    if not isinstance(name, yaml.ScalarNode) or not name.value.strip():
        return f"class {number} has no name"
    return ""


def _checked(classes: _Classes) -> _Classes:
    names = list(classes.names.values())
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"two classes are named {repeated[0]}", where=classes.where, remedy="name each differently")
    if not names:
        raise DataError("names no class", where=classes.where, remedy="list the names of the classes")
    return classes


def _begins_with_numbers(path: Location) -> bool:
    with opened(path) as stream:
        fields = stream.read(_LOOK_BYTES).partition(b"\n")[0].decode("utf-8", "replace").split()
    return len(fields) >= _BOX_FIELDS and not any(math.isnan(number_of(field)) for field in fields)
