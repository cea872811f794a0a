"""The members of a source of images: its files or archive entries, pictures or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.images.check import Inspection

Content: TypeAlias = "Callable[[], bytes | Inspection]"
"""Returns the bytes, or why there are none. An archive's member must be read before the next one is taken."""

_WNID = re.compile(r"n\d{8}")
_STARTS_WITH_WNID = re.compile(r"(n\d{8})(?:\D|$)")
_WITHOUT_CLASS = re.compile(r"ILSVRC20\d\d_(?:val|test)_\d+\b")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a source.

    Attributes:
        path: its path in the source, with slashes, as valid UTF-8; an archive inside an archive counts as a folder.
        content: see `Content`.
        labels: class ids and confidences that the source states; None if the path tells the class.
    """

    path: str
    content: Content
    labels: tuple[tuple[str, float], ...] | None = None

    def all_labels(self) -> tuple[tuple[str, float], ...]:
        """Return the labels that the source states, else the one that follows from the path."""
        if self.labels is not None:
            return self.labels
        class_id = class_of_path(self.path)
        return ((class_id, 1.0),) if class_id else ()


def is_wnid(name: str) -> bool:
    """Return whether a name is a wnid, such as `n01440764`."""
    return _WNID.fullmatch(name) is not None


def class_of_path(path: str) -> str:
    """Return the class id that follows from a picture's path; empty if none does.

    It is the innermost folder (or archive) that is named by a wnid; else the wnid at the beginning of the file name, as
    in ImageNet; else the name of the innermost folder. ILSVRC's validation and test pictures have no class.
    """
    *folders, name = path.split("/")
    for folder in reversed(folders):
        if is_wnid(folder):
            return folder
    if begins := _STARTS_WITH_WNID.match(name):
        return begins[1]
    return folders[-1] if folders and not _WITHOUT_CLASS.match(name) else ""
