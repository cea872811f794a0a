"""Paths as options and arguments of commands."""

from __future__ import annotations

from pathlib import Path

import click

from mlimages_dataset.core.locations import is_url, location, refuse_no_path


class LocalPath(click.Path):
    """A path of this machine, also as `file://`; other URLs and empty texts are refused."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """See `click.ParamType.convert`."""
        if isinstance(value, str):
            refuse_no_path(value, _called(param))
            if is_url(value):
                self.fail(f"{value!r} is a URL; name a path of this machine, a copy if need be", param, ctx)
            value = location(value) if "://" in value else value
        return Path(super().convert(value, param, ctx))  # type: ignore[arg-type]  # as click gives it


def _called(param: click.Parameter | None) -> str:
    """Return what a parameter is called where people write it."""
    if param is None:
        return "a path"
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name
