"""Examples in the help of commands: each stands as written, and its command takes its options."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from tests.docs.pages import DOCS

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE = runpy.run_path(str(DOCS.parent / "scripts" / "build_command_reference.py"))
PAGE, PROGRAMS = REFERENCE["PAGE"], REFERENCE["PROGRAMS"]
CONTINUED = re.compile(r"\\\n\s*")


def contexts() -> Iterator[click.Context]:
    """Yield every command of every program."""
    pending = [click.Context(one, info_name=name, **one.context_settings) for name, one in PROGRAMS]
    while pending:
        context = pending.pop()
        yield context
        command = context.command
        if isinstance(command, click.Group):
            names = command.list_commands(context)
            inner = [(name, command.get_command(context, name)) for name in names]
            pending += [click.Context(one, info_name=name, parent=context) for name, one in inner if one is not None]


CONTEXTS = {one.command_path: one for one in contexts()}


def paragraphs(context: click.Context) -> list[str]:
    return re.split(r"\n\s*\n", inspect.cleandoc(context.command.help or ""))


def example_lines(context: click.Context) -> list[str]:
    """Return the lines of the examples in a command's help."""
    blocks = [one.splitlines()[2:] for one in paragraphs(context) if re.match(r"\x08?\n?\s*Examples?:", one)]
    return [line for block in blocks for line in block]


def examples() -> list[tuple[str, str]]:
    """Return every example, each with the command whose help has it."""
    return [
        (path, one.strip())
        for path, context in CONTEXTS.items()
        for one in CONTINUED.sub(" ", "\n".join(example_lines(context))).splitlines()
    ]


def test_there_are_examples() -> None:
    """Fewer would mean that they are not found."""
    assert len(examples()) > 40
    assert {"mlimages-build start", "mlimages-build cooccurrence"} <= {path for path, _ in examples()}


@pytest.mark.parametrize("path", CONTEXTS)
def test_examples_stand_as_written_in_the_help_and_on_the_page(path: str) -> None:
    lines = example_lines(CONTEXTS[path])
    shown = [line.strip() for line in CONTEXTS[path].command.get_help(CONTEXTS[path]).splitlines()]
    page = [line.strip() for line in PAGE.read_text("utf-8").splitlines()]
    for line in lines:
        assert line.strip() in shown
        assert line.strip() in page
    for one in paragraphs(CONTEXTS[path]):
        if not one.startswith("\b"):  # such a paragraph is wrapped anew
            assert not re.search(r"\\$|^ *(mlimages-build|python -m) ", one, re.MULTILINE), one


def test_the_page_has_no_example_outside_a_block() -> None:
    text = re.sub(r"```.*?```", "", PAGE.read_text("utf-8"), flags=re.DOTALL)
    outside = [
        line for line in text.splitlines() if "\\\\" in line or line.startswith(("mlimages-build ", "python -m"))
    ]
    assert not outside


@pytest.mark.parametrize(("path", "example"), examples())
def test_an_example_is_a_call_that_its_command_takes(path: str, example: str) -> None:
    call = re.sub(r"^torchrun (--\S+ \d+ )*-m ", "python -m ", example.partition(" | ")[2] or example)
    words = shlex.split(call, comments=True)
    program, name = max(
        ((one, one.split()) for one in CONTEXTS if words[: len(one.split())] == one.split()),
        key=lambda found: len(found[1]),
    )
    command, given = CONTEXTS[program].command, words[len(name) :]
    if given[-2:] == ["COMMAND", "--help"]:
        return
    options, _, _ = command.make_parser(click.Context(command, info_name=program)).parse_args(given)
    missing = [one.name for one in command.params if one.required and not options.get(one.name or "")]
    assert not missing, f"{path}: {example}"
