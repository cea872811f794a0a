"""Where rows of CSV end, if fields may have quotes, and line ends in these (RFC 4180).

A quote opens a field only where the field begins; elsewhere in a field without quotes, it is a sign like others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


def last_row_end(content: bytes, delimiter: str) -> int:
    """Return where the last complete row ends, 0 if there is none.

    Where text follows a closing quote, some quote before it was never closed: then a row ends at a line end before
    which quotes are even in number.
    """
    if b'"' not in content:
        return content.rfind(b"\n") + 1
    end, _, is_well_formed = _scan(np.frombuffer(content, np.uint8), ord(delimiter), np.empty(0, np.bool_))
    return int(end) if is_well_formed else _even_end(content)


def are_well_formed(content: bytes, delimiter: str) -> bool:
    """Return whether each quote that opens a field is closed, at the end of the field."""
    if b'"' not in content:
        return True
    _, is_inside, is_well_formed = _scan(np.frombuffer(content, np.uint8), ord(delimiter), np.empty(0, np.bool_))
    return bool(is_well_formed and not is_inside)


def with_newlines(content: bytes, delimiter: str) -> bytes:
    """Return rows that all end in a newline: DuckDB does not read files with several kinds of line ends.

    Line ends in quotes are part of a field and stay. Those behind a quote that is never closed are the ends of rows.
    """
    if b"\r" not in content:
        return content
    quoted = np.zeros(len(content) if b'"' in content else 0, np.bool_)
    if len(quoted):
        _scan(np.frombuffer(content, np.uint8), ord(delimiter), quoted)
    ends = np.append(np.flatnonzero(quoted), len(content)).tolist()
    between = (content[start:end] for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False))
    return b"\r".join(map(newlines_only, between))


def newlines_only(content: bytes) -> bytes:
    """Return a text with a newline in place of every line end."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _even_end(content: bytes) -> int:
    """Return the last line end before which quotes are even in number; an escaped quote is two quotes, so neutral."""
    inside, end = content.count(b'"') % 2, len(content)
    while (at := content.rfind(b"\n", 0, end)) >= 0:
        inside ^= content.count(b'"', at, end) % 2
        if not inside:
            return at + 1
        end = at
    return 0


@compiled
def _scan(  # noqa: C901 - one pass
    letters: NDArray[np.uint8], delimiter: int, returns: NDArray[np.bool_]
) -> tuple[int, bool, bool]:
    """Return where the last row ends, whether a quote is open at the end, and whether nothing follows a closing quote.

    Args:
        letters: shape (B,); they begin with a row.
        delimiter: a byte.
        returns: set where a carriage return is in quotes that are closed, shape (B,); of no length, nothing is set,
            and the letters behind a closing quote that something follows are not read.
    """
    end, begins, inside, is_well_formed = 0, True, False, True
    at, n, opened = 0, len(letters), 0
    while at < n:
        letter = letters[at]
        at += 1
        if inside:
            if letter == _QUOTE:
                if at < n and letters[at] == _QUOTE:
                    at += 1
                else:
                    inside = False
                    following = letters[at] if at < n else _NEWLINE
                    if following != delimiter and following != _NEWLINE and following != _RETURN:  # noqa: PLR1714 - a set is slow there
                        is_well_formed = False
                        if len(returns) == 0:
                            return end, False, False
                        returns[opened:at] = False
            elif letter == _RETURN and len(returns):
                returns[at - 1] = True
        elif letter == _NEWLINE:
            end, begins = at, True
        elif letter == delimiter or letter == _RETURN:  # noqa: PLR1714, SIM109 - as above
            begins = True
        else:
            inside, begins = begins and letter == _QUOTE, False
            opened = at
    if inside and len(returns):
        returns[opened:] = False
    return end, inside, is_well_formed
