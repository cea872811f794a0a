"""The laws of fetching, against a real server on the loopback interface."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, DownloadError, UsageError
from mlimages_dataset.sources.fetch import FetchStatus, Outcome, RetryPolicy, fetch_collection
from mlimages_dataset.sources.lock import read_lock
from mlimages_dataset.sources.publishers import LOCK_NAME, Collection, PublishedFile, read_publishers, select_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BODY = bytes(range(256)) * 40
HASTY = RetryPolicy(attempts=3, first_wait=0.001, longest_wait=2.0, connect_timeout=5.0, read_timeout=5.0)


@dataclass
class Resource:
    """What the server holds at a path, and how it misbehaves.

    Attributes:
        cuts: after how many bytes to drop the connection, one entry per answer, then never again.
        statuses: what to answer instead, one entry per request, then the body.
        honest: whether ranges are honoured only for the entity that If-Range names.
        most: the most bytes that a range is answered with, which may be less than was asked for.
        surplus: what is sent after the last byte of a range.
    """

    body: bytes = BODY
    etag: str = '"one"'
    last_modified: str = ""
    ranges: bool = True
    honest: bool = True
    most: int | None = None
    surplus: bytes = b""
    length: bool = True
    chunked: bool = False
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0


class Handler(BaseHTTPRequestHandler):
    """Serves `Resource`s with ranges (RFC 9110), cuts and refusals."""

    protocol_version = "HTTP/1.1"
    resources: ClassVar[dict[str, Resource]] = {}
    requests: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        """Answer a request with what the server holds, or as it was told to misbehave."""
        self.requests.append({"path": self.path, **dict(self.headers.items())})
        self.close_connection = True
        resource = self.resources.get(self.path)
        if resource is None:
            self.answer(404, b"no such thing", {})
        elif resource.statuses:
            self.answer(resource.statuses.pop(0), b"", resource.headers)
        else:
            self.serve(resource)

    def serve(self, resource: Resource) -> None:
        """Send a resource, from where the request wants it."""
        start = self.first_byte(resource)
        headers = {"Content-Type": "application/octet-stream", **resource.headers}
        headers |= {"ETag": resource.etag} if resource.etag else {}
        headers |= {"Last-Modified": resource.last_modified} if resource.last_modified else {}
        size = len(resource.body)
        if start is not None and start >= size:
            self.answer(416, b"", {"Content-Range": f"bytes */{size}"})
        elif start is not None:
            rest = resource.body[start:][: resource.most]
            headers["Content-Range"] = f"bytes {start}-{start + len(rest) - 1}/{size}"
            self.answer(206, rest + resource.surplus, headers, resource)
        else:
            self.answer(200, resource.body, headers, resource)

    def first_byte(self, resource: Resource) -> int | None:
        """Return where the request's range begins, none where all of the resource is to be sent."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        current = self.headers.get("If-Range") in {None, resource.etag, resource.last_modified}
        return int(asked[1]) if asked and resource.ranges and (current or not resource.honest) else None

    def answer(self, status: int, body: bytes, headers: dict[str, str], resource: Resource | None = None) -> None:
        """Send a status, its headers and as much of a body as the resource's next cut leaves."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if resource is not None and resource.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif resource is None or resource.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: resource.cuts.pop(0)] if resource and resource.cuts else body
        if resource is not None and resource.chunked:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent) if sent else b"")
            self.wfile.write(b"0\r\n\r\n" if sent == body else b"")
            return
        for at in range(0, len(sent), 1024):
            self.wfile.write(sent[at : at + 1024])
            self.wfile.flush()
            time.sleep(resource.pause if resource else 0)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep the test's output to the test."""


class Server(ThreadingHTTPServer):
    """A server that takes a client's death calmly."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed on purpose."""


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[str]:
    """Yield the address of a running server."""
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _clean_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Handler.resources.clear()
    Handler.requests.clear()


