"""What an entry of a file states beside its box, read by one rule for all formats: a name, a confidence, a flag.

JSON, XML and Parquet may hold anything under a key. What is no name, no confidence or no flag is told, and never
guessed: a confidence under a key that others use would make its label sure, if the key were not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.decimals import nearest_float
from mlimages_dataset.sources.confidence_names import is_like_confidence
from mlimages_dataset.sources.rejects import REJECT_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JUDGING_FLAGS = ("is_crowd", "iscrowd", "crowd", "ignore", "isfake", "difficult")
"""Keys of flags that say how a box is to be judged, or that it is no box of a real object."""
_OWN_KEYS = frozenset({"score", "confidence"})
_MOST_EXACT = 2.0**53
"""Beyond, a float may stand for several whole numbers."""
_YES = frozenset({"1", "1.0", "true", "yes", "y"})
_NO = frozenset({"", "0", "0.0", "-1", "false", "no", "n", "unspecified", "unknown", "nan"})
"""Texts of a flag that holds, and of one that does not or is not known."""


def name_of(value: object) -> str:
    """Return a text, or a whole number as text; empty for a value that names nothing.

    >>> [name_of(one) for one in ("dog", 7, 7.0, 7.5, True, None, ["dog"])]
    ['dog', '7', '7', '', '', '', '']
    """
    value = as_whole(value)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def as_whole(value: object) -> object:
    """Return a float that stands for one whole number as that, any other value as it is; some tools write 1 as 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _MOST_EXACT else value


def with_attributes(entry: Mapping[str, object]) -> Mapping[str, object]:
    """Return what an entry states, also under `attributes`, as CVAT and others write it; its own keys count first.

    >>> with_attributes({"id": 1, "attributes": {"id": 2, "occluded": True}})
    {'id': 1, 'occluded': True}
    """
    attributes = entry.get("attributes")
    own = {key: value for key, value in entry.items() if key != "attributes"}
    return {**attributes, **own} if isinstance(attributes, dict) else entry


def confidence_of(entry: Mapping[str, object]) -> float | str:
    """Return the confidence that an entry states as `score` or `confidence`, or why it cannot be used; 1 without one.

    >>> confidence_of({"score": 0.5, "id": 7}), confidence_of({"confidence": "0.5"}), confidence_of({"score": None})
    (0.5, 0.5, 1.0)
    >>> confidence_of({"prob": 0.5})
    "its 'prob' may be a confidence: call it score, or something else"
    """
    found = 1.0
    stated = [key for key in filter(is_like_confidence, entry) if entry[key] is not None]
    for number, key in enumerate(stated):
        if key.strip().lower() not in _OWN_KEYS:
            return f"its {key!r} may be a confidence: call it score, or something else"
        confidence = _number(entry[key])
        if not 0 <= confidence <= 1:
            return f"its {key} is {_shown(entry[key])}, no number in 0..1"
        if number and confidence != found:
            return f"its {stated[0]} and its {key} differ"
        found = confidence
    return found


def _number(value: object) -> float:
    if isinstance(value, str):
        return nearest_float(value)
    return float(value) if isinstance(value, float) or (value in (0, 1) and not isinstance(value, bool)) else -1.0


def flag_of(value: object) -> bool | None:
    """Return whether a flag holds, False also where nobody says so; None for a value that is no flag.

    >>> [flag_of(one) for one in (1, True, "Yes", 0, None, "Unknown", "NaN", "maybe", 2, [1])]
    [True, True, True, False, False, False, False, None, None, None]
    """
    if value is None or value in (0, 1):  # nearly all: True is 1
        return value == 1
    if isinstance(value, int | float):
        text = f"{value:g}"
    elif isinstance(value, str):
        text = value.strip().lower()
    else:
        return None
    return True if text in _YES else False if text in _NO else None


def fault_of_flags(entry: Mapping[str, object], keys: Iterable[str]) -> str:
    """Return why one of an entry's flags that say how its box is to be judged cannot be read; empty if all can.

    Other flags count as not stated where they are none: KITTI has shares as `truncated` and levels as `occluded`.

    >>> fault_of_flags({"truncated": 0.34, "occluded": 2}, JUDGING_FLAGS), fault_of_flags({"crowd": 2}, JUDGING_FLAGS)
    ('', 'its crowd is 2, neither 0 nor 1')
    """
    faults = (fault_of_flag(key, entry[key]) for key in keys if key in entry)
    return next(filter(None, faults), "")


def fault_of_flag(key: str, value: object) -> str:
    """Return why a flag that says how a box is to be judged cannot be read; empty if it can."""
    return "" if flag_of(value) is not None else f"its {key} is {_shown(value)}, neither 0 nor 1"


def _shown(value: object) -> str:
    return repr(value)[:REJECT_CHARACTERS]
