"""The pages as a browser shows them: no barrier, no complaint, on a phone, in the dark, by keyboard."""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING, Literal

import pytest
import uvicorn

from mlimages_dataset.serve.app import application
from mlimages_dataset.serve.build import open_build
from mlimages_dataset.serve.index import open_index
from mlimages_dataset.serve.server import address_of, listening
from tests.serve.conftest import pictures_of
from tests.serve.test_app import HOSTILE, hostile_build, labelled_ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

pytestmark = pytest.mark.slow

PAGES = (
    "",
    "?category=n02084071&below=yes&origin=original&from=0.5",
    "?pictures=yes",
    "?split=val&after=999999",
    "?category=nothing",
    "categories?q=dog",
    "categories/without-images",
    "category?wnid=n02084071",
    "classes",
    "findings",
    "nothing",
)


class Serving:
    """Serves a build from a thread of this process, as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        build = open_build(folder)
        self._socket = listening("127.0.0.1", 0)
        config = uvicorn.Config(application(build, open_index(build)), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return address_of(self._socket)

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture(scope="module")
def address(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a served build with pictures, one of them gone since."""
    folder = tmp_path_factory.mktemp("served") / "build"
    shutil.copytree(golden, folder)
    ids = labelled_ids(folder)
    pictures_of(folder / "images", ids[:5])
    with Serving(folder) as address:
        (folder / "images" / f"{ids[1]}.jpg").unlink()
        yield address


def opened(chromium: Browser, scheme: Literal["light", "dark"], width: int) -> AbstractContextManager[Tab]:
    return chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(
    chromium: Browser, address: str, golden: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # noqa: PLC0415 - only here

    images = [f"image?id={image_id}" for image_id in labelled_ids(golden)[:6]]
    with opened(chromium, scheme, width) as tab:
        for page in (*PAGES, *images):
            tab.goto(address + page)
            tab.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
            found = Axe().run(tab)
            assert found.violations_count == 0, (page, found.generate_report())
            assert tab.evaluate("document.documentElement.scrollWidth") == width, page
            ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_pages_ask_for_nothing_from_elsewhere_and_complain_of_nothing(chromium: Browser, address: str) -> None:
    with opened(chromium, "light", 1200) as tab:
        complaints: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        asked: set[str] = set()
        tab.on("request", lambda request: asked.add(request.url))
        for page in ("", "categories?q=dog", "category?wnid=n02084071", "classes", "findings"):
            tab.goto(address + page, wait_until="networkidle")
        assert {url for url in asked if not url.startswith((address, "data:"))} == set()
        # The browser's own note of the picture that is gone.
        assert all("404" in one for one in complaints), complaints


def test_a_filter_is_set_and_copied_by_keyboard(chromium: Browser, address: str) -> None:
    with chromium.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        tab = context.new_page()
        tab.goto(address)
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
        tab.get_by_role("combobox", name="Category").focus()
        tab.keyboard.type("dog")
        tab.wait_for_selector("#suggested option", state="attached")
        assert "dog" in str(tab.locator("#suggested option").first.get_attribute("label"))
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/?category=dog*")
        assert tab.get_by_role("status").inner_text().startswith("dog")
        tab.get_by_text("Copy this filter").focus()
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="Copy SQL").focus()
        tab.keyboard.press("Enter")
        tab.get_by_role("button", name="Copied").wait_for()
        assert tab.evaluate("navigator.clipboard.readText()") == tab.locator("#sql").inner_text()


def test_hostile_names_do_nothing_in_a_browser(chromium: Browser, tmp_path: Path) -> None:
    with Serving(hostile_build(tmp_path / "build")) as address, opened(chromium, "light", 1200) as tab:
        for page in ("", "categories", "category?wnid=n00000001", "classes", "image?id=x"):
            tab.goto(address + page, wait_until="networkidle")
            assert tab.evaluate("[typeof window.broken, document.images.length]") == ["undefined", 0]
        tab.goto(address)
        tab.get_by_role("link", name=HOSTILE).first.click()
        assert tab.locator("h1").inner_text() == HOSTILE
