"""The class of a picture according to its path, for files, folders and archives of any layout."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WNID = re.compile(r"n\d{8}")
_STARTS_WITH_WNID = re.compile(r"(n\d{8})(?:\D|$)")
_ENDS_WITH_WNID = re.compile(r"(?:^|_)(n\d{8})(?:\.\w+)*$")
_WITHOUT_CLASS = re.compile(r"ILSVRC20\d\d_(?:val|test)_\d+(?:\D|$)")
MASKS_OF_VOC = ("SegmentationClass", "SegmentationObject")
MASK_OF_OPEN_IMAGES = re.compile(r"(?P<image>[0-9a-f]{16})_(?P<tag>m[0-9a-z_]*_[0-9a-f]{8})\.png")
"""The name of a mask of Open Images: its picture, its label and its box."""
PARTS_TO_TRAIN, PARTS_TO_TEST = "train|training", "val|valid|validation|dev|test|testing"
"""Names of folders that divide the pictures of a collection, as a pattern."""
_WORDS_OF_PARTS = (
    f"{PARTS_TO_TRAIN}|{PARTS_TO_TEST}|trn|eval|extra|trainval|unlabell?ed|query|gallery",
    "images?|imgs?|pictures?|pics?|photos?|photographs?|jpe?gs?|pngs?|jpegimages|data|dataset|set|split",
    "parts?|shards?|batch(?:es)?|chunks?|folds?|tars?|archives?|dir|folder|subset|download(?:s|ed)?|raw",
    "masks|labels|annotations|segmentations|ground_?truth|gt|xmls|thumbnails|thumbs|cache|backups?|originals?|resized|lr|hr",
    "unknown|unsorted|misc|miscellaneous|others?|tmp|temp",
)
_WORD_OF_A_PART = rf"(?:{'|'.join(_WORDS_OF_PARTS)})"
_NO_CLASS = re.compile(rf"{_WORD_OF_A_PART}(?:[-_ .]*(?:{_WORD_OF_A_PART}|\d+|of))*|\d{{4,}}|0\d+", re.IGNORECASE)
"""Names of folders that denote a part of a collection, not a class."""
_PARTS_OR_THINGS = frozenset({"train", "picture", "photograph", "folder"})
"""Those of them that are things in photographs, too: classes of Pascal VOC, ADE20K and LVIS."""
_LEAST_CLASSES_BESIDE = 2


def is_mask(path: str) -> bool:
    """Return whether a picture says what each pixel of another picture is, by Pascal VOC's or Open Images' names."""
    *folders, name = path.split("/")
    return not set(MASKS_OF_VOC).isdisjoint(folders) or MASK_OF_OPEN_IMAGES.fullmatch(name) is not None


def is_hidden(path: str) -> bool:
    """Return whether a path leads through what tools put beside pictures: what begins with a dot, and others of theirs.

    >>> is_hidden("cat/.thumbnails/1.jpg"), is_hidden("__MACOSX/cat/1.jpg"), is_hidden("./cat/1.jpg")
    (True, True, False)
    """
    return any(
        (name.startswith(".") and not name.startswith("..") and name != ".") or name in {"__MACOSX", "@eaDir"}
        for name in path.split("/")
    )


def is_wnid(name: str) -> bool:
    """Return whether a name is a wnid, such as `n01440764`."""
    return _WNID.fullmatch(name) is not None


def class_folders(paths: Iterable[str]) -> frozenset[str]:
    """Return those folders of pictures whose names may be of a part or of a thing, and are of a thing.

    Beside `boat/` and `car/`, `train/` is a class. Such a folder has two or more beside it that have pictures and names
    of classes, and none that has the name of a part.
    """
    beside: dict[str, set[str]] = {}
    for path in paths:
        above, _, name = path.rpartition("/")[0].rpartition("/")
        beside.setdefault(above, set()).add(name)
    return frozenset(
        f"{above}/{name}".lstrip("/") for above, names in beside.items() for name in _things(names - {"", ".", ".."})
    )


def is_part_or_thing(folder: str) -> bool:
    """Return whether a folder's name may be of a part of a collection or of a thing; `class_folders` says which."""
    return folder.strip().lower() in _PARTS_OR_THINGS


def _things(names: set[str]) -> set[str]:
    """Return the names of parts or things, if all folders beside them are classes."""
    either = set(filter(is_part_or_thing, names))
    others = names - either
    are_classes = len(others) >= _LEAST_CLASSES_BESIDE and not any(_NO_CLASS.fullmatch(one.strip()) for one in others)
    return either if are_classes else set()


def names_of_parts(class_ids: Iterable[str]) -> list[str]:
    """Return those of some classes that `class_of_path` takes for parts of a collection, ascending.

    >>> names_of_parts(["pics", "dog", "0001"])
    ['0001', 'pics']
    """
    return sorted({one for one in map(_as_class, class_ids) if _NO_CLASS.fullmatch(one)})


def innermost_folder(path: str) -> str:
    """Return the innermost folder (or archive) of a picture, as `class_of_path` writes it; empty if there is none."""
    folders = [one for one in path.split("/")[:-1] if not one.lower().endswith(".tar")]
    return _as_class(folders[-1]) if folders else ""


def without_folder(path: str, name: str) -> str:
    """Return a path without the innermost folder of a name; the path itself if it has none.

    >>> without_folder("images/train/a.jpg", "images"), without_folder("train/images/a.jpg", "images")
    ('train/a.jpg', 'train/a.jpg')
    """
    folders = path.split("/")[:-1]
    if name not in folders:
        return path
    at = len(folders) - 1 - folders[::-1].index(name)
    return "/".join(path.split("/")[:at] + path.split("/")[at + 1 :])


def _as_class(folder: str) -> str:
    """Return a folder's name as a class id: lists are read without blanks at the ends, and a line break ends a row."""
    return " ".join(unicodedata.normalize("NFC", folder).splitlines()).strip()


def class_of_path(path: str, *, is_class_folder: bool = False) -> str:
    """Return the class id according to a picture's path; empty if there is none.

    It is the innermost folder (or archive) that is named by a wnid; else the wnid at the beginning of the file name, as
    in ImageNet, or at its end; else the name of the innermost folder, unless that is of a split, a shard or a number of
    several digits (`train`, `val_images`, `train-0000`, `00001`). A shard (`0.tar`) is no folder. ILSVRC's validation
    and test pictures have no other class, and masks have none.

    Args:
        path: with slashes.
        is_class_folder: its innermost folder is of a class, whatever its name; see `class_folders`.
    """
    *folders, name = path.split("/")
    folders = [folder for folder in folders if not folder.lower().endswith(".tar")]
    for folder in reversed(folders):
        if is_wnid(folder):
            return folder
    if stated := _STARTS_WITH_WNID.match(name) or _ENDS_WITH_WNID.search(name):
        return stated[1]
    if is_mask(path) or not folders or _WITHOUT_CLASS.match(name):
        return ""
    named = is_class_folder or not _NO_CLASS.fullmatch(folders[-1].strip())
    return _as_class(folders[-1]) if named else ""
