"""Links in a folder tree: which are followed, so that no file is read twice because of a link, and none forever.

A link to a folder is followed unless that folder is read anyway: at its own place in the tree, at an earlier link, or
because the link lies in it. A link to a file is a file, with the name that it has.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mlimages_dataset.core.locations import as_text, listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.core.locations import Location


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a folder that is read, and of those below it.

    Attributes:
        folder: where the tree begins: the folder that is read, or the target of a link that is followed.
        above: the real place of `folder`, and of each folder with a link on the way to it; empty for remote ones.
        read: the paths, in the tree, of the folders behind links by their real places.
        is_hidden: whether what has a path in the tree is not read at its own place; nothing is hidden where none is.
    """

    folder: Location
    is_hidden: Callable[[str], bool] | None = None
    above: tuple[Path, ...] = ()
    read: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.above and isinstance(self.folder, Path):
            object.__setattr__(self, "above", (self.folder.resolve(),))

    def into(self, folder: Location, path: str) -> tuple[Self, str]:
        """Return the links below a folder of the tree, and why it is not read; empty if it is.

        Args:
            folder: what is there, perhaps a link.
            path: its path in the tree, for messages.
        """
        is_link = folder.is_symlink() if isinstance(folder, Path) else False
        if not isinstance(folder, Path) or not (is_link or len(self.above) > 1):
            return self, ""
        real = folder.resolve()
        if is_link and any(one.is_relative_to(real) for one in self.above):
            return self, "a link to a folder that it lies in: it is not followed"
        if is_link and (at := self._place(real)):
            return self, f"a link to {at}, which is read there: it is not followed"
        if real in self.read:
            return self, f"the same folder as {self.read[real]}: it is not read again"
        self.read[real] = path
        return type(self)(real, self.is_hidden, (*self.above, real), self.read) if is_link else self, ""

    def of_file(self, file: Location) -> str:
        """Return the path of the file that a link is to, where that is read too; empty for any other file."""
        return self._place(file.resolve()) if isinstance(file, Path) and file.is_symlink() and file.exists() else ""

    def _place(self, real: Path) -> str:
        """Return the path, in one of the folders above, of what is read there; empty if none of them has it."""
        for top in self.above:
            if real.is_relative_to(top):
                inside = real.relative_to(top).as_posix()
                if self.is_hidden is None or not self.is_hidden(inside):
                    return as_text(inside)
        return ""


def below(folder: Location, is_hidden: Callable[[str], bool] | None = None) -> Iterator[Location]:
    """Yield the files and folders below a folder, in no order to rely on, also behind those links that are followed.

    Args:
        folder: where to begin.
        is_hidden: of a path, see `Links`; what lies in a hidden folder is left out.

    Raises:
        UsageError: the folder, or one below it, cannot be listed.
    """
    if isinstance(folder, Path):
        yield from _below(folder, "", Links(folder, is_hidden))
    else:
        yield from folder.rglob("*")


def _below(folder: Path, path: str, links: Links) -> Iterator[Path]:
    # `scandir` knows of most entries what they are, without asking for each.
    with listing(folder), os.scandir(folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries)
    for name, is_folder in found:
        yield folder / name
        if is_folder and not (links.is_hidden is not None and links.is_hidden(path + name)):
            inside, why = links.into(folder / name, path + name)
            if not why:
                yield from _below(folder / name, f"{path}{name}/", inside)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
