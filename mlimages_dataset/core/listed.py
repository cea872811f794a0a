"""Lists in sentences: the first few by name, and the number of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def first_of(names: Iterable[str], most: int, total: int = 0, *, sign: str = ", ") -> str:
    """Return the first names, and how many more there are.

    Args:
        names: all names, or the first of them.
        most: names that are told.
        total: how many names there are, if not all are given.
        sign: what stands between names.

    >>> first_of("abcd", 3), first_of("abc", 3), first_of("ab", 3, 1_002)
    ('a, b, c and 1 more', 'a, b, c', 'a, b and 1,000 more')
    """
    given = list(names)
    more = max(total, len(given)) - min(len(given), most)
    told = sign.join(given[:most])
    return f"{told}{' and' if sign == ', ' else f'{sign}and'} {more:,} more" if more else told
