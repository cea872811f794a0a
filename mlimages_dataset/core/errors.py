"""Exceptions that say what is wrong, where, and what to do about it."""

from __future__ import annotations

import functools

_MOST_SIGNS = 800


class MLImagesError(Exception):
    """A condition the caller can act on.

    The message is one sentence in three parts: where it happened (a file, optionally with a line), what is wrong
    there, and what to do about it.
    """

    def __init__(self, what: str, *, where: object = None, line: int | None = None, remedy: str = "") -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.line = line
        self.remedy = remedy
        self.in_command_words: MLImagesError | None = None
        """The same, where this is told in the words of Python."""
        super().__init__(what, where, line, remedy)

    def __reduce__(self) -> tuple[functools.partial[MLImagesError], tuple[()]]:
        # Exceptions are pickled by their positional arguments only, so one raised in a worker process could not be
        # unpickled.
        return functools.partial(type(self), self.what, where=self.where, line=self.line, remedy=self.remedy), ()

    def __str__(self) -> str:
        place = "" if self.where is None else self.where + ("" if self.line is None else f", line {self.line}") + ": "
        return place + _shortened(self.what) + (f"; {_shortened(self.remedy)}" if self.remedy else "")


def _shortened(text: str) -> str:
    """Return a text without its middle if it is long: a message quotes values, which a stranger may have written."""
    return text if len(text) <= _MOST_SIGNS else f"{text[: _MOST_SIGNS // 2]} ... {text[-_MOST_SIGNS // 4 :]}"


class DataError(MLImagesError):
    """A file or table does not hold what its format promises."""


class SchemaError(DataError):
    """A table has another schema, or another version of it, than the reader understands."""


class UsageError(MLImagesError):
    """A request that cannot be carried out: a missing file, conflicting options, a folder with other content."""


class ConfigError(UsageError):
    """A recipe or another configuration file is not valid."""


class VocabularyError(MLImagesError):
    """A vocabulary or its hierarchy violates a rule that everything downstream relies on."""


class DownloadError(MLImagesError):
    """A published file could not be downloaded, or differs from the recorded one."""
