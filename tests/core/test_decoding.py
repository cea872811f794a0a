"""Documents become dataclasses, or one sentence says why not."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import pytest

from mlimages_dataset.core.decoding import Decoder, UndecodableError, encode
from mlimages_dataset.core.documents import parse_json, parse_toml


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
        ({"number": True}, "number is true; use one of 1"),
        ({"number": "1"}, "number is '1'; use one of 1"),
        ({"number": 1.0}, "number is 1.0; use one of 1"),
    ],
)
def test_what_is_no_member_is_told(content: dict[str, object], told: str) -> None:
    with pytest.raises(UndecodableError) as error:
        Decoder().decode(Choices, content)
    assert f"{error.value}; {error.value.remedy}" == told


@dataclass(frozen=True)
class Values:
    """One of each kind of plain value."""

    text: str = ""
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    pair: tuple[int, str] = (0, "")


WANTED = {"text": "a text", "whole": "a whole number", "number": "a number", "flag": "true or false"}
WRITTEN = {
    "true": "true",
    "1979-05-27": "1979-05-27",
    "07:32:00": "07:32:00",
    "1979-05-27T07:32:00Z": "1979-05-27T07:32:00+00:00",
    "[1, false]": "[1, false]",
    "{a = 1979-05-27}": "{a = 1979-05-27}",
}


@pytest.mark.parametrize("field", WANTED)
@pytest.mark.parametrize("toml", WRITTEN)
def test_a_value_of_another_kind_is_told_as_toml_writes_it(field: str, toml: str) -> None:
    if (field, toml) == ("flag", "true"):
        return
    with pytest.raises(UndecodableError) as error:
        Decoder(document="recipe").decode(Values, parse_toml(f"{field} = {toml}"))
    assert f"{error.value}; {error.value.remedy}" == f"{field} is {WRITTEN[toml]}; give {WANTED[field]}"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"text": None}, "text is null; give a text"),
        ({"pair": [True]}, "pair is [true]; give a list of 2"),
        ({"text": 10**5000}, "text is a number of 16,610 bits; give a text"),
        ({"whole": 2**64}, f"whole is {2**64}; give a whole number of at most 64 bits"),
        ({"whole": -(2**63) - 1}, f"whole is {-(2**63) - 1}; give a whole number of at most 64 bits"),
        ({"number": 10**400}, f"number is {10**400}; give a number that a float can hold"),
    ],
)
def test_other_values_are_told_too(content: dict[str, object], told: str) -> None:
    with pytest.raises(UndecodableError) as error:
        Decoder().decode(Values, content)
    assert f"{error.value}; {error.value.remedy}" == told


@pytest.mark.parametrize("whole", [-(2**63), 2**63 - 1, 2**63, 2**64 - 1])
def test_whole_numbers_of_64_bits_are_read(whole: int) -> None:
    assert Decoder().decode(Values, {"whole": whole}) == Values(whole=whole)


def test_a_number_of_too_many_digits_is_no_advice_about_python() -> None:
    for parse in (parse_json, lambda text: parse_toml(f"a = {text}")):
        with pytest.raises(ValueError, match=r"^it holds a number of more digits than can be read$"):
            parse("1" * 5000)
