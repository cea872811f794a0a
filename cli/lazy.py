"""Groups of commands that are each loaded only when called: `--help` must not wait for pyarrow."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping


class Listed(NamedTuple):
    """A command in the list of a group: its module, which holds a command of the same name, and its line of help."""

    module: str
    summary: str


class LazyGroup(click.Group):
    """A group that imports a command when it is called.

    Args:
        listed: the commands by name, in the order of the help.
        settings: click's own.
    """

    def __init__(self, *, listed: Mapping[str, Listed], **settings: Any) -> None:
        super().__init__(**settings)
        self._listed = listed

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(self._listed)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Return a command from its module, None if no command has that name."""
        if cmd_name not in self._listed:
            return None
        name = self._listed[cmd_name].module
        command = getattr(importlib.import_module(f".{name}", __package__), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that arguments name; `help COMMAND` is `COMMAND --help`.

        Raises:
            UsageError: no command has that name; those of similar names are named.
        """
        if args[0] == "help" and "help" not in self._listed:
            if not args[1:]:
                click.echo(ctx.get_help())
                ctx.exit()
            args = [*args[1:], "--help"]
        if args[0] not in self._listed and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._listed, n=3)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the list of commands from their lines of help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.summary) for name, listed in self._listed.items()])