def serve(server: str, name: str, resource: Resource, *, sha256: str = "") -> PublishedFile:
    """Return the published file that the server now holds as `resource`."""
    Handler.resources[f"/{name}"] = resource
    return PublishedFile(name, f"the {name}", url=f"{server}/{name}", page="https://example.org/page", sha256=sha256)


def collect(*files: PublishedFile) -> Collection:
    return Collection("things", "Things", "CC0", "https://example.org", ("*",), files)


def fetch_one(file: PublishedFile, out: Path) -> Outcome:
    (outcome,) = fetch_collection(collect(file), out, retry=HASTY)
    return outcome


def sentence(outcome: Outcome) -> str:
    assert outcome.status is FetchStatus.FAILED
    assert isinstance(outcome.error, DownloadError)
    return str(outcome.error)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def assert_whole(out: Path, file: PublishedFile, body: bytes) -> None:
    """Assert that a file is there, byte for byte and on record, and nothing of its making is."""
    assert (out / file.name).read_bytes() == body
    record = read_lock(out)[file.name]
    assert (record.url, record.bytes, record.sha256) == (file.url, len(body), sha256(body))
    assert not [path for path in out.rglob("*") if ".part" in path.name]


def test_a_whole_download_is_recorded(server: str, tmp_path: Path) -> None:
    file = serve(server, "deep/er/a.bin", Resource())
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)
    assert read_lock(tmp_path)[file.name].etag == '"one"'


@pytest.mark.parametrize("body", [b"", b"x"])
def test_the_smallest_files_are_whole_too(server: str, tmp_path: Path, body: bytes) -> None:
    file = serve(server, "a.bin", Resource(body=body))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, body)


def test_a_standing_file_is_not_asked_for_again(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource())
    fetch_one(file, tmp_path)
    lock = (tmp_path / LOCK_NAME).read_bytes()
    assert fetch_one(file, tmp_path).status is FetchStatus.STANDS
    assert len(Handler.requests) == 1
    assert (tmp_path / LOCK_NAME).read_bytes() == lock


def test_compression_is_declined(server: str, tmp_path: Path) -> None:
    fetch_one(serve(server, "a.bin", Resource()), tmp_path)
    assert Handler.requests[0]["Accept-Encoding"] == "identity"


def test_a_cut_body_is_continued_not_begun_again(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource(cuts=[3000, 2000]))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)
    assert [request.get("Range") for request in Handler.requests] == [None, "bytes=3000-", "bytes=5000-"]
    assert Handler.requests[1]["If-Range"] == '"one"'


def test_a_later_run_continues_what_an_earlier_one_left(server: str, tmp_path: Path) -> None:
    resource = Resource(cuts=[3000, 0, 0, 0])
    file = serve(server, "a.bin", resource)
    assert "connection was lost" in sentence(fetch_one(file, tmp_path))
    assert (tmp_path / "a.bin.part").stat().st_size == 3000
    assert not (tmp_path / "a.bin").exists()
    resource.cuts.clear()
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert Handler.requests[-1]["Range"] == "bytes=3000-"
    assert_whole(tmp_path, file, BODY)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=20_000),
    cuts=st.lists(st.integers(0, 20_000), max_size=5),
    ranges=st.booleans(),
    honest=st.booleans(),
    chunked=st.booleans(),
    tag=st.sampled_from(['"strong"', 'W/"weak"', ""]),
    dated=st.booleans(),
)
def test_wherever_a_body_is_cut_the_file_is_the_same(
    server: str,
    tmp_path_factory: pytest.TempPathFactory,
    body: bytes,
    cuts: list[int],
    *,
    ranges: bool,
    honest: bool,
    chunked: bool,
    tag: str,
    dated: bool,
) -> None:
    out = tmp_path_factory.mktemp("cuts")
    date = formatdate(1_500_000_000, usegmt=True) if dated else ""
    resource = Resource(
        body=body, cuts=cuts, ranges=ranges, honest=honest, chunked=chunked, etag=tag, last_modified=date
    )
    file = serve(server, "a.bin", resource)
    outcome = fetch_one(file, out)
    while outcome.status is FetchStatus.FAILED:
        assert not (out / "a.bin").exists()
        outcome = fetch_one(file, out)
    assert_whole(out, file, body)


