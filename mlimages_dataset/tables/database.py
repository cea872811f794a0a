"""DuckDB: connections whose queries an interrupt ends at once, and its errors as errors of ours."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

_SECONDS, _TRIES = 0.05, 100
"""Between two tries to interrupt a query, and how many: one that just begins does not see the first."""


@contextlib.contextmanager
def database(where: object = None, **settings: str | int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to a database in memory, as `connected` does, with the errors of `duckdb_errors`."""
    with duckdb_errors(where), connected(**settings) as connection:
        yield connection


@contextlib.contextmanager
def connected(path: str = ":memory:", /, **settings: str | int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that draws no progress bar, and whose query an interrupt (SIGINT) ends.

    Args:
        path: the file of the database.
        settings: DuckDB's own, such as `memory_limit`, `threads` and `temp_directory`.

    Raises:
        duckdb.Error: DuckDB's own errors.
        KeyboardInterrupt: a query was interrupted.
    """
    import duckdb  # noqa: PLC0415 - it takes 0.1 s, and commands that only import this module need none

    with duckdb.connect(path, config=dict(settings)) as connection, _WATCH.over(connection):
        _hide_progress(connection)
        try:
            yield connection
        except duckdb.InterruptException as error:
            raise KeyboardInterrupt from error
        except RuntimeError as error:
            if str(error) != "Query interrupted":  # what its Python client raises where it sees the signal itself
                raise
            raise KeyboardInterrupt from error


def _hide_progress(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection draw no progress bar; in a notebook without ipywidgets, DuckDB refuses to be told so."""
    if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() != [(False,)]:
        connection.execute("SET enable_progress_bar = false")


@contextlib.contextmanager
def duckdb_errors(where: object = None) -> Iterator[None]:
    """Turn DuckDB's errors into errors of ours; its input is in memory, so its files are intermediate results.

    Args:
        where: the input, for messages.

    Raises:
        DataError: an input cannot be read to its end.
        UsageError: there is no room for intermediate results.
    """
    import duckdb  # noqa: PLC0415 - as in `connected`

    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise UsageError(
            f"there is no room for intermediate results ({reason(error)})", remedy="free memory or disk space"
        ) from error
    except duckdb.Error as error:
        raise DataError(
            f"{'an input ' if where is None else ''}cannot be read to its end ({reason(error)})",
            where=where,
            remedy="obtain that file again",
        ) from error


class _Watch:
    """Interrupts the queries of open connections where a signal says so.

    While a query runs, Python's own handler does not, and DuckDB asks for signals between two pieces of its work only,
    and not at all in some threads. So a thread hears of the signal through a socket, and interrupts the connections
    that are open then, until they are closed.
    """

    def __init__(self) -> None:
        self._open: set[duckdb.DuckDBPyConnection] = set()
        self._told: socket.socket | None = None

    @contextlib.contextmanager
    def over(self, connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Watch a connection until the end of the block."""
        self.listen()
        self._open.add(connection)
        try:
            yield
        finally:
            self._open.discard(connection)

    def listen(self) -> None:
        """Have signals told, unless a program has a handler of SIGINT or a wakeup descriptor of its own."""
        if threading.current_thread() is not threading.main_thread():
            return  # Python refuses it
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        if self._told is None:
            self._told, hears = socket.socketpair()
            self._told.setblocking(False)
            threading.Thread(target=self._hear, args=(hears,), name="interrupts of DuckDB", daemon=True).start()
        before = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        if before not in {-1, self._told.fileno()}:
            signal.set_wakeup_fd(before)

    def _hear(self, hears: socket.socket) -> None:
        while received := hears.recv(1):
            interrupted = self._open.copy() if received[0] == signal.SIGINT else set()
            for _ in range(_TRIES):
                interrupted &= self._open
                if not interrupted:
                    break
                import duckdb  # noqa: PLC0415 - as in `connected`

                for connection in interrupted:
                    with contextlib.suppress(duckdb.Error):  # it may just have been closed
                        connection.interrupt()
                time.sleep(_SECONDS)


_WATCH = _Watch()


def hear_interrupts() -> None:
    """Have connections interrupted that other threads make, as those that this one makes; only in the main thread."""
    _WATCH.listen()
