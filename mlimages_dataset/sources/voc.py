"""Pascal VOC: a folder with Annotations/*.xml, or such files, as ImageNet and many tools write them too.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html

Its lists of one class, such as `ImageSets/Main/dog_train.txt`, have an image and -1 (verified absent), 0 (present, but
difficult) or 1 (present) on each line. They are read where they or their folder are named. A list of a split, such as
`ImageSets/Main/train.txt` or `ImageSets/Segmentation/val.txt`, has a name on each line and stands for the files of
these names in `Annotations`.

A class's id is its name; ImageNet's files have wnids. A box's numbers are taken as they stand, as tools do that convert
VOC's boxes, so that the same boxes in any form are the same regions. VOC itself counts pixels from 1 and both ends
belong to a box: its metric adds one pixel to width and height. `difficult`, `truncated` and `occluded` are flags; the
pose is not kept. The parts of a person (head, hand, foot) are instances of their own. Of a folder with
SegmentationClass/*.png, `mask` is the path of the image's picture there, in which 255 is what nobody labelled.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, ClassVar

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, is_plain, refuse_special, relative
from mlimages_dataset.sources.annotation_files import FileSource, reject
from mlimages_dataset.sources.boxes import Instance, is_size, number_of, of_pixels
from mlimages_dataset.sources.entries import confidence_of, fault_of_flag, flag_of
from mlimages_dataset.sources.pictures_beside import size_of_picture
from mlimages_dataset.sources.places import files_below, is_file, is_folder, place_digest, read_file, refused_below
from mlimages_dataset.tables.files import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.annotation_files import Given
    from mlimages_dataset.sources.boxes import Sides
    from mlimages_dataset.sources.rejects import Reject

ANNOTATIONS, MASKS = "Annotations", "SegmentationClass"
"""The folders of a VOC folder with its files, and with the pictures that tell the class of each pixel."""
_LISTS = ".txt"
_OF_LIST = re.compile(r"(?P<class>.+)_(?:trainval|train|val|test)")
_LINE = re.compile(r"\s*(\S+)\s+(-1|0|1)\s*")
_FOLDERS_ABOVE = 3
"""How far above a list of a split, such as `ImageSets/Main/train.txt`, the folder with `Annotations` may be."""
_FLAGS = ("difficult", "truncated", "occluded")
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class Voc(FileSource):
    """Pascal VOC's folders and files."""

    name: ClassVar[str] = "voc"
    suffix: ClassVar[str] = ".xml"
    folders_of_layout: ClassVar[frozenset[str]] = frozenset({ANNOTATIONS, "annotations", "xmls"})

    def files(self, folder: Location) -> list[Location]:
        """See `FileSource.files`: only those in `Annotations`, where a folder has such a folder; without any, lists."""
        try:
            found = super().files(folder)
        except DataError:
            lists = [path for path in files_below(folder) if _is_list(path)]
            if not lists:
                raise
            return lists
        return [path for path in found if ANNOTATIONS in relative(path, folder).split("/")[:-1]] or found

    def folder_of(self, path: Location) -> Location | None:
        """See `FileSource.folder_of`: a list of a split stands for files in the folder that it is in."""
        return _folder_of_list(path) or super().folder_of(path)

    def files_of(self, path: Location) -> list[Location]:
        """See `FileSource.files_of`: those that a list of a split names."""
        folder = _folder_of_list(path)
        return self.files(path) if folder is None else _chosen(path, folder)[0]

    def refused(self, path: Location) -> list[tuple[Location, str]]:
        """See `FileSource.refused`: where lists of classes are read, these too."""
        folder = _folder_of_list(path)
        if folder is not None:
            chosen = set(self.files_of(path))
            return [(one, why) for one, why in super().refused(folder) if one in chosen]
        lists = refused_below(path) if _is_list(self.files(path)[0]) else []
        return [*super().refused(path), *((one, why) for one, why in lists if _is_list(one))]

    def passed_over(self, path: Location) -> list[Reject]:
        """See `FileSource.passed_over`: pictures of pixels' classes without boxes, and lines of a list."""
        folder = _folder_of_list(path)
        if folder is not None:
            return _chosen(path, folder)[1]
        what = f"no .xml file in {ANNOTATIONS} has its boxes"
        alone = _masks_alone(path, self.files(path))
        return [reject(one, what) for one in alone]

    def digest(self, path: Location) -> str:
        """See `Source.digest`: of a list of a split, its own bytes too."""
        if _folder_of_list(path) is None:
            return super().digest(path)
        return hashlib.sha256(f"{super().digest(path)} {place_digest(path)}".encode()).hexdigest()

    def beside(self, folder: Location) -> list[Location]:
        """See `FileSource.beside`: the pictures that `mask` may name."""
        return _masks(folder)

    def instances_of(self, path: Location, content: bytes, given: Given) -> Iterator[Instance | Reject]:
        """See `FileSource.instances_of`."""
        if path.suffix.lower() == _LISTS:
            yield from _listed(path, content, given)
            return
        root = _root(path, content)
        stated = _text(root, "filename")
        image = self.picture_name(path, given, stated)
        size = tuple(number_of(_text(root, f"size/{side}")) for side in ("width", "height"))
        if not all(map(is_size, size)):
            size = size_of_picture(path)
        mask = _mask(path, given)
        if root.find("object") is None:
            yield Instance.of_listed(image, as_text(str(path)), stated)
        for at, entry in enumerate(_entries(root), 1):
            place = f"{'part' if entry.tag == 'part' else 'object'} {at}"
            texts = _texts_of(entry)
            yield Instance(
                image=image,
                class_id=_text(entry, "name"),
                where=as_text(str(path)),
                place=place,
                box=fault_of_flag("difficult", texts.get("difficult")) or _box(entry.find("bndbox"), *size),
                confidence=confidence_of(texts),
                stated=", ".join(_text(entry, f"bndbox/{side}") for side in _SIDES)
                if entry.find("bndbox") is not None
                else "",
                flags=frozenset(flag for flag in _FLAGS if flag_of(texts.get(flag))),
                mask=mask,
                location=stated,
            )


