"""Documents become dataclasses, or one sentence says why not."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import pytest

from mlimages_dataset.core.decoding import Decoder, UndecodableError, encode


class Plain(enum.Enum):
    """Without another type."""

    A = "a"


class Text(enum.StrEnum):
    """Texts."""

    B = "b"


class Number(enum.IntEnum):
    """Numbers."""

    ONE = 1


@dataclass(frozen=True)
class Choices:
    """One of each."""

    plain: Plain = Plain.A
    text: Text = Text.B
    number: Number = Number.ONE


def test_every_kind_of_enumeration_comes_back() -> None:
    content = encode(Choices())
    assert content == {"plain": "a", "text": "b", "number": 1}
    again = Decoder().decode(Choices, content)
    assert [type(value) for value in (again.plain, again.text, again.number)] == [Plain, Text, Number]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"plain": "b"}, "plain is 'b'; use one of a"),
        ({"text": "B"}, "text is 'B'; use one of b"),
        ({"text": 1}, "text is 1; use one of b"),
        ({"number": True}, "number is True; use one of 1"),
        ({"number": "1"}, "number is '1'; use one of 1"),
        ({"number": 1.0}, "number is 1.0; use one of 1"),
    ],
)
def test_what_is_no_member_is_told(content: dict[str, object], told: str) -> None:
    with pytest.raises(UndecodableError) as error:
        Decoder().decode(Choices, content)
    assert f"{error.value}; {error.value.remedy}" == told
