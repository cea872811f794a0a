"""The decoder of all TOML and JSON: from documents that anyone may have edited to frozen dataclasses, and back.

A field may be a plain value, an enumeration, a place, another dataclass, a tuple of these, a mapping by name, or an
array of integers. A field without a default is required; unknown keys are errors that name the nearest known key. A
tuple of (name, value) pairs may be written as a table of name = value.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import difflib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast, get_args, get_origin

import cattrs
import numpy as np
from cattrs.gen import make_dict_structure_fn

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import Location, location, refuse_no_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
else:
    Json = object  # not a recursive type, which the decoder could not inspect

PACKAGED = "packaged:"
"""The beginning of a path that names a file of the package."""
_RECORD = "record"
_KINDS = {str: "a text", int: "a whole number", bool: "true or false", float: "a number"}
_MOST_BITS = 1 << 13
"""About 2,500 digits: Python writes no number of more than 4,300."""
_LEAST_WHOLE, _MOST_WHOLE = -(1 << 63), (1 << 64) - 1
"""What 64 bits hold, with a sign or without: JSON is written faster with such numbers, and seeds may have 64 bits."""
_Value = TypeVar("_Value")


class UndecodableError(ValueError):
    """A document does not fit the dataclass.

    Attributes:
        what: the fault, with the dotted key.
        remedy: what to write instead.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class _Refused(ValueError):  # noqa: N818 - it never leaves this module
    """A value does not fit its field: `what` follows the key in the message, `remedy` has the placeholder {key}."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Decoder:
    """Decodes documents whose paths are relative to one folder.

    Args:
        folder: what relative paths are relative to; None for the current folder.
        packaged: returns the path of a packaged file by its name; None if `packaged:NAME` is not allowed.
        document: what such documents are called in messages, as in "every recipe needs it".
    """

    def __init__(
        self,
        *,
        folder: Location | None = None,
        packaged: Callable[[str], Path] | None = None,
        document: str = _RECORD,
    ) -> None:
        self._folder = folder
        self._packaged = packaged
        self._document = document
        self._converter = converter = cattrs.Converter(forbid_extra_keys=True)
        for kind in (str, int, bool, float):
            converter.register_structure_hook(kind, _plain)
        converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
        converter.register_structure_hook_func(_is_enum, _member)
        converter.register_structure_hook_func(_is_array, _array)
        converter.register_structure_hook_factory(_is_tuple, self._tuple_of)
        converter.register_structure_hook_factory(
            lambda kind: cast("object", get_origin(kind)) in {Mapping, dict}, self._mapping_of
        )
        converter.register_structure_hook_factory(dataclasses.is_dataclass, self._dataclass_of)
        converter.register_structure_hook(Path, lambda value, _: self._file(value))
        converter.register_structure_hook_func(_is_place, self._place_or_none)

    def decode(self, kind: type[_Value], content: object, key: str = "") -> _Value:
        """Return a dataclass made of the content of a document under `key`.

        Raises:
            UndecodableError: a key is unknown or missing, or a value is not of its field's type or refused by the
                dataclass.
        """
        try:
            return self._converter.structure(content, kind)
        except Exception as error:
            raise self._told(error, key) from error

    def _dataclass_of(self, kind: type[Any]) -> Callable[[object, object], object]:
        structure = make_dict_structure_fn(kind, self._converter, _cattrs_forbid_extra_keys=True)

        def decode(content: object, _: object) -> object:
            if not isinstance(content, Mapping):
                raise _Refused(" is not a table", "write [{key}]")
            return structure(content, kind)

        return decode

    def _tuple_of(self, kind: Any) -> Callable[[object, object], object]:
        inner, *rest = get_args(kind)
        if rest != [Ellipsis]:
            return lambda content, _: self._fixed(content, (inner, *rest))
        pair = get_args(inner) if _is_tuple(inner) else ()

        def decode(content: object, _: object) -> object:
            if len(pair) == 2 and pair[0] is str and isinstance(content, Mapping):  # noqa: PLR2004 - a name and a value
                return tuple(self._by_name(content, pair[1]).items())
            if not isinstance(content, (list, tuple)):
                if len(pair) == 2 and self._document != _RECORD:  # noqa: PLR2004 - as above
                    raise _Refused(" is not a table", "write {key} = {{ name = value }}")
                raise _Refused(" is not a list", "write [...], or [[...]] for tables")
            return tuple(self._converter.structure(content, list[inner]))  # type: ignore[valid-type]

        return decode

    def _fixed(self, content: object, kinds: Sequence[Any]) -> tuple[object, ...]:
        if not isinstance(content, (list, tuple)) or len(content) != len(kinds):
            raise _Refused(f" is {as_written(content)}", f"give a list of {len(kinds)}")
        found = []
        for at, (one, kind) in enumerate(zip(content, kinds, strict=True)):
            with _placed(at, kind):
                found.append(self._converter.structure(one, kind))
        return tuple(found)

    def _mapping_of(self, kind: Any) -> Callable[[object, object], object]:
        value_kind = (get_args(kind) or (str, object))[1]

        def decode(content: object, _: object) -> object:
            if not isinstance(content, Mapping):
                raise _Refused(" is not a table", "write {key} = {{ name = value }}")
            return self._by_name(content, value_kind)

        return decode

    def _by_name(self, content: Mapping[Any, object], kind: Any) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in content.items():
            with _placed(str(name), kind):
                found[str(name)] = self._converter.structure(value, kind)
        return found

    def _place_or_none(self, content: object, kind: Any) -> Location | None:
        if content is None and NoneType in get_args(kind):
            return None
        return self._place(content)

    def _place(self, content: object) -> Location:
        text = cast("str", _plain(content, str))
        try:
            refuse_no_path(text)
        except UsageError as error:
            raise _Refused(f" is {as_written(text)}", "give a path, as '.' for the folder itself") from error
        if self._packaged is not None and text.startswith(PACKAGED):
            return self._packaged(text.removeprefix(PACKAGED))
        return location(text) if "://" in text or self._folder is None else self._folder / text

    def _file(self, content: object) -> Path:
        place = self._place(content)
        if not isinstance(place, Path):
            raise _Refused(f" is {content!r}, which is remote", "give a local path")
        return place

    def _told(self, error: BaseException, key: str) -> Exception:
        """Return the first fault of a value under `key` as an exception."""
        if isinstance(error, cattrs.ClassValidationError):
            return self._of_a_dataclass(error, key)
        if isinstance(error, cattrs.IterableValidationError):
            one, place = error.group_exceptions()[0][0]
            return self._told(
                one, _dotted(key, place.index) if isinstance(place.index, str) else f"{key}[{place.index}]"
            )
        if isinstance(error, _Refused):
            return UndecodableError(f"{key}{error.what}", error.remedy.format(key=key))
        if type(error) is ValueError:  # the dataclass refuses a value
            return UndecodableError(_dotted(key, str(error)), "correct it")
        return cast("Exception", error)

    def _of_a_dataclass(self, error: cattrs.ClassValidationError, key: str) -> Exception:
        """Return the first fault of a table: unknown keys come first, then missing ones, then values."""
        of_values, of_table = error.group_exceptions()
        unknown = [one for one in of_table if isinstance(one, cattrs.ForbiddenExtraKeysError)]
        if unknown:
            return self._unknown(key, unknown[0])
        missing = [note.name for one, note in of_values if isinstance(one, KeyError)]
        if missing:
            return UndecodableError(f"no {_dotted(key, missing[0])}", f"every {self._document} needs it")
        if of_values:
            one, note = of_values[0]
            return self._told(one, _dotted(key, note.name))
        return self._told(of_table[0], key)

    @staticmethod
    def _unknown(key: str, error: cattrs.ForbiddenExtraKeysError) -> UndecodableError:
        fields = [field.name for field in dataclasses.fields(cast("Any", error.cl))]
        name = min(error.extra_fields)
        nearest = difflib.get_close_matches(name, fields, 1)
        remedy = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(fields)}"
        return UndecodableError(f"unknown key {_dotted(key, name)}", remedy)


@contextlib.contextmanager
def _placed(place: int | str, kind: Any) -> Iterator[None]:
    """Add to an error the item of a collection in which it occurred, as cattrs does for its own errors."""
    try:
        yield
    except Exception as error:
        error.add_note(cattrs.IterableValidationNote("", place, kind))
        raise cattrs.IterableValidationError("", [error], list) from error


def _plain(value: object, kind: type) -> object:
    if issubclass(kind, Enum):  # cattrs takes a StrEnum for a text
        return _member(value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise _Refused(f" is {as_written(value)}", "give a number that a float can hold") from error
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _Refused(f" is {as_written(value)}", f"give {_KINDS[kind]}")
    if kind is int and not _LEAST_WHOLE <= cast("int", value) <= _MOST_WHOLE:
        raise _Refused(f" is {as_written(value)}", "give a whole number of at most 64 bits")
    return value


def as_written(value: object) -> str:
    """Return a value of a document as TOML and JSON write it, a text in single quotes.

    A number too long to be read in decimals is told by its size.

    >>> as_written(True), as_written({"a": [1, "b"]}), as_written(dt.date(1979, 5, 27))
    ('true', "{a = [1, 'b']}", '1979-05-27')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a number of {value.bit_length():,} bits"
    if isinstance(value, (dt.date, dt.time)):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} = {as_written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_written, value))}]"
    return repr(value)


