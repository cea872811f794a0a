"""Write docs/api.md, the reference of the public names, from their docstrings."""

from __future__ import annotations

import enum
import inspect
import re
import textwrap
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import mlimages_dataset as ml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
_SECTION = re.compile(r"^(Args|Attributes|Raises|Source):(.*)$")
_ENTRY = re.compile(r"^    (?P<name>[\w, ]+): (?P<text>.*)$")
_WIDTH = 100
_HEAD = """# Python API

Each name is `mlimages_dataset.NAME`; this page is made from the docstrings (`python scripts/build_api_reference.py`).
Frames are pandas', or anything with Arrow's stream interface. A `PathLike` is a path or a URL that fsspec opens.
"""


def page() -> str:
    """Return the reference as Markdown."""
    return "\n".join([_HEAD, *(line for name in sorted(ml.__all__) for line in _entry(name))]).rstrip() + "\n"


def _entry(name: str) -> Iterator[str]:
    value = getattr(ml, name)
    function = inspect.getattr_static(value, "__call__", None) if inspect.ismodule(value) else None
    if function is not None:  # a package that is also the function of that name
        value = __import__("mlimages_dataset.api.labels", fromlist=[name]).augment
    yield f"## {name}\n"
    yield from _described(name, value)
    if inspect.isclass(value):
        for base in value.__mro__[1:]:
            if base.__module__.startswith("mlimages_dataset"):
                yield from _attributes(inspect.getdoc(base) or "")
    if inspect.isclass(value) and not issubclass(value, (enum.Enum, Exception)):
        for member, one in _members(value):
            yield f"### {name}.{member}\n"
            yield from _described(member, one)


def _members(kind: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties of a class, those of its own bases included, in their order."""
    seen = set()
    for base in kind.__mro__:
        if base.__module__.startswith("mlimages_dataset"):
            for name, value in vars(base).items():
                shown = isinstance(value, (property, cached_property, classmethod)) or inspect.isfunction(value)
                if shown and not name.startswith("_") and name not in seen:
                    seen.add(name)
                    yield name, value


def _described(name: str, value: object) -> Iterator[str]:
    function = value.__func__ if isinstance(value, classmethod) else value
    if inspect.isfunction(function):
        yield f"```python\n{_signature(name, function)}\n```\n"
    if isinstance(value, property):
        function = value.fget
    elif isinstance(value, cached_property):
        function = value.func
    yield from _markdown(inspect.getdoc(function) or "")


def _signature(name: str, function: Callable[..., object]) -> str:
    """Return a function's signature as it is written, one line a parameter where it is long."""
    told = inspect.signature(function)
    parameters, keywords = [], False
    for one in told.parameters.values():
        if one.name in {"self", "cls"}:
            continue
        if one.kind is one.KEYWORD_ONLY and not keywords:
            parameters.append("*")
            keywords = True
        default = one.default if one.default is not one.empty else None
        shown = getattr(default, "__name__", None) if callable(default) else repr(default)
        kind = str(one.annotation).strip("'\"")
        parameters.append(f"{one.name}: {kind}" + ("" if one.default is one.empty else f" = {shown}"))
    result = f" -> {str(told.return_annotation).strip(chr(39))}"
    line = f"{name}({', '.join(parameters)}){result}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {one}," for one in parameters), f"){result}"])


def _markdown(doc: str) -> Iterator[str]:
    """Yield a docstring's paragraphs, with lists for its sections and a block for its example."""
    for paragraph in re.split(r"\n\s*\n", doc):
        first, _, rest = paragraph.partition("\n")
        if paragraph.startswith(">>>"):
            yield f"```pycon\n{paragraph}\n\n```\n"
        elif section := _SECTION.match(first):
            yield f"**{section[1]}**{':' + section[2] if section[2] else ''}\n"
            if rest:
                yield "\n".join(_entries(rest)) + "\n"
        else:
            yield paragraph + "\n"


def _attributes(doc: str) -> Iterator[str]:
    """Yield the attributes that the docstring of a base class tells of."""
    for paragraph in re.split(r"\n\s*\n", doc):
        if paragraph.startswith("Attributes:"):
            yield from _markdown(paragraph)


def _entries(text: str) -> Iterator[str]:
    for line in textwrap.indent(textwrap.dedent(text), "    ").split("\n"):
        entry = _ENTRY.match(line)
        yield f"* `{entry['name']}`: {entry['text']}" if entry else "  " + line.strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
