"""The classes of annotation files, as a class list: what their format names, whether images have them or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.coco import coco_classes
from mlimages_dataset.sources.cvat import cvat_classes
from mlimages_dataset.sources.huggingface import huggingface_classes
from mlimages_dataset.sources.labelme import LabelMe, is_labelme
from mlimages_dataset.sources.places import archive_of, files_below, is_folder, opened, place_digest, shards_below
from mlimages_dataset.sources.voc import Voc
from mlimages_dataset.sources.yolo import Yolo

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.annotation_files import FileSource
    from mlimages_dataset.sources.classes import SourceClass

_OF_FOLDERS: tuple[FileSource, ...] = (Voc(), LabelMe(), Yolo())
_LOOK_BYTES = 1 << 12
_KEYS_OF_COCO = (b'"images"', b'"annotations"')


def is_annotation_file(path: Location) -> bool:
    """Return whether a class list's name is that of annotations: a folder, or a JSON or XML file."""
    return is_folder(path) or path.suffix.lower() in {".json", ".xml"}


def classes_of_files(path: Location) -> list[SourceClass]:
    """Return the classes of a COCO or CVAT file, a file or folder of VOC, LabelMe or YOLO, or a Hugging Face folder.

    Raises:
        DataError: it is none of these, or names no class.
    """
    path = _document_of(path)
    if is_folder(path):
        return huggingface_classes(path) if _holds_tables(path) else _of_folder(path).classes(path)
    if path.suffix.lower() == ".xml":
        return cvat_classes(path) if _begins(path, b"<annotations") else Voc().classes(path)
    return coco_classes(path)


def format_of_files(path: Location) -> str:
    """Return the name of the format of annotation files that `classes_of_files` takes.

    Raises:
        DataError: it is a folder of no format.
    """
    path = _document_of(path)
    if is_folder(path):
        return "huggingface" if _holds_tables(path) else _of_folder(path).name
    if path.suffix.lower() == ".xml":
        return "cvat" if _begins(path, b"<annotations") else "voc"
    return "coco"


def class_files_digest(path: Location) -> str:
    """Return the SHA-256 of what decides a class list.

    Raises:
        UsageError: it cannot be read.
        DataError: it is a folder of no format.
    """
    path = _document_of(path)
    return _of_folder(path).digest(path) if is_folder(path) and not _holds_tables(path) else place_digest(path)


def annotations_in(folder: Location) -> Location | None:
    """Return what is to be named to read the annotations in a folder: it, or a file of COCO in it; None if none are."""
    if not folder.is_dir() or _holds_tables(folder):
        return None
    documents = [one for one in files_below(folder) if one.suffix.lower() == ".json"]
    if documents and all(map(_is_coco, documents)):
        return documents[0]
    try:
        source = _of_folder(folder)
        source.piece(folder)
    except DataError:
        return None
    return folder


def _document_of(path: Location) -> Location:
    """Return the only file of COCO or CVAT in an archive; the path itself where it is no archive of just one."""
    if archive_of(path) != path:
        return path
    files = files_below(path)
    found = [one for one in files if one.suffix.lower() in {".json", ".xml"}]
    if len(found) != 1 or _begins(found[0], b'"shapes"'):  # LabelMe has shapes
        return path
    beside_yolo = found[0].suffix.lower() == ".json" and any(map(Yolo().is_annotation, files))
    return path if beside_yolo and not _is_coco(found[0]) else found[0]


def _holds_tables(folder: Location) -> bool:
    return folder.is_dir() and bool(shards_below(folder, ".parquet"))


def _of_folder(path: Location) -> FileSource:
    files = files_below(path)
    for source in _OF_FOLDERS:
        found = [one for one in files if source.is_annotation(one)]
        if found and isinstance(source, LabelMe) and all(map(_is_coco, found)):
            raise DataError(
                "holds annotations of COCO, which are named by their file",
                where=path,
                remedy=f"name {found[0]}",
            )
        if found and (not isinstance(source, LabelMe) or any(map(is_labelme, found))):
            return source
    raise DataError("holds no annotations of VOC, LabelMe or YOLO", where=path, remedy="name a class list")


def _is_coco(path: Location) -> bool:
    """Return whether a JSON file begins like one of COCO, and not like one of LabelMe, which has shapes.

    Label Studio's `notes.json` beside YOLO's labels has only categories.
    """
    with opened(path) as stream:
        begin = stream.read(_LOOK_BYTES)
    goes_on = len(begin) == _LOOK_BYTES and b'"categories"' in begin
    return b'"shapes"' not in begin and (goes_on or any(key in begin for key in _KEYS_OF_COCO))


def _begins(path: Location, tag: bytes) -> bool:
    with opened(path) as stream:
        return tag in stream.read(_LOOK_BYTES)
