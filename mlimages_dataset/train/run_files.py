"""Run files: read from TOML, given by path or as packaged recipes.

The package contains run files with the papers' settings, which are named `packaged:NAME`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from mlimages_dataset.core.config import read_config
from mlimages_dataset.core.decoding import PACKAGED
from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.core.locations import location
from mlimages_dataset.samples import on_disk
from mlimages_dataset.train.config import Run

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location

_RECIPES = "recipes"
_RENAMED = {"mlimages-finetune-imagenet.toml": "imagenet-4.toml"}
"""Earlier names of packaged recipes, which still work."""


def read_run(path: Location) -> Run:
    """Return the run that a TOML file describes.

    Raises:
        ConfigError: there is no such file, it is not TOML, or a key or value is not one of a run.
    """
    return read_config(Run, path, document="run file")


def run_file(text: str) -> Location:
    """Return the location of a run file: a path, a URL, or `packaged:NAME`.

    Raises:
        ConfigError: the package has no recipe of that name.
    """
    if not text.startswith(PACKAGED):
        return location(text)
    named = text.removeprefix(PACKAGED)
    name = _RENAMED.get(named, named)
    if name not in packaged_recipes():
        raise ConfigError(f"there is no packaged recipe {name!r}", remedy=f"use one of {', '.join(packaged_recipes())}")
    return on_disk(files(__package__) / _RECIPES / name)


def packaged_recipes() -> tuple[str, ...]:
    """Return the names of the packaged recipes."""
    return tuple(sorted(entry.name for entry in (files(__package__) / _RECIPES).iterdir()))
