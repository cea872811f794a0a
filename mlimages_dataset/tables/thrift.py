"""Values of the Thrift compact protocol, in which Parquet states where its pages are.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TRUE, _FALSE, _INT8, _INT16, _INT32, _INT64, _TEXT, _LIST, _STRUCT = 1, 2, 3, 4, 5, 6, 8, 9, 12
_SHORT_LIST, _SHORT_STEP = 15, 15


class Value(NamedTuple):
    """A value of a field or a list.

    Attributes:
        kind: the protocol's number of the type.
        encoded: the bytes, none for a truth value, which its type states.
    """

    kind: int
    encoded: bytes


def unsigned(number: int) -> bytes:
    """Return a number of 0 or more in groups of seven bits, the lowest first (ULEB128)."""
    groups = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def _zigzag(number: int) -> bytes:
    return unsigned(2 * number if number >= 0 else -2 * number - 1)


def int8(number: int) -> Value:
    """Return a number in -128..127."""
    return Value(_INT8, number.to_bytes(1, "little", signed=True))


def int32(number: int) -> Value:
    """Return a number of 32 bits."""
    return Value(_INT32, _zigzag(number))


def int64(number: int) -> Value:
    """Return a number of 64 bits."""
    return Value(_INT64, _zigzag(number))


def truth(*, is_so: bool) -> Value:
    """Return a truth value of a field."""
    return Value(_TRUE if is_so else _FALSE, b"")


def data(content: bytes) -> Value:
    """Return bytes, or a text in UTF-8."""
    return Value(_TEXT, unsigned(len(content)) + content)


def text(content: str) -> Value:
    """Return a text."""
    return data(content.encode())


def listed(values: Sequence[Value]) -> Value:
    """Return a list of values of one type other than truth values; an empty one is of structures."""
    kind, n = values[0].kind if values else _STRUCT, len(values)
    head = bytes([n << 4 | kind]) if n < _SHORT_LIST else bytes([0xF0 | kind]) + unsigned(n)
    return Value(_LIST, head + b"".join(value.encoded for value in values))


def struct(fields: Mapping[int, Value]) -> Value:
    """Return a structure of values by the numbers of their fields, which ascend."""
    encoded, before = bytearray(), 0
    for number, value in fields.items():
        step = number - before
        encoded += bytes([step << 4 | value.kind]) if step <= _SHORT_STEP else bytes([value.kind]) + _zigzag(number)
        encoded += value.encoded
        before = number
    return Value(_STRUCT, bytes([*encoded, 0]))
