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
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
_SECTION = re.compile(r"^(Args|Attributes|Raises|Source):(.*)$")
_ENTRY = re.compile(r"^    (?P<name>[\w, ]+): (?P<text>.*)$")
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
        text = re.sub(r"<(?:built-in )?function (\S+?)(?: at \w+)?>", r"\1", str(inspect.signature(function)))
        yield f"```python\n{name}{text.replace(chr(39), '')}\n```\n"
    if isinstance(value, property):
        function = value.fget
    elif isinstance(value, cached_property):
        function = value.func
    yield from _markdown(inspect.getdoc(function) or "")


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
    yield from (
        line for part in re.split(r"\n\s*\n", doc) if part.startswith("Attributes:") for line in _markdown(part)
    )


def _entries(text: str) -> Iterator[str]:
    for line in textwrap.indent(textwrap.dedent(text), "    ").split("\n"):
        entry = _ENTRY.match(line)
        yield f"* `{entry['name']}`: {entry['text']}" if entry else "  " + line.strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
