"""Samples of WebDataset: the files of one key, of which one is a picture and the others say something of it.

https://github.com/webdataset/webdataset#dataset-format: files that follow each other and whose names are the same up to
the first dot of the last part are one sample.

* `.cls`, `.class`: a class by its number or name, one on each line.
* `.json`, `.jsn`: an object. Its first key among `LABEL_KEYS` that is not null has a class or a list of classes; `url`
  is where the picture comes from. Other keys are not read.
* `.txt`, `.text`, `.caption`: a caption, which is no class.
* What else WebDataset decodes, such as `.npy`, is passed over.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES
from mlimages_dataset.sources.confidence_names import states_confidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_Item = TypeVar("_Item")

LABEL_KEYS = ("label", "labels", "class", "classes", "cls", "class_name", "category", "categories", "wnid")
"""Keys of an object, or columns of a table, that have the classes of a picture; the first that is there counts."""
CAPTION_COLUMNS = ("caption", "captions", "text", "txt")
"""Columns of a table that have a caption."""
CLASS_SUFFIXES = (".cls", ".class")
OBJECT_SUFFIXES = (".json", ".jsn")
CAPTION_SUFFIXES = (".txt", ".text", ".caption")
_OTHER_SUFFIXES = (".id", ".index", ".inx", ".count", ".npy", ".npz", ".pyd", ".pickle", ".pth", ".ten", ".mp", ".msg")
BESIDE_SUFFIXES = frozenset((*CLASS_SUFFIXES, *OBJECT_SUFFIXES, *CAPTION_SUFFIXES, *_OTHER_SUFFIXES))
"""Suffixes of files that say something of a picture of the same key."""
HEARD_SUFFIXES = frozenset((*CLASS_SUFFIXES, *OBJECT_SUFFIXES, *CAPTION_SUFFIXES))
MOST_BYTES = 1 << 24
"""A larger file beside a picture is not read."""
MOST_ITEMS = 64
MOST_GROUP_BYTES = 1 << 26
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.[^/]*", re.DOTALL)


def key_of(name: str) -> str:
    """Return the key of a sample's file: its path up to the first dot of the last part; empty if it has none."""
    found = _KEY.fullmatch(name)
    return found[1] if found else ""