CLIENT = """
import sys
from pathlib import Path
from mlimages_dataset.sources.fetch import fetch_collection
from mlimages_dataset.sources.publishers import Collection, PublishedFile
file = PublishedFile("a.bin", "the file", url=sys.argv[1], page="https://example.org")
fetch_collection(Collection("things", "", "", "", ("*",), (file,)), Path(sys.argv[2]))
"""


def test_a_killed_client_leaves_a_part_that_is_continued(server: str, tmp_path: Path) -> None:
    # More than one chunk, so that something is on the disk while the rest is still on its way.
    resource = Resource(body=BODY * 300, pause=0.001)
    file = serve(server, "a.bin", resource)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, file.url, str(tmp_path)])
    part = tmp_path / "a.bin.part"
    while not (part.exists() and part.stat().st_size):
        assert client.poll() is None
        time.sleep(0.005)
    client.send_signal(signal.SIGKILL)
    client.wait()
    assert not (tmp_path / "a.bin").exists()
    resource.pause = 0.0
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert Handler.requests[-1]["Range"].startswith("bytes=")
    assert_whole(tmp_path, file, resource.body)


def test_a_part_that_was_complete_when_the_client_died_is_taken_without_a_request(server: str, tmp_path: Path) -> None:
    resource = Resource(cuts=[3000, 0, 0, 0])
    file = serve(server, "a.bin", resource)
    fetch_one(file, tmp_path)
    with (tmp_path / "a.bin.part").open("ab") as part:
        part.write(BODY[3000:])
    Handler.requests.clear()
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert not Handler.requests
    assert_whole(tmp_path, file, BODY)


def test_a_part_of_unknown_origin_is_not_built_on(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"from somewhere else")
    file = serve(server, "a.bin", Resource())
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)


@pytest.mark.parametrize(
    ("server_kind", "requests"),
    [
        (Resource(ranges=False, cuts=[3000]), 2),
        (Resource(etag='W/"weak"', cuts=[3000]), 2),
        (Resource(etag="", cuts=[3000]), 2),
    ],
    ids=["no ranges", "weak tag", "no validator"],
)
def test_what_cannot_be_continued_is_begun_again(
    server: str, tmp_path: Path, server_kind: Resource, requests: int
) -> None:
    file = serve(server, "a.bin", server_kind)
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert len(Handler.requests) == requests
    assert_whole(tmp_path, file, BODY)


def test_a_date_continues_a_part_where_there_is_no_tag(server: str, tmp_path: Path) -> None:
    date = formatdate(1_500_000_000, usegmt=True)
    file = serve(server, "a.bin", Resource(etag="", last_modified=date, cuts=[3000]))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert Handler.requests[1]["If-Range"] == date
    assert_whole(tmp_path, file, BODY)


@pytest.mark.parametrize("honest", [True, False], ids=["honours If-Range", "ignores If-Range"])
def test_a_file_that_changed_between_two_parts_is_never_mixed(server: str, tmp_path: Path, *, honest: bool) -> None:
    resource = Resource(cuts=[3000, 0, 0, 0])
    file = serve(server, "a.bin", resource)
    fetch_one(file, tmp_path)
    changed = bytes(reversed(BODY))
    Handler.resources["/a.bin"] = Resource(body=changed, etag='"two"', honest=honest)
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, changed)


@pytest.mark.parametrize("chunked", [False, True], ids=["length known", "length unknown"])
def test_less_of_a_range_than_was_asked_for_is_not_taken_for_all_of_it(
    server: str, tmp_path: Path, *, chunked: bool
) -> None:
    file = serve(server, "a.bin", Resource(cuts=[3000], most=1000, chunked=chunked))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)


def test_more_of_a_range_than_there_can_be_is_thrown_away(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource(cuts=[3000], surplus=b"and more"))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)