def _texts_of(entry: ET.Element) -> dict[str, str | None]:
    """Return the texts below an entry by their tags, and its attributes by their names, as CVAT exports them."""
    attributes = {_text(one, "name"): _text(one, "value") or None for one in entry.iterfind("attributes/attribute")}
    return {**attributes, **{one.tag: one.text for one in entry if not len(one)}}


def _is_list(path: Location) -> bool:
    """Return whether a file's name is that of a list of one class."""
    return path.suffix == _LISTS and _OF_LIST.fullmatch(path.stem) is not None


def _folder_of_list(path: Location) -> Location | None:
    """Return the folder with `Annotations` that a list of a split is in; None for any other path.

    Such a list is a text file whose first line is one name: the others have a second column.
    """
    if path.suffix.lower() != _LISTS or not is_file(path):
        return None
    folder = next((above for above in path.parents[:_FOLDERS_ABOVE] if is_folder(above / ANNOTATIONS)), None)
    lines = lines_of(read_file(path), path) if folder is not None else []
    first = next((line.split() for line in lines if line.strip()), [])
    return folder if len(first) == 1 else None


def _chosen(path: Location, folder: Location) -> tuple[list[Location], list[Reject]]:
    """Return the files that a list of a split names, in its order, and its lines that name none.

    Raises:
        DataError: it names none.
    """
    chosen: dict[Location, None] = {}
    rejects = []
    for number, line in enumerate(lines_of(read_file(path), path), 1):
        name = line.strip()
        file = folder / ANNOTATIONS / f"{name}.xml"
        if file in chosen:
            rejects.append(reject(path, "is listed already", line, number))
        elif name and is_plain(name) and is_file(file):
            chosen[file] = None
        elif name:
            rejects.append(reject(path, f"has no file in {ANNOTATIONS}", line, number))
    if not chosen:
        raise DataError(
            f"names no picture that has a file in {folder / ANNOTATIONS}",
            where=path,
            remedy="name a list of these pictures, one a line",
        )
    return list(chosen), rejects


def _listed(path: Location, content: bytes, given: Given) -> Iterator[Instance | Reject]:
    """Yield what a list of one class states of each image."""
    named = _OF_LIST.fullmatch(as_text(path.stem))
    if named is None:
        raise DataError(
            "lists images, and its name says no class",
            where=path,
            remedy=f"name the folder of {ANNOTATIONS}, or beside it a list of names, or of a class as dog_train.txt",
        )
    for number, line in enumerate(lines_of(content, path), 1):
        said = _LINE.fullmatch(line)
        if said is not None:
            yield Instance(
                image=f"{given.root}/{said[1]}" if given.root else said[1],
                class_id=named["class"],
                where=as_text(str(path)),
                place=f"line {number}",
                box=None,
                confidence=0.0 if said[2] == "-1" else 1.0,
                flags=frozenset({"difficult"} if said[2] == "0" else ()),
                line=number,
            )
        elif line.strip():
            yield reject(path, "is no image with -1, 0 or 1", line, number)


def pixel_boxes(path: Location) -> Iterator[tuple[str, tuple[float, ...], bool]]:
    """Yield the name, the sides in VOC's own pixels, and whether it is difficult, of each object of a file.

    Raises:
        DataError: the file is none of VOC.
    """
    refuse_special(path)
    for entry in _root(path, path.read_bytes()).iterfind("object"):
        sides = tuple(number_of(_text(entry, f"bndbox/{side}")) for side in _SIDES)
        yield _text(entry, "name"), sides, bool(flag_of(_text(entry, "difficult")))


def _root(path: Location, content: bytes) -> ET.Element:
    try:
        root = ET.fromstring(content)  # noqa: S314 - expat has bounded entity expansion since 2.4.1
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DataError(f"is not a complete XML file ({error})", where=path, remedy="obtain it again") from error
    if root.tag != "annotation":
        raise DataError(f"is a file of <{root.tag[:40]}>, not of <annotation>", where=path, remedy="name files of VOC")
    return root


def _entries(root: ET.Element) -> Iterator[ET.Element]:
    for found in root.iterfind("object"):
        yield found
        yield from found.iterfind("part")


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _box(bndbox: ET.Element | None, width: float, height: float) -> Sides | str:
    if bndbox is None:
        return "it has no bndbox"
    xmin, ymin, xmax, ymax = (number_of(_text(bndbox, side)) for side in _SIDES)
    return of_pixels((xmin, ymin, xmax, ymax), width, height)


def _mask(path: Location, given: Given) -> str:
    """Return the path, within the folder that was named, of the picture that tells each pixel's class, if there is."""
    parts = [] if given.folder is None else relative(path, given.folder).split("/")[:-1]
    if given.folder is None or ANNOTATIONS not in parts:
        return ""
    name = "/".join([*parts[: parts.index(ANNOTATIONS)], MASKS, f"{path.stem}.png"])
    if not is_file(given.folder / name):
        return ""
    return as_text(f"{given.root}/{name}" if given.root else name)


def _masks_alone(folder: Location, files: Sequence[Location]) -> list[Location]:
    """Return the pictures of pixels' classes of which there is no file in `Annotations`."""
    described = {path.stem for path in files}
    return [path for path in _masks(folder) if path.stem not in described]


def _masks(folder: Location) -> list[Location]:
    return [path for path in files_below(folder) if path.suffix == ".png" and path.parent.name == MASKS]
