"""Errors and warnings in the words of this API: frames and arguments by their names, warnings at the caller's line."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import MLImagesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlimages_dataset.core.locations import Location

_WITHIN = (str(Path(__file__).parents[1]), str(contextlib.__file__))
"""Where the files of this package begin, and what stands between two of its frames."""
_SWITCHES = {name: f"{name}=True" for name in ("overwrite", "attach", "narrower", "predictions")}
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)*)(?: (all|listed|csv)\b)?")
_FUNCTIONS = {"vocab": "build_vocabulary", "annotate": "annotate", "start": "start"}
_OF_COMMAND = re.compile(r"(--[a-z-]+(?: [a-z]+| '.')?) of (vocab|annotate|start)\b")
_COLUMNS = re.compile(r"--columns (\w+=\w+(?:,\w+=\w+)*)")


def warn(text: str) -> None:
    """Warn with a text, in the words of Python, at the line of the caller of this package."""
    level, frame = 2, sys._getframe(1)  # noqa: SLF001 - `skip_file_prefixes` needs Python 3.12
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_WITHIN):
        level, frame = level + 1, frame.f_back
    warnings.warn(in_python(text), stacklevel=level)


def in_python(text: str) -> str:
    """Return a text in which the command's options are arguments.

    >>> in_python("pass --overwrite, lower --min-confidence, or try --ancestors all")
    'pass overwrite=True, lower min_confidence, or try ancestors="all"'
    >>> in_python("with --narrower of vocab, or narrower = true in a recipe")
    'with narrower=True of build_vocabulary, or narrower = true in a recipe'
    >>> in_python("--columns image_id=path,label=class")
    "columns={'image_id': 'path', 'label': 'class'}"
    """

    def argument(option: re.Match[str]) -> str:
        name = option[1].replace("-", "_")
        return f'{name}="{option[2]}"' if option[2] else _SWITCHES.get(name, name)

    def columns(option: re.Match[str]) -> str:
        return f"columns={dict(pair.split('=') for pair in option[1].split(','))}"

    told = _COLUMNS.sub(columns, _OF_COMMAND.sub(lambda said: f"{said[1]} of {_FUNCTIONS[said[2]]}", text))
    return _OPTION.sub(argument, told)


@contextlib.contextmanager
def told_as(names: Mapping[Location, str]) -> Iterator[None]:
    """Tell errors of the block in the words of Python, the temporary files of frames by the names given for them."""
    try:
        yield
    except MLImagesError as error:
        command = error.in_command_words or error  # a block within may have told it already
        of_command = _named(command, command.what, command.remedy, names)
        told = _named(error, in_python(error.what), in_python(error.remedy), names)
        if (told.what, told.remedy, told.where) == (error.what, error.remedy, error.where):
            raise
        told.in_command_words = of_command
        raise told from error


def _named(error: MLImagesError, what: str, remedy: str, names: Mapping[Location, str]) -> MLImagesError:
    """Return an error in other words, with other names of its files."""
    where = error.where
    for path, name in names.items():
        what, remedy = what.replace(str(path), name), remedy.replace(str(path), name)
        where = name if where is not None and where.startswith(str(path)) else where
    return type(error)(what, where=where, line=error.line if where == error.where else None, remedy=remedy)