def test_a_part_longer_than_the_file_is_begun_again(server: str, tmp_path: Path) -> None:
    resource = Resource(cuts=[3000, 0, 0, 0])
    file = serve(server, "a.bin", resource)
    fetch_one(file, tmp_path)
    with (tmp_path / "a.bin.part").open("ab") as part:
        part.write(BODY * 2)
    resource.cuts.clear()
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_passes(server: str, tmp_path: Path, status: int) -> None:
    file = serve(server, "a.bin", Resource(statuses=[status, status]))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)


def test_a_lasting_fault_is_given_up_and_told(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource(statuses=[500] * 10))
    told = sentence(fetch_one(file, tmp_path))
    assert "500" in told
    assert len(Handler.requests) == HASTY.attempts


def test_retry_after_is_waited_for(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    file = serve(server, "a.bin", Resource(statuses=[503], headers={"Retry-After": "2"}))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert 2.0 in waits


def test_a_server_that_wants_too_long_a_pause_is_given_up(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource(statuses=[503], headers={"Retry-After": "3600"}))
    assert "3,600 s" in sentence(fetch_one(file, tmp_path))
    assert len(Handler.requests) == 1


def test_a_body_that_is_always_short_is_never_taken_for_whole(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource(cuts=[100] * 50, ranges=False))
    told = sentence(fetch_one(file, tmp_path))
    assert "after 100" in told
    assert not (tmp_path / "a.bin").exists()
    assert file.name not in read_lock(tmp_path)


def test_a_file_whose_length_nobody_tells_is_not_taken(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource(length=False))
    assert "does not state its length" in sentence(fetch_one(file, tmp_path))
    assert not (tmp_path / "a.bin").exists()


def test_a_web_page_is_not_taken_for_the_file(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource(headers={"Content-Type": "text/html; charset=utf-8"}))
    assert "web page" in sentence(fetch_one(file, tmp_path))


@pytest.mark.parametrize("right", [True, False])
def test_the_checksum_of_google_cloud_storage_is_checked(server: str, tmp_path: Path, *, right: bool) -> None:
    # The example of the header is that of a body of b"hello".
    headers = {"x-goog-hash": "crc32c=mnG7TA==, md5=XUFAKrxLKna5cZ2REBfFkg=="}
    file = serve(server, "a.bin", Resource(body=b"hello" if right else b"jello", headers=headers))
    outcome = fetch_one(file, tmp_path)
    if right:
        assert_whole(tmp_path, file, b"hello")
    else:
        assert "MD5" in sentence(outcome)
        assert not (tmp_path / "a.bin").exists()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_dead_addresses_are_told_apart_and_keep_nothing_else_from_being_fetched(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def resolve_all_but_one(host: str, *args: int, **kwargs: int) -> object:
        if host == "gone.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_all_but_one)
    page = "https://example.org/page"
    missing = PublishedFile("missing.bin", "the missing", url=f"{server}/missing.bin", page=page)
    refused = PublishedFile("refused.bin", "the refused", url=f"http://127.0.0.1:{free_port()}/x", page=page)
    nameless = PublishedFile("nameless.bin", "the nameless", url="http://gone.example/x", page=page)
    by_hand = PublishedFile("by-hand.bin", "the given", page=page)
    there = serve(server, "there.bin", Resource())
    outcomes = fetch_collection(collect(missing, refused, nameless, by_hand, there), tmp_path, retry=HASTY)
    told = [sentence(outcome) for outcome in outcomes[:4]]
    for file, text, reason in zip(
        (missing, refused, nameless, by_hand),
        told,
        ("404", "refused", "has no address", "only through a web page"),
        strict=True,
    ):
        assert reason in text
        assert page in text
        assert str(tmp_path / file.name) in text
        assert file.what in text
    assert_whole(tmp_path, there, BODY)


def test_a_silent_server_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/a.bin"
        file = PublishedFile("a.bin", "the file", url=url, page="https://example.org")
        retry = RetryPolicy(attempts=2, first_wait=0.001, connect_timeout=0.2, read_timeout=0.2)
        (outcome,) = fetch_collection(collect(file), tmp_path, retry=retry)
    assert "does not answer in time" in sentence(outcome)


def test_a_file_placed_by_hand_is_recorded_and_checked_from_then_on(server: str, tmp_path: Path) -> None:
    file = PublishedFile("a.bin", "the file", url=f"{server}/404", page="https://example.org")
    sentence(fetch_one(file, tmp_path))
    (tmp_path / "a.bin").write_bytes(BODY)
    assert fetch_one(file, tmp_path).status is FetchStatus.RECORDED
    assert_whole(tmp_path, file, BODY)
    assert fetch_one(file, tmp_path).status is FetchStatus.STANDS
    (tmp_path / "a.bin").write_bytes(b"other")
    told = sentence(fetch_one(file, tmp_path))
    assert sha256(BODY) in told
    assert sha256(b"other") in told


def test_a_file_edited_on_the_disk_is_told_with_both_digests(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource())
    fetch_one(file, tmp_path)
    (tmp_path / "a.bin").write_bytes(b"edited")
    told = sentence(fetch_one(file, tmp_path))
    assert all(part in told for part in ("changed on the disk", sha256(BODY), sha256(b"edited"), LOCK_NAME))
    (tmp_path / "a.bin").unlink()
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, BODY)


def test_a_file_that_changed_at_the_publisher_is_told_and_accepted_on_demand(server: str, tmp_path: Path) -> None:
    file = serve(server, "a.bin", Resource())
    fetch_one(file, tmp_path)
    (tmp_path / "a.bin").unlink()
    serve(server, "a.bin", Resource(body=b"new edition", etag='"two"'))
    for _ in range(2):
        told = sentence(fetch_one(file, tmp_path))
        assert all(part in told for part in ("changed at the publisher", sha256(BODY), sha256(b"new edition")))
        assert not (tmp_path / "a.bin").exists()
    assert len(Handler.requests) == 2, "what has arrived is not fetched twice"
    lock = json.loads((tmp_path / LOCK_NAME).read_text())
    del lock["files"]["a.bin"]
    (tmp_path / LOCK_NAME).write_text(json.dumps(lock))
    assert fetch_one(file, tmp_path).status is FetchStatus.FETCHED
    assert_whole(tmp_path, file, b"new edition")


def test_a_published_digest_is_insisted_on(server: str, tmp_path: Path) -> None:
    right = serve(server, "right.bin", Resource(), sha256=sha256(BODY))
    wrong = serve(server, "wrong.bin", Resource(), sha256=sha256(b"as published"))
    outcomes = fetch_collection(collect(right, wrong), tmp_path, retry=HASTY)
    assert outcomes[0].status is FetchStatus.FETCHED
    assert sha256(b"as published") in sentence(outcomes[1])
    assert not (tmp_path / "wrong.bin").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": "mlimages.lock/9", "files": {}}', '{"format": "mlimages.lock/1", "files": {"a": {}}}'],
)
def test_a_lock_that_is_none_is_refused(server: str, tmp_path: Path, content: str) -> None:
    (tmp_path / LOCK_NAME).write_text(content)
    with pytest.raises(DataError, match=LOCK_NAME):
        fetch_one(serve(server, "a.bin", Resource()), tmp_path)
    assert not Handler.requests


