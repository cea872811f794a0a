"""The members of a source of images: its files or archive entries, pictures or not."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mlimages_dataset.sources.folders import class_of_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.images.check import Inspection

Content: TypeAlias = "Callable[[], bytes | Inspection]"
"""Returns the bytes, or why there are none. An archive's member must be read before the next one is taken."""


def held(content: bytes | Inspection) -> Content:
    """Return what gives this content at any time."""
    return functools.partial(_same, content)


def _same(content: bytes | Inspection) -> bytes | Inspection:
    return content


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a source.

    Attributes:
        path: its path in the source, with slashes, as valid UTF-8; an archive inside an archive counts as a folder.
        content: see `Content`.
        labels: class ids and confidences that the source states; None if the path tells the class.
        captions: texts on the picture that the source states.
        note: what of this cannot be read; empty if all can.
        masks: tag and content of the pictures that say what its pixels are; their content can be read at any time.
        is_in_class_folder: its folder is one of `class_folders`, or its owner says that it is a class.
        link: the path of the file that it is a link to, where that is read from the same folder; else empty.
        doubt: what is doubtful about its path; empty if nothing is.
        source: the name of its source, where several are read; else empty.
    """

    path: str
    content: Content
    labels: tuple[tuple[str, float], ...] | None = None
    captions: tuple[str, ...] = ()
    note: str = ""
    masks: tuple[tuple[str, Content], ...] = ()
    is_in_class_folder: bool = False
    link: str = ""
    doubt: str = ""
    source: str = ""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return f"{self.path} of {self.source}" if self.source else self.path

    def all_labels(self) -> tuple[tuple[str, float], ...]:
        """Return the labels that the source states, else the one that follows from the path."""
        if self.labels is not None:
            return self.labels
        class_id = class_of_path(self.path, is_class_folder=self.is_in_class_folder)
        return ((class_id, 1.0),) if class_id else ()
