"""Keeping libtiff's messages away: it writes what it finds in damaged pictures to the standard error stream itself.

Pillow gives no way to replace its handlers (http://www.libtiff.org/functions/TIFFError.html), and what is wrong with a
picture is in its row.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDERR = 2
_lock = threading.Lock()


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - a fork may have copied it while another thread held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Let nothing be written to the standard error stream within the block; one thread at a time."""
    with _lock, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # the stream is closed: there is nothing to keep away
            before = os.dup(_STDERR)
            stack.callback(os.close, before)
            stack.callback(os.dup2, before, _STDERR)
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - no path
                os.dup2(nowhere.fileno(), _STDERR)
        yield