def test_only_the_files_asked_for_are_fetched(server: str, tmp_path: Path) -> None:
    files = [serve(server, name, Resource(body=name.encode())) for name in ("v1/a.csv", "v1/b.csv", "v2/a.csv")]
    outcomes = fetch_collection(collect(*files), tmp_path, only=["v1/b*", "v2/*"], retry=HASTY)
    assert [outcome.file.name for outcome in outcomes] == ["v1/b.csv", "v2/a.csv"]
    assert [request["path"] for request in Handler.requests] == ["/v1/b.csv", "/v2/a.csv"]
    with pytest.raises(UsageError, match=r"no file of things matches v9/\*"):
        select_files(collect(*files), ["v1/*", "v9/*"])


def test_progress_hears_every_byte_and_every_outcome(server: str, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    ended: list[Outcome] = []

    class Listener:
        def received(self, file: PublishedFile, done: int, total: int) -> None:
            assert file.name == "a.bin"
            heard.append((done, total))

        def finished(self, outcome: Outcome) -> None:
            ended.append(outcome)

    file = serve(server, "a.bin", Resource(cuts=[3000]))
    outcomes = fetch_collection(collect(file), tmp_path, progress=Listener(), retry=HASTY)
    assert heard[0] == (0, len(BODY))
    assert heard[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert tuple(ended) == outcomes


def test_a_folder_that_cannot_be_written_is_told(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="is a file where a folder should be"):
        fetch_one(serve(server, "a.bin", Resource()), tmp_path / "file" / "below")


@pytest.fixture(name="command")
def _command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a caller of the installed `mlimages-build fetch`, which returns the exit code."""
    found = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
    if not found:
        pytest.skip("mlimages-build is not installed: pip install -e .")
    main = next(iter(found)).load()

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["mlimages-build", "fetch", *arguments])
        try:
            return int(main() or 0)
        except SystemExit as end:
            return int(end.code or 0)

    return call


@pytest.fixture(name="table")
def _table(server: str, tmp_path: Path) -> Path:
    """Return a table of addresses of two files that the server holds and one that it does not."""
    entries = [
        {"name": name, "what": f"the {name}", "url": f"{server}/{name}"} for name in ("a.bin", "b.bin", "no.bin")
    ]
    for name in ("a.bin", "b.bin"):
        Handler.resources[f"/{name}"] = Resource(body=name.encode())
    path = tmp_path / "publishers.toml"
    head = '[things]\ntitle = "Things"\nlicence = "CC0"\npage = "https://example.org"\ndefault = ["[ab]*"]\n'
    keys = ["".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items()) for entry in entries]
    path.write_text(head + "".join(f"[[things.files]]\n{block}" for block in keys))
    return path


def test_the_command_fetches_and_says_so(
    command: Callable[..., int], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command("things", "--publishers", str(table), "--out", str(out)) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"fetched: {name} (5 bytes, SHA-256 {sha256(name.encode())})" for name in ("a.bin", "b.bin")
    ]
    assert command("things", "--publishers", str(table), "--out", str(out), "--only", "a*", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [(file["name"], file["status"]) for file in report["files"]] == [("a.bin", "stands")]


def test_the_command_ends_with_1_when_a_file_is_missing(
    command: Callable[..., int], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command("things", "--publishers", str(table), "--out", str(out), "--only", "*") == 1
    told = capsys.readouterr()
    assert told.out.count("fetched: ") == 2
    assert f"obtain it from https://example.org, put it at {out / 'no.bin'}" in told.err
    assert "1 of 3 files could not be obtained" in told.err
    (out / "no.bin").write_bytes(b"by hand")
    assert command("things", "--publishers", str(table), "--out", str(out), "--only", "*") == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["thing", "--out", "o"], "did you mean things"),
        (["--out", "o"], "no collection is named"),
        (["things"], "no folder is given"),
        (["things", "--out", "o", "--only", "z*"], "no file of things matches z"),
        (["--list", "--only", "z*"], "no file matches z"),
    ],
)
def test_the_command_ends_with_2_when_used_wrongly(
    command: Callable[..., int], table: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert command(*arguments, "--publishers", str(table)) == 2
    assert told in capsys.readouterr().err
    assert not Handler.requests


def test_the_list_shows_every_file(
    command: Callable[..., int], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--list", "--publishers", str(table)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "things: Things"
    assert [line[:7] for line in lines[3:]] == ["* a.bin", "* b.bin", "  no.bi"]
    assert command("--list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert {each["name"]: len(each["files"]) for each in listed} == {
        name: len(collection.files) for name, collection in read_publishers().items()
    }
    assert not Handler.requests
