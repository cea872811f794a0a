"""What the arguments of the public functions must be, by their names; data are checked where they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mlimages_dataset.api.frames import is_frame
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.splits import MOST_PER_CATEGORY
from mlimages_dataset.core.arguments import (
    CALLABLE,
    PATH,
    SHARE,
    SWITCH,
    TEXT,
    Kind,
    is_path,
    is_text,
    is_whole,
    mapping_to,
    one_of,
    whole,
)
from mlimages_dataset.core.locations import is_folder_name
from mlimages_dataset.sources.box_orders import BOX_ORDERS
from mlimages_dataset.sources.inputs import is_stream
from mlimages_dataset.vocab.vocabulary import Ancestors

if TYPE_CHECKING:
    from collections.abc import Sequence


def listed_wnids(given: object) -> Sequence[object] | None:
    """Return the elements of a list, tuple, column or array; None if it is another thing."""
    to_list = getattr(given, "to_pylist", None) or getattr(given, "tolist", None) or getattr(given, "to_list", None)
    if isinstance(given, list | tuple):
        return given
    found = to_list() if callable(to_list) and not isinstance(given, type) and not is_frame(given) else None
    return found if isinstance(found, list) else None


def _are_paths(value: object) -> bool:
    return value is None or is_path(value) or (isinstance(value, list | tuple) and all(map(is_path, value)))


def _is_folder_name(value: object) -> bool:
    return is_text(value) and is_folder_name(str(value))


def _are_wnids(value: object) -> bool:
    found = listed_wnids(value)
    return is_path(value) or (found is not None and all(map(is_text, found)))


def _are_columns(value: object) -> bool:
    names = list(value.values()) if isinstance(value, Mapping) else value
    return isinstance(names, list | tuple) and all(map(is_text, names))


def _is_file(value: object) -> bool:
    return is_path(value) or is_stream(value)


_WNIDS = Kind("a path, an open file, or a list of wnids", lambda value: is_stream(value) or _are_wnids(value)).or_none()
_CLASS_FILE = Kind("a path, a URL or an open file", _is_file)
ARGUMENTS: dict[str, Kind] = {
    "imagenet": _WNIDS,
    "finer": _WNIDS,
    "open_images": _CLASS_FILE.or_none(),
    "box_hierarchy": PATH.or_none(),
    "reviewed": PATH.or_none(),
    "wordnet": PATH.or_none(),
    "tencent_dictionary": PATH.or_none(),
    "out": PATH.or_none(),
    "photos": Kind("a path or a list of paths", _are_paths),
    "recipe": PATH.or_none(),
    "classes": mapping_to(
        "a mapping from names to frames or paths, such as {'pets': frame}",
        Kind("a frame, a path or an open file", lambda one: _is_file(one) or is_frame(one)),
    ).or_none(),
    "image_counts": Kind("a path or a list of paths", _are_paths),
    "minimum_images": mapping_to(
        "a mapping from names of class lists to whole numbers, such as {'open-images': 650}", whole(0)
    ).or_none(),
    "ancestors": one_of([one.value for one in Ancestors]).or_none(),
    "attach": SWITCH,
    "narrower": SWITCH,
    "reviewed_only": SWITCH,
    "overwrite": SWITCH,
    "predictions": SWITCH,
    "complete": SWITCH,
    "columns": Kind("a list of names, or a mapping from our names to the files'", _are_columns),
    "separator": TEXT,
    "synsets": PATH.or_none(),
    "box_order": one_of(["", *BOX_ORDERS]),
    "format": Kind("the name of a format, such as 'csv'", is_text),
    "source": Kind("a name that a folder can have on every system", _is_folder_name).or_none(),
    "ids_of": Kind("the name of a class list", is_text).or_none(),
    "min_confidence": SHARE,
    "probability": SHARE,
    "strength": SHARE,
    "precision": SHARE,
    "rule": one_of(["regression", "image"]),
    "hidden": SHARE,
    "validation_images": whole(0),
    "validation_images_per_category": whole(1, MOST_PER_CATEGORY),
    "salt": TEXT,
    "absences": one_of([one.value for one in Absences]),
    "mapper": CALLABLE,
    "progress": CALLABLE,
    "began": CALLABLE,
    "ended": CALLABLE,
}
"""Of the functions; `predictions` of `cooccurrence`, `learn_rules` and `augment` are data."""

IMAGE_NAMES = Kind(
    "several names, such as a list or a column of a frame",
    lambda value: isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) and not is_frame(value),
)
IMAGE_NAME = Kind("text or a whole number", lambda value: is_text(value) or is_whole(value))
