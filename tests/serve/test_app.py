"""The pages: what they show, what they refuse, and that they stay inert and whole."""

from __future__ import annotations

import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.thumbnails import smaller
from mlimages_dataset.serve.app import may_be_asked_as
from mlimages_dataset.serve.build import open_build
from mlimages_dataset.serve.definitions import definition, wordnet_folder
from mlimages_dataset.serve.pages import is_web
from mlimages_dataset.serve.pictures import Pictures
from mlimages_dataset.serve.rows import ImageRow
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import LABELS
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.images.folders import image_folder, picture
from tests.serve.builds import Build, Image, category, vocabulary_of, write_build
from tests.serve.conftest import ADDRESS, client_of, pictures_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

PAGES = ("/", "/categories", "/categories?q=dog", "/categories/without-images", "/classes", "/findings")
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror=alert(1)>\"'"


class Markup(HTMLParser):
    """Elements with their attributes, the addresses that a page links to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note some text."""
        self.text += data

    @property
    def links(self) -> Iterator[str]:
        """Yield the addresses that the page links to or loads."""
        yield from (
            value for _, one in self.elements for name, value in one.items() if name in {"href", "src"} and value
        )


def labelled_ids(build: Path) -> list[str]:
    parts = sorted((build / "labels").rglob("part-*.parquet"), key=lambda path: (path.parent.name, path.name))
    return [image_id for part in parts for image_id in read_table(part, LABELS)["image_id"].to_pylist()]


def test_every_page_that_is_linked_can_be_shown(build: Path) -> None:
    pictures_of(build / "images", labelled_ids(build)[:3])
    client = client_of(build)
    waiting, seen = set(PAGES), set[str]()
    while waiting and len(seen) < 400:
        address = waiting.pop()
        seen.add(address)
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text)
        if answer.headers["content-type"].startswith("text/html"):
            found = Markup(answer.text)
            assert [value for tag, value in found.elements if tag == "main"]
            inside = {urljoin(ADDRESS + address, link) for link in found.links if not link.startswith(("#", "data:"))}
            waiting |= {link.removeprefix(ADDRESS) for link in inside if link.startswith(ADDRESS)} - seen
    assert {urlsplit(address).path.split("/")[1] for address in seen} == {
        *("", "image", "categories", "category", "classes", "findings", "static", "thumbnail", "picture"),
    }


