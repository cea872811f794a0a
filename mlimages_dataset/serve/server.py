"""The server: a socket, and the application on it until it is stopped."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import TYPE_CHECKING

import uvicorn

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import reason

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: a name or an address of this machine.
        port: the port; 0 for any that is free.

    Raises:
        UsageError: the port is in use or forbidden, or the host is not of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        remedy = "name an address of this machine"
        raise UsageError(f"the host {host!r} is not known ({reason(error)})", remedy=remedy) from error
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(address)
        server.listen(128)
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use", remedy="name another by --port, or 0 for any") from error
        remedy = "name another --port, or an address of this machine by --host"
        raise UsageError(f"cannot listen on {host}, port {port} ({reason(error)})", remedy=remedy) from error
    return server


def address_of(server: socket.socket) -> str:
    """Return the address of a listening socket's pages."""
    host, port = server.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve_until_stopped(application: ASGIApp, server: socket.socket) -> None:
    """Serve until Ctrl-C or a signal to end; requests that are being answered are finished."""
    config = uvicorn.Config(application, log_level="error", access_log=False, server_header=False, lifespan="off")
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again when it has ended
        uvicorn.Server(config).run(sockets=[server])