def suffix_of(name: str) -> str:
    """Return the last suffix of a file, in lower case, with its dot; empty if it has none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > name.rfind("/") + 1 else ""


def is_picture(name: str) -> bool:
    """Return whether a file has the suffix of a picture."""
    return suffix_of(name) in PICTURE_SUFFIXES


def by_key(
    items: Iterable[_Item], name: Callable[[_Item], str], size: Callable[[_Item], int] = lambda _: 0
) -> Iterator[list[_Item]]:
    """Yield neighbours of one key together; one without a key is alone.

    At most `MOST_ITEMS` or about `MOST_GROUP_BYTES` come together, whatever an archive holds.
    """
    group: list[_Item] = []
    last, held = "", 0
    try:
        for item in items:
            key = key_of(name(item))
            if group and (not key or key != last or len(group) == MOST_ITEMS or held >= MOST_GROUP_BYTES):
                yield group
                group, held = [], 0
            group.append(item)
            last, held = key, held + size(item)
    except Exception:  # what came before the damage is whole
        if group:
            yield group
        raise
    if group:
        yield group


def beside(names: Sequence[str]) -> dict[int, list[int]]:
    """Return which files of one key say something of which picture, by their places in `names`.

    A file `a.b.json` is of the picture `a.b.jpg`; `a.json` is of `a.jpg`, or else of every picture of the key `a`. Each
    picture is a key of the result; a file that says something of none is in no list.
    """
    pictures = [at for at, name in enumerate(names) if is_picture(name)]
    found: dict[int, list[int]] = {at: [] for at in pictures}
    for at, name in enumerate(names):
        suffix = suffix_of(name)
        if suffix not in BESIDE_SUFFIXES:
            continue
        stem = name[: -len(suffix)]
        of = [picture for picture in pictures if _stem(names[picture]) == stem]
        for picture in of or (pictures if stem == key_of(name) else ()):
            found[picture].append(at)
    return found


def _stem(name: str) -> str:
    return name[: -len(suffix_of(name))]


@dataclass(frozen=True, slots=True)
class Stated:
    """What the files beside a picture say.

    Attributes:
        classes: of the picture, each once; None where nothing says a class.
        captions: texts on it.
        address: where it comes from; empty if nothing says so.
        wrong: why a class cannot be read; empty if it can.
    """

    classes: tuple[str, ...] | None = None
    captions: tuple[str, ...] = ()
    address: str = ""
    wrong: str = ""


def stated(files: Mapping[str, bytes]) -> Stated:
    """Return what files say, given by name; a `.cls` counts before a `.json`."""
    by_suffix: dict[str, list[bytes]] = {}
    for name, content in sorted(files.items()):
        by_suffix.setdefault(suffix_of(name), []).append(content)

    def all_of(suffixes: Iterable[str]) -> list[bytes]:
        return [content for suffix in suffixes for content in by_suffix.get(suffix, [])]

    captions = tuple(text for one in all_of(CAPTION_SUFFIXES) if (text := one.decode(errors="replace").strip()))
    try:
        objects = [_object(content) for content in all_of(OBJECT_SUFFIXES)]
        address = next((url for one in objects if isinstance(url := one.get("url"), str)), "")
        address.encode()  # JSON can hold what no UTF-8 can
        of_lines = [_lines(content) for content in all_of(CLASS_SUFFIXES)]
        of_objects = [classes for one in objects if (classes := classes_of(one)) is not None]
    except ValueError as error:
        return Stated((), captions, "", str(error))
    found = of_lines or of_objects
    named = tuple(dict.fromkeys(itertools.chain.from_iterable(found))) if found else None
    return Stated(named, captions, address)


def classes_of(content: Mapping[str, object]) -> list[str] | None:
    """Return the classes in the first of `LABEL_KEYS` that has any; None if none of them is there.

    Raises:
        ValueError: it has something else.
    """
    for key in LABEL_KEYS:
        value = content.get(key)
        if value is not None:
            refuse_unheard(content.items())
            return class_texts(value, key)
    return None


def refuse_unheard(beside: Iterable[tuple[str, object]]) -> None:
    """Raise `ValueError` for a confidence, by its key, beside a class: without it each label would be sure."""
    if key := next((key for key, value in beside if states_confidence(key, value)), ""):
        raise ValueError(f"its {key} is not heard: give such labels as a table, JSON lines or CSV")


def class_texts(value: object, key: str) -> list[str]:
    """Return a class, or a list of classes, as texts; nulls and empty texts are left out.

    Raises:
        ValueError: it is something else.
    """
    texts: list[str] = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, float) and one.is_integer():
            one = int(one)  # noqa: PLW2901 - what tools make of a whole number
        if isinstance(one, bool) or not isinstance(one, str | int | None):
            raise ValueError(f"its {key} is no class or list of classes: {str(one)[:40]!r}")  # noqa: TRY004 - of a file
        if one is not None and (text := str(one).strip()):
            text.encode()  # JSON can hold what no UTF-8 can
            texts.append(text)
    return texts


def _object(content: bytes) -> dict[str, object]:
    try:
        value = parse_json(content)
    except ValueError as error:
        raise ValueError(f"its JSON cannot be read ({str(error)[:60]})") from error
    if not isinstance(value, dict):
        raise ValueError("its JSON is no object")  # noqa: TRY004 - of a file
    return value


def _lines(content: bytes) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("its class is no text") from error
    if "\0" in text:
        raise ValueError("its class is no text")
    return [line.strip() for line in text.splitlines() if line.strip()]