def _is_enum(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _member(value: object, kind: type[Enum]) -> Enum:
    choices = [member.value for member in kind]
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise _Refused(f" is {as_written(value)}", f"use one of {', '.join(map(str, choices))}")
    return kind(value)


def _is_array(kind: object) -> bool:
    return get_origin(kind) is np.ndarray


def _array(value: object, _: object) -> object:
    """Return a list of integers as an array, int64, shape (length,)."""
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise _Refused(" is not a list of integers", "give one")
    try:
        return np.array(value, np.int64)
    except OverflowError as error:
        raise _Refused(" holds a number that int64 cannot", "give a list of integers") from error


def _is_tuple(kind: object) -> bool:
    return get_origin(kind) is tuple


def _is_place(kind: object) -> bool:
    return bool(get_args(kind)) and {*get_args(kind)} - {NoneType} == {*get_args(Location)}


def _dotted(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


RECORDS = Decoder()
"""Decodes JSON that this package wrote."""


def encode(value: object) -> Json:
    """Return a dataclass, or a value of one of its fields, as JSON; `Decoder.decode` reverses it."""
    encoded: Json = _ENCODER.unstructure(value)
    return encoded


def _encoder() -> cattrs.Converter:
    converter = cattrs.Converter()
    for kind in (str, int):  # as which cattrs takes a StrEnum and an IntEnum
        converter.register_unstructure_hook(kind, lambda one: one.value if isinstance(one, Enum) else one)
    converter.register_unstructure_hook(np.ndarray, lambda array: array.tolist())
    converter.register_unstructure_hook_func(_is_array, lambda array: array.tolist())
    converter.register_unstructure_hook_func(_is_place, str)
    converter.register_unstructure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, Path), str)
    return converter


_ENCODER = _encoder()
