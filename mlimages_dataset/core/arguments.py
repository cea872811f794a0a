"""Arguments of public functions: what each must be is a value, and one function refuses anything else in a sentence."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import Location

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument must be.

    Attributes:
        told: the same in words, as in "must be a path".
        fits: whether a value is such an argument.
        item: what each value must be where the argument is a mapping.
    """

    told: str
    fits: Callable[[object], bool]
    item: Kind | None = None

    def or_none(self) -> Kind:
        """Return the kind that also takes None."""
        return replace(self, told=f"{self.told}, or None", fits=lambda value: value is None or self.fits(value))


def is_whole(value: object) -> bool:
    """Return whether a value is a whole number of Python or numpy; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """Return whether a value is text that UTF-8 can hold."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def is_path(value: object) -> bool:
    """Return whether a value is a path or a URL."""
    return isinstance(value, str | os.PathLike | Location)


def whole(least: int, most: int | None = None) -> Kind:
    """Return the kind of whole numbers in a range."""
    told = f"a whole number of at least {least}" if most is None else f"a whole number in {least}..{most}"

    def fits(value: object) -> bool:
        return is_whole(value) and least <= value and (most is None or value <= most)  # type: ignore[operator]

    return Kind(told, fits)


def one_of(choices: Sequence[str]) -> Kind:
    """Return the kind of one of several texts."""
    return Kind(" or ".join(map(repr, choices)), lambda value: isinstance(value, str) and value in choices)


def mapping_to(told: str, item: Kind) -> Kind:
    """Return the kind of mappings from names to values of a kind."""
    return Kind(told, lambda value: isinstance(value, Mapping), item)


TEXT = Kind("text", is_text)
PATH = Kind("a path or a URL", is_path)
SWITCH = Kind("True or False", lambda value: isinstance(value, bool))
CALLABLE = Kind("a function", callable)
SHARE = Kind(
    "a number in 0..1",
    lambda value: not isinstance(value, bool) and isinstance(value, numbers.Real) and 0 <= float(value) <= 1,
)


def check(kinds: Mapping[str, Kind], given: Mapping[str, object]) -> None:
    """Raise `UsageError` for an argument that is not of its kind; names without a kind are not checked.

    >>> check({"probability": SHARE}, {"probability": "a"})
    Traceback (most recent call last):
        ...
    mlimages_dataset.core.errors.UsageError: probability is 'a', but must be a number in 0..1; correct it
    """
    for name, kind in kinds.items():
        if name in given and not kind.fits(given[name]):
            raise UsageError(f"{name} is {shown(given[name])}, but must be {kind.told}", remedy="correct it")
        if kind.item is not None and isinstance(items := given.get(name), Mapping):
            check(
                {f"{name}[{key!r}]": kind.item for key in items},
                {f"{name}[{key!r}]": one for key, one in items.items()},
            )


def shown(value: object) -> str:
    """Return a value for a message: itself if it is short and plain, the beginning of a long text, else its type."""
    is_plain = value is None or isinstance(value, str | bool | int | float)
    if is_plain and len(repr(value)) <= _SHOWN:
        return repr(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return f"{value[:_SHOWN]!r}..."
    return f"of the type {type(value).__name__}"
