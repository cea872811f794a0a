"""What a user states of files that do not say it themselves: names of columns, what separates labels, meanings.

Nothing of this is ever guessed. One value goes from a command's options, a recipe or the Python API to the source that
reads the files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import Location  # noqa: TC001 - the decoder reads it
from mlimages_dataset.sources.box_orders import BOX_ORDERS
from mlimages_dataset.tables.schemas import LONG_FORM

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLE_COLUMNS = ("image_id", "label", "confidence", "location")
"""The columns that are read of a user's own table; the first two must be there."""
NEEDED_COLUMNS = TABLE_COLUMNS[:2]
_OF_EXPORT = frozenset(LONG_FORM.names).difference(TABLE_COLUMNS)
_BLANKS = " \t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a user states of files.

    Attributes:
        columns: names of the columns of a file without a header, in their order, any name for one that is not read; or
            pairs such as `image_id=path`, which say how the file itself calls a column.
        separator: what stands between the labels of a cell, and between their confidences; empty where it holds one.
        synsets: file that says which synset a number means in ImageNet's own lists.
        box_order: one of `BOX_ORDERS`, where the key of a box does not say it; empty for what the key says.
    """

    columns: tuple[str, ...] = ()
    separator: str = ""
    synsets: Location | None = None
    box_order: str = ""

    def __post_init__(self) -> None:
        pairs = [name.partition("=") for name in self.columns if "=" in name]
        if pairs and len(pairs) < len(self.columns):
            raise ValueError(f"columns are names and pairs ({', '.join(self.columns)}), of which one must do")
        ours = [name for name, _, _ in pairs] or [name for name in self.columns if name in TABLE_COLUMNS]
        if strangers := [name for name in ours if name not in TABLE_COLUMNS]:
            raise ValueError(f"columns name {strangers[0]!r}, which is none of {', '.join(TABLE_COLUMNS)}")
        if self.columns and not pairs and (missing := [name for name in NEEDED_COLUMNS if name not in ours]):
            raise ValueError(f"columns lack {' and '.join(missing)}")
        for names in (ours, [theirs for _, _, theirs in pairs]):
            if repeated := [name for name, n in Counter(names).items() if n > 1]:
                raise ValueError(f"columns name {repeated[0]!r} twice")
        if len(self.separator) > 1 and set(self.separator) & set(_BLANKS):
            raise ValueError(f"separator is {self.separator!r}, which mixes blanks with other characters")
        if self.box_order and self.box_order not in BOX_ORDERS:
            raise ValueError(f"box_order is {self.box_order!r}, which is none of {', '.join(BOX_ORDERS)}")

    @property
    def stated(self) -> tuple[str, ...]:
        """The names of what is stated."""
        return tuple(one.name for one in fields(Layout) if getattr(self, one.name))

    @property
    def has_no_header(self) -> bool:
        """Whether `columns` are those of a file without a header."""
        return bool(self.columns) and not self.theirs

    @property
    def theirs(self) -> dict[str, str]:
        """Our name of each column that the file calls otherwise, by the file's name."""
        pairs = (name.partition("=") for name in self.columns)
        return {theirs: ours for ours, sign, theirs in pairs if sign}

    def their_name(self, name: str) -> str:
        """Return what the file calls a column of ours."""
        return next((theirs for theirs, ours in self.theirs.items() if ours == name), name)

    def renamed(self, names: list[str]) -> list[str]:
        """Return a file's names of columns with ours in place of its own; what is not asked for has no name of ours.

        Case and blanks around a name do not count, unless the file has the very name too.

        >>> Layout(columns=("image_id=path",)).renamed(["path", "image_id", " Label ", "LOCATION", "location"])
        ['image_id', 'column 2', 'label', 'LOCATION', 'location']
        """
        replaced = set(self.theirs.values())
        plain = [name.strip().casefold() for name in names]
        own = [
            one if one in TABLE_COLUMNS and one not in names else name for one, name in zip(plain, names, strict=True)
        ]
        return [
            self.theirs.get(name, f"column {number}" if ours in replaced else ours)
            for number, (name, ours) in enumerate(zip(names, own, strict=True), 1)
        ]


def is_exported(names: Iterable[str]) -> bool:
    """Return whether a file's own columns are those of an exported CSV; a user's own column `origin` may say anything.

    >>> is_exported(["image_id", "label", "class_index", "origin"]), is_exported(["image_id", "label", "origin"])
    (True, False)
    """
    return _OF_EXPORT.issubset(names)


def layout_of(columns: Iterable[str], separator: str, synsets: Location | None) -> Layout | None:
    """Return what is stated of files, None for nothing.

    Raises:
        UsageError: it cannot be.
    """
    try:
        layout = Layout(columns=tuple(columns), separator=separator, synsets=synsets)
    except ValueError as error:
        raise UsageError(str(error), remedy="correct it") from error
    return layout if layout.stated else None
