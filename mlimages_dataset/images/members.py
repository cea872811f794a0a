"""What a source of images holds: one member for each picture, or for whatever stands where one could be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.images.check import Inspection

Content: TypeAlias = "Callable[[], bytes | Inspection]"
"""Returns the bytes, or why there are none; of an archive's member, only until the next one is asked for."""

_WNID = re.compile(r"n\d{8}")
_STARTS_WITH_WNID = re.compile(r"(n\d{8})(?:\D|$)")
_WITHOUT_CLASS = re.compile(r"ILSVRC20\d\d_(?:val|test)_\d+\b")


@dataclass(frozen=True, slots=True)
class Member:
    """One thing in a source.

    Attributes:
        path: its path in the source, with slashes, as text that UTF-8 can hold; the path of an archive in an archive
            counts as a folder's.
        content: see `Content`.
        labels: class ids and confidences that the source itself states; None to go by the path.
    """

    path: str
    content: Content
    labels: tuple[tuple[str, float], ...] | None = None

    def all_labels(self) -> tuple[tuple[str, float], ...]:
        """Return the labels that the source states, or the one that the path tells."""
        if self.labels is not None:
            return self.labels
        class_id = class_of_path(self.path)
        return ((class_id, 1.0),) if class_id else ()


def is_wnid(name: str) -> bool:
    """Return whether a name is a synset's and nothing more."""
    return _WNID.fullmatch(name) is not None


def class_of_path(path: str) -> str:
    """Return the class id that a picture's path tells, empty where it tells none.

    A folder (or archive) named by a wnid comes first, the innermost one; then a file name that begins with one, as
    ImageNet's do; then the innermost folder, whatever its name. ILSVRC's validation and test pictures have no class.
    """
    *folders, name = path.split("/")
    for folder in reversed(folders):
        if is_wnid(folder):
            return folder
    if begins := _STARTS_WITH_WNID.match(name):
        return begins[1]
    return folders[-1] if folders and not _WITHOUT_CLASS.match(name) else ""
