"""Write the tables of every key of run files (docs/training.md) and recipes (docs/recipes.md).

They are made from the dataclasses that read these files: python scripts/build_key_reference.py
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from mlimages_dataset.core.locations import Location
from mlimages_dataset.recipes.recipe import Recipe
from mlimages_dataset.train.config import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES: dict[str, tuple[type, str]] = {"training.md": (Run, "a run file"), "recipes.md": (Recipe, "a recipe")}
"""The dataclass whose keys a page lists, and what it calls the file."""
END = "<!-- end of the keys -->"
_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def page(name: str) -> str:
    """Return a page as it should be: its text, with new tables between its two marks."""
    kind, file = PAGES[name]
    mark = f"<!-- keys of {file} -->"
    before, _, rest = (DOCS / name).read_text(encoding="utf-8").partition(mark)
    _, _, after = rest.partition(END)
    return f"{before}{mark}\n\n{tables(kind)}\n\n{END}{after}"


def tables(document: type) -> str:
    """Return every table, each under the line that begins its section in a file."""
    hints, fields = get_type_hints(document), dataclasses.fields(document)
    plain = [field for field in fields if not _section(hints[field.name])]
    parts = [_table("At the top", document, plain)] if plain else []
    for field in fields:
        kind = _section(hints[field.name])
        if kind is not None:
            head = f"`[[{field.name}]]`" if get_origin(hints[field.name]) is tuple else f"`[{field.name}]`"
            parts.append(_table(head, kind, list(dataclasses.fields(kind))))
    return "\n\n".join(parts)


def _section(hint: Any) -> type | None:
    """Return the dataclass of a section; None for a plain key."""
    inner = _given(hint)
    inner = get_args(inner)[0] if get_origin(inner) is tuple else inner
    return inner if dataclasses.is_dataclass(inner) and isinstance(inner, type) else None


def _given(hint: Any) -> Any:
    """Return the type of a value that is given: `X | None` without None."""
    kinds = [one for one in get_args(hint) if one is not NoneType]
    return kinds[0] if NoneType in get_args(hint) and len(kinds) == 1 else hint


def _table(head: str, kind: type, fields: list[dataclasses.Field[Any]]) -> str:
    hints, said = get_type_hints(kind), dict(_attributes(kind))
    title = (inspect.getdoc(kind) or "").partition("\n")[0]
    cells = (
        (f"`{field.name}`", _type(hints[field.name]), _default(field), _meaning(hints[field.name], said[field.name]))
        for field in fields
    )
    rows = [f"| {' | '.join(cell)} |" for cell in cells]
    return "\n".join([f"{head}: {title}", "", "| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _attributes(kind: type) -> Iterator[tuple[str, str]]:
    """Yield each name under `Attributes:` of a class and its bases, and what is said of it, on one line."""
    for base in kind.__mro__[:-1]:
        section = (inspect.getdoc(base) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
        for entry in re.split(r"\n(?=    \w)", section):
            name, _, said = entry.strip().partition(": ")
            yield name, " ".join(said.split()).replace("``", "`")


def _type(hint: Any) -> str:
    hint = _given(hint)
    if hint is Path or set(get_args(Location)) <= {hint, *get_args(hint)}:
        return "place"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    if get_origin(hint) is tuple:
        (inner, *_) = get_args(hint)
        pair = get_args(inner) if get_origin(inner) is tuple else ()
        return f"table of {_type(pair[1])}s by name" if pair else f"list of {_type(inner)}s"
    return _PLAIN[hint]


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return "required"
    if value is None or value in ((), ""):
        return "none"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, tuple) and not isinstance(value[0], tuple):
        return f"`{list(value)}`"
    if isinstance(value, tuple):
        return f"`{{ {', '.join(f'{name} = {one}' for name, one in value)} }}`"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _meaning(hint: Any, said: str) -> str:
    told = said[:1].upper() + said[1:]
    hint = _given(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        told = " ".join([told, *(f"`{value}`: {meaning}" for value, meaning in _members(hint))])
    return told.replace("|", "\\|")


def _members(kind: type[enum.Enum]) -> Iterator[tuple[str, str]]:
    """Yield the value of each member below which a text stands, and this text."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for member, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            (target,) = member.targets
            assert isinstance(target, ast.Name)
            yield kind[target.id].value, " ".join(str(text.value.value).split())


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name), encoding="utf-8")
