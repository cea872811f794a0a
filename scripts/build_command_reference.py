"""Write docs/commands.md, the reference of all commands and their options, from their help texts."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click
from mlimages_dataset.cli.main import main as build  # type: ignore[import-not-found]  # setup.cfg maps cli to it

from mlimages_dataset.loaders.__main__ import main as loaders
from mlimages_dataset.train.__main__ import main as train

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
PROGRAMS = (
    ("mlimages-build", build),
    ("python -m mlimages_dataset.train", train),
    ("python -m mlimages_dataset.loaders", loaders),
)
_HEAD = """# Commands

Each command describes itself under `--help`; this page is made from these texts (`python
scripts/build_command_reference.py`). What `--json` prints, and exit codes: [output for programs](json.md).
"""


def page() -> str:
    """Return the reference as Markdown."""
    # With its own settings: click keeps the first help option that it makes, for this process's other callers too.
    programs = [click.Context(one, info_name=name, **one.context_settings) for name, one in PROGRAMS]
    parts = [line for context in programs for line in _entry(context.command, context, 2)]
    return "\n".join([_HEAD, *parts]).rstrip() + "\n"


def _entry(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    """Yield the lines about a command, and about those that it is a group of."""
    yield f"{'#' * level} {context.command_path}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    yield from _described(command.help or "")
    yield from _options(command, context)
    if isinstance(command, click.Group):
        inner = [click.Context(one, info_name=name, parent=context) for name, one in _commands(command, context)]
        yield "| command | |\n|---|---|"
        for each in inner:
            yield f"| [`{each.info_name}`](#{_anchor(each)}) | {_escaped(each.command.get_short_help_str(200))} |"
        yield ""
        for each in inner:
            yield from _entry(each.command, each, min(level + 1, 4))


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group by name, in the order of its help."""
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield name, found


def _anchor(context: click.Context) -> str:
    """Return the anchor that MkDocs gives to a command's heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", context.command_path).lower())


def _described(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; examples as they stand in a block."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if not paragraph.startswith("\b"):
            yield _escaped(" ".join(paragraph.split())) + "\n"
            continue
        title, *examples = paragraph.removeprefix("\b\n").split("\n")
        block = textwrap.dedent("\n".join(examples)) or title
        yield (f"{title}\n\n" if examples else "") + f"```text\n{block}\n```\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the table of a command's options."""
    records = [one.get_help_record(context) for one in command.params]
    rows = [(name, text) for record in records if record for name, text in [record] if text]
    if rows:
        yield "| option | meaning |\n|---|---|"
        for name, text in rows:
            yield f"| `{name.replace('|', chr(92) + '|')}` | {_escaped(text).replace('|', chr(92) + '|')} |"
        yield ""


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is: what looks like a tag, a link or emphasis stays as written."""
    return re.sub(r"([\\<*_\[\]`])", r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
