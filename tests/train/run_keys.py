"""The tables of docs/training.md that list every key of a run file, made from the dataclasses that read it.

`python -m tests.train.run_keys` writes them anew.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from mlimages_dataset.core.locations import Location
from mlimages_dataset.train.config import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"
BEGIN, END = "<!-- keys of a run file -->", "<!-- end of the keys -->"
_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def tables() -> str:
    """Return every table, each under the line that begins its section in a run file."""
    hints = get_type_hints(Run)
    parts = [_table("At the top", Run, [field for field in dataclasses.fields(Run) if not _section(hints[field.name])])]
    for field in dataclasses.fields(Run):
        kind = _section(hints[field.name])
        if kind is not None:
            head = f"`[[{field.name}]]`" if get_origin(hints[field.name]) is tuple else f"`[{field.name}]`"
            parts.append(_table(head, kind, list(dataclasses.fields(kind))))
    return "\n\n".join(parts)


def written(document: str) -> str:
    """Return a document with the tables between its two marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _section(hint: Any) -> type | None:
    """Return the dataclass of a section; None for a plain key."""
    inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
    return inner if dataclasses.is_dataclass(inner) and isinstance(inner, type) else None


def _table(head: str, kind: type, fields: list[dataclasses.Field[Any]]) -> str:
    hints, said = get_type_hints(kind), dict(_attributes(inspect.getdoc(kind) or ""))
    title = (inspect.getdoc(kind) or "").partition("\n")[0]
    cells = (
        (f"`{field.name}`", _type(hints[field.name]), _default(field), _meaning(hints[field.name], said[field.name]))
        for field in fields
    )
    rows = [f"| {' | '.join(cell)} |" for cell in cells]
    return "\n".join([f"{head}: {title}", "", "| key | type | default | meaning |", "|---|---|---|---|", *rows])


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield each name under `Attributes:` and what is said of it, on one line."""
    section = docstring.partition("Attributes:\n")[2].partition("\n\n")[0]
    for entry in re.split(r"\n(?=    \w)", section):
        name, _, said = entry.strip().partition(": ")
        yield name, " ".join(said.split())


def _type(hint: Any) -> str:
    if set(get_args(Location)) <= set(get_args(hint)):
        return "place"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in hint)
    if get_origin(hint) is tuple:
        (inner, *_) = get_args(hint)
        return "table of numbers by name" if get_origin(inner) is tuple else f"list of {_PLAIN[inner]}s"
    return _PLAIN[hint]


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value == () else f"`{value}`"


def _meaning(hint: Any, said: str) -> str:
    told = said[:1].upper() + said[1:]
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


def main() -> None:
    """Write the tables into the document."""
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