def test_an_image_page_lists_its_labels_and_why(client: TestClient, build: Path) -> None:
    vocabulary = read_vocabulary(build / "vocabulary")
    for part in (build / "labels").rglob("part-*.parquet"):
        for row in read_table(part, LABELS).to_pylist():
            text = client.get("/image", params={"id": row["image_id"]}).text
            for label in row["labels"]:
                assert f"wnid={vocabulary.categories[label['class_index']].wnid}" in text
            if any(label["origin"] == 0 and label["confidence"] > 0 for label in row["labels"]):
                assert f"annotated by {row['source']}" in text


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/image?id=nobody", 404, "no image has the id &#39;nobody&#39;"),
        ("/image", 404, "no image has the id"),
        ("/category?wnid=n1", 404, "no category has the wnid &#39;n1&#39;"),
        ("/thumbnail/99999999", 404, "there is no row 99999999"),
        ("/thumbnail/99999999999", 400, "is no number of a row"),
        ("/thumbnail/-1", 400, "is no number of a row"),
        ("/thumbnail/..%2f..%2fmanifest.json", 404, "there is no page at this address"),
        ("/static/..%2fapp.py", 404, "there is no page at this address"),
        ("/static/app.py", 404, "there is no page at this address"),
        ("/manifest.json", 404, "there is no page at this address"),
        ("/?category=nosuchthing", 400, "no category has the id or the name"),
        ("/?source=nobody", 400, "there is no source &#39;nobody&#39;"),
        ("/?split=test", 400, "there is no split &#39;test&#39;; use one of train, val"),
        ("/?after=x", 400, "no page of these images"),
        ("/?colour=red", 400, "there is no filter &#39;colour&#39;"),
        ("/classes?start=x", 400, "is no number of a row"),
        ("/categories/without-images?split=x", 400, "there is no split"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(client: TestClient, address: str, status: int, words: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(client: TestClient, method: str) -> None:
    for address in (*PAGES, "/thumbnail/0", "/suggest", "/static/serve.js"):
        assert client.request(method, address).status_code == 405


def test_every_answer_binds_the_browser(client: TestClient) -> None:
    for address in (*PAGES, "/nothing", "/image?id=x", "/static/serve.js", "/suggest?q=dog", "/thumbnail/0"):
        headers = client.get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    page = Markup(client.get("/").text)
    assert not [name for _, one in page.elements for name in one if name.startswith("on") or name == "style"]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost.evil"])
def test_a_foreign_name_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert (answer.status_code, "use the address that it printed" in answer.text) == (421, True)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:8000", "[::1]:8000", "127.0.0.2"])
def test_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


def test_a_public_server_may_be_asked_by_addresses_and_its_own_name() -> None:
    assert not may_be_asked_as("192.168.1.2", "127.0.0.1")
    assert may_be_asked_as("192.168.1.2", "0.0.0.0")  # noqa: S104 - that is what it is about
    assert may_be_asked_as("host.example", "host.example")
    assert not may_be_asked_as("evil.example", "0.0.0.0")  # noqa: S104 - as above


def hostile_build(folder: Path) -> Path:
    vocabulary = vocabulary_of([[], [0], [0]], ["root", HOSTILE, "a & b"])
    images: Build = {
        "train": [
            [
                [
                    Image(HOSTILE, HOSTILE, {0: (1.0, 1), 1: (1.0, 0)}, "javascript:alert(1)"),
                    Image("x", "s", {0: (1.0, 1), 1: (0.0, 0), 2: (1.0, 0)}, f"https://example.org/{quote(HOSTILE)}"),
                ]
            ]
        ]
    }
    return write_build(folder, vocabulary, images)


def test_names_of_others_are_inert(tmp_path: Path) -> None:
    client = client_of(hostile_build(tmp_path / "a <b>"))
    image = f"/image?id={quote(HOSTILE)}"
    for address in (*PAGES, image, "/image?id=x", "/category?wnid=n00000001", f"/?source={quote(HOSTILE)}"):
        page = Markup(client.get(address).text)
        assert [one["src"] for tag, one in page.elements if tag == "script"] == ["/static/serve.js"]
        assert {one["src"] for tag, one in page.elements if tag == "img"} <= {"/thumbnail/0", "/picture/0"}
        assert not [name for _, one in page.elements for name in one if name.startswith("on")]
        assert not [link for link in page.links if link.startswith("javascript")]
    assert HOSTILE in Markup(client.get(image).text).text
    outside = [one for tag, one in Markup(client.get("/image?id=x").text).elements if one.get("rel", "") and tag == "a"]
    assert [one["rel"] for one in outside] == ["noreferrer noopener external"]


@given(st.text())
def test_only_addresses_of_the_web_are_linked(text: str) -> None:
    assert is_web(text) <= text.lstrip().lower().startswith(("http://", "https://"))
    assert is_web(f"https://example.org/{quote(text)}")


def test_pictures_are_shown_upright_and_small(build: Path) -> None:
    first, second, third = labelled_ids(build)[:3]
    image_folder(build / "images", [{first: picture(1, 2000, 1000), second: b"no picture", third: None}])
    client = client_of(build)
    thumbnail, view = client.get("/thumbnail/0"), client.get("/picture/0")
    assert thumbnail.headers["content-type"] == view.headers["content-type"] == "image/jpeg"
    sizes = [PillowImage.open(io.BytesIO(one.content)).size for one in (thumbnail, view)]
    assert sizes == [(320, 160), (1280, 640)]
    for row, image_id, words in (
        (1, second, "The picture is missing: the picture cannot be decoded"),
        (2, third, "No folder of"),
    ):
        answer = client.get(f"/thumbnail/{row}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "image/svg+xml")
        page = client.get("/image", params={"id": image_id})
        assert (page.status_code, words in page.text) == (200, True), page.text
    assert "1 image" in client.get("/?pictures=yes").text or "2 images" in client.get("/?pictures=yes").text


def test_a_picture_gone_since_is_missing_and_the_rest_is_shown(build: Path) -> None:
    ids = labelled_ids(build)[:3]
    pictures_of(build / "images", ids)
    client = client_of(build)
    (build / "images" / f"{ids[1]}.jpg").unlink()
    assert [client.get(f"/thumbnail/{row}").status_code for row in range(3)] == [200, 404, 200]
    assert "The picture is missing: cannot be read" in client.get("/image", params={"id": ids[1]}).text
    shutil.rmtree(build / "images")
    assert client.get("/?pictures=yes").status_code == 200
    assert client.get("/image", params={"id": ids[2]}).status_code == 200


def test_views_are_kept_within_their_memory() -> None:
    class Store:
        asked = 0

        def read(self, k: int) -> bytes:
            self.asked += 1
            return picture(k)

    store = Store()
    rows = [ImageRow(k, f"{k}", "", "s", "train", 0, k) for k in range(5)]
    size = max(len(smaller(picture(k), 64, where="")) for k in range(5))
    pictures = Pictures([store], 2 * size)  # type: ignore[list-item]  # it only reads
    for row in (*rows, rows[4], rows[4]):
        pictures.view(row, 64)
    assert store.asked == 5
    assert sum(map(len, pictures._kept.values())) == pictures._bytes <= 2 * size
    pictures.view(rows[0], 64)
    assert store.asked == 6
    with pytest.raises(DataError, match="no folder of pictures has it"):
        pictures.view(replace(rows[0], store=None), 65)


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGBA"), ("PNG", "I;16"), ("JPEG", "CMYK"), ("GIF", "P"), ("PNG", "1")]
)
def test_every_kind_of_picture_becomes_a_jpeg(form: str, mode: str) -> None:
    content = io.BytesIO()
    PillowImage.new("L" if mode == "I;16" else mode, (50, 400)).convert("I;16" if mode == "I;16" else mode).save(
        content, form
    )
    with PillowImage.open(io.BytesIO(smaller(content.getvalue(), 100, where=""))) as image:
        assert (image.format, image.size) == ("JPEG", (12, 100))


def test_definitions_come_from_wordnet_where_its_line_is_the_category(tmp_path: Path) -> None:
    head = "  1 This software and database is being provided\n"
    line = f'{len(head):08d} 05 n 02 dog 0 domestic_dog 0 001 @ 02083346 n 0000 | a pet; "it barked"  \n'
    (tmp_path / "data.noun").write_text(head + line, encoding="utf-8")
    assert wordnet_folder(tmp_path) == tmp_path
    dog = replace(category(len(head), [], 0, 0, "dog, domestic dog"))
    assert definition(tmp_path, dog) == 'a pet; "it barked"'
    assert definition(tmp_path, replace(dog, name="cat")) == ""
    assert definition(tmp_path, category(3, [], 0, 0, "dog")) == ""
    assert definition(tmp_path, category(99_999_999, [], 0, 0, "dog")) == ""
    assert definition(tmp_path, replace(dog, wnid="/m/0bt9lr")) == definition(None, dog) == ""
    with pytest.raises(UsageError, match=r"there is no data\.noun in it"):
        wordnet_folder(tmp_path / "other")


def test_suggestions_are_what_a_text_may_mean(client: TestClient) -> None:
    (dog, *_) = client.get("/suggest?q=dog").json()
    assert re.match(r"n\d{8}$", dog["wnid"])
    assert "dog" in dog["name"]
    assert client.get("/suggest").status_code == 200


def test_findings_lead_to_their_rows(client: TestClient, build: Path) -> None:
    mapping = read_vocabulary(build / "vocabulary").mapping
    page = client.get("/findings").text
    for source, rule in {(row.source, row.rule) for row in mapping}:
        answer = client.get("/classes", params={"source": source, "rule": rule})
        n = sum((row.source, row.rule) == (source, rule) for row in mapping)
        assert f"{n:,} classes." in answer.text
        assert str(answer.url).removeprefix(ADDRESS).replace("&", "&amp;") in page


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: shutil.rmtree(folder / "labels"), "there are no labels in it"),
        (lambda folder: shutil.rmtree(folder / "vocabulary"), "there is no vocabulary beside these labels"),
        (shutil.rmtree, "there is no such folder"),
        (lambda folder: write_build(folder, vocabulary_of([[]]), {}), "made with another vocabulary"),
    ],
)
def test_what_is_no_build_is_refused_in_a_sentence(build: Path, damage: object, words: str) -> None:
    assert callable(damage)
    damage(build)
    with pytest.raises(UsageError, match=words):
        open_build(build)
