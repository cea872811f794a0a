"""The web application: addresses to pages, and what guards them.

Only reading is possible. Each answer forbids the browser to run or load anything that is not ours, and a request whose
`Host` is not a name of this server is refused: else a stranger's page could read a local one by pointing its own name
at this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from mlimages_dataset.core.errors import MLImagesError, UsageError
from mlimages_dataset.serve.pages import NotFoundError, Pages, whole_number
from mlimages_dataset.serve.pictures import THUMBNAIL_PIXELS, VIEW_PIXELS, Pictures
from mlimages_dataset.serve.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from mlimages_dataset.serve.build import ServedBuild
    from mlimages_dataset.serve.index import LabelIndex
    from mlimages_dataset.serve.rows import ImageRow

LOOPBACK = "127.0.0.1"
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_STATIC = {"serve.css": "text/css", "serve.js": "text/javascript"}
_SVG = "image/svg+xml"


def application(build: ServedBuild, index: LabelIndex, *, host: str = LOOPBACK, wordnet: Path | None = None) -> ASGIApp:
    """Return the application that serves a build.

    Args:
        build: the build.
        index: its index.
        host: the address that the server listens on, which decides by which names it may be asked.
        wordnet: the folder of WordNet's own files, for definitions.
    """
    _ = build.vocabulary.closure  # what reasons take: the first page of an image would wait for it
    rows = Rows(index, build)
    site = _Site(Pages(build, rows, wordnet), rows, Pictures(index.stores))
    pages: dict[str, Callable[[dict[str, str]], str]] = {
        "/": site.pages.images,
        "/image": site.image,
        "/categories": lambda query: site.pages.categories(query.get("q", "").strip()),
        "/categories/without-images": site.pages.without_images,
        "/category": lambda query: site.pages.category(query.get("wnid", "")),
        "/classes": site.pages.classes,
        "/findings": lambda query: site.pages.findings(),  # noqa: ARG005 - it takes none
    }
    routes = [Route(path, _page(make)) for path, make in pages.items()]
    routes += [
        Route("/suggest", site.suggest),
        Route("/thumbnail/{row}", site.thumbnail),
        Route("/picture/{row}", site.picture),
        Route("/static/{name}", _static),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(_Guard, host=host)],
        exception_handlers={HTTPException: site.refused, MLImagesError: site.failed},  # type: ignore[dict-item]  # as Starlette calls them
    )


def may_be_asked_as(name: str, host: str) -> bool:
    """Return whether a server that listens on `host` may be asked by a name, without its port.

    An address of digits is never a stranger's name. A server of the loopback interface is asked by loopback names.
    """
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return not is_loopback(host) and name in {host.lower(), socket.gethostname().lower()}
    return address.is_loopback or not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Return whether only programs of this machine reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Guard:
    """Refuses requests by foreign names, and adds the headers that bind the browser."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(named) == 1 and may_be_asked_as(_without_port(named[0]).lower(), self._host):
            await self._app(scope, receive, guarded)
            return
        refusal = "This server may not be asked by that name: use the address that it printed.\n"
        await PlainTextResponse(refusal, 421)(scope, receive, guarded)


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() and not name.endswith(":") else host


@dataclass(frozen=True, slots=True)
class _Site:
    """What the addresses lead to."""

    pages: Pages
    rows: Rows
    pictures: Pictures

    def image(self, query: dict[str, str]) -> str:
        """Return the page of an image; the larger view is made now, so that the page can say what is wrong with it."""
        image_id = query.get("id", "")
        missing = {}
        for row in self.rows.rows_of_id(image_id):
            try:
                self.pictures.view(row, VIEW_PIXELS)
            except MLImagesError as error:
                missing[row.row] = error.what if row.store is not None else ""
        return self.pages.image(image_id, missing)

    def suggest(self, request: Request) -> Response:
        """Answer with the categories that a text may mean."""
        return JSONResponse(self.pages.suggestions(request.query_params.get("q", "")[:100]))

    def thumbnail(self, request: Request) -> Response:
        """Answer with a small picture."""
        return self._picture(request, THUMBNAIL_PIXELS)

    def picture(self, request: Request) -> Response:
        """Answer with a larger picture."""
        return self._picture(request, VIEW_PIXELS)

    def _picture(self, request: Request, pixels: int) -> Response:
        row = self._row(request.path_params["row"])
        try:
            content = self.pictures.view(row, pixels)
        except MLImagesError:
            return Response(_file("missing.svg"), 404, media_type=_SVG)
        return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=60"})

    def _row(self, text: str) -> ImageRow:
        rows = self.rows.rows([whole_number(text)])
        if not rows:
            raise NotFoundError(f"there is no row {text}")
        return rows[0]

    def refused(self, request: Request, error: HTTPException) -> Response:  # noqa: ARG002 - Starlette's signature
        """Answer a request for what is no page, or that wants to write."""
        text = "there is no page at this address" if error.status_code == 404 else error.detail  # noqa: PLR2004
        return self._error(error.status_code, error.detail, text, error.headers)

    async def failed(self, request: Request, error: MLImagesError) -> Response:  # noqa: ARG002 - as above
        """Answer with the sentence of an error."""
        status, title = 500, "The build cannot be read"
        if isinstance(error, UsageError):
            status, title = (404, "Not found") if isinstance(error, NotFoundError) else (400, "This cannot be shown")
        return await run_in_threadpool(self._error, status, title, str(error))

    def _error(self, status: int, title: str, text: str, headers: Any = None) -> Response:
        return HTMLResponse(self.pages.error(title, text), status, headers)


def _page(make: Callable[[dict[str, str]], str]) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        return HTMLResponse(make(dict(request.query_params)), headers={"cache-control": "no-store"})

    return answer


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404)
    return Response(_file(name), media_type=_STATIC[name], headers={"cache-control": "no-cache"})


def _file(name: str) -> bytes:
    return (files("mlimages_dataset.serve") / "static" / name).read_bytes()
