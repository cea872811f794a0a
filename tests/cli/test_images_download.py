"""The command downloads, says what became of the rows, goes on, and refuses what it cannot do with a sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset import samples
from mlimages_dataset.images.parts import jobs_of
from mlimages_dataset.images.progress import HostTrouble, Snapshot
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.journal import Journal
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMAGES
from tests.images import fault_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.fixture(name="port", scope="module")
def _port() -> Iterator[int]:
    with fault_server.started() as port:
        yield port


def write_csv(path: Path, *urls: str, header: str = "image_id,url") -> Path:
    path.write_text("\n".join([header, *(f"{number},{url}" for number, url in enumerate(urls))]) + "\n")
    return path


def cut_after_two_parts(out: Path) -> None:
    """Turn a finished download into one that was cut."""
    output, record = OutputFolder(out), read_manifest(out).stages["download"]
    journal = Journal.of(output.path, {**record.parameters, "stage": "download"}, record.inputs)
    jobs = sorted(jobs_of(output.standing("download")), key=lambda job: job[0])
    output.reopen("download", journal, jobs[:2])


@pytest.mark.slow
def test_rows_are_counted_by_status_and_a_second_run_is_up_to_date(port: int, tmp_path: Path, command: Command) -> None:
    host = f"http://127.0.0.1:{port}"
    urls = (f"{host}/good/1.jpg", f"{host}/missing/2.jpg", "ftp://127.0.0.1/a.jpg", f"{host}/good/3.jpg", "")
    given = write_csv(tmp_path / "list.csv", *urls)
    arguments = ("images", "download", given, "--out", tmp_path / "out", "--allow-private", "--workers", "1")
    ran = command(*arguments)
    assert ran.code == 0, ran
    lines = ran.out.splitlines()
    assert [line.split(None, 1) for line in lines[:4]] == [
        ["2", "saved"],
        ["2", "bad address"],
        ["1", "http error"],
        ["5", "rows in all"],
    ]
    assert "2 files written to" in lines[-1]
    assert "is up to date: nothing to do" in command(*arguments).out
    told = json.loads(command(*arguments, "--json").out)
    assert told["summary"]["statuses"] == {"saved": 2, "bad_address": 2, "http_error": 1}
    assert (told["summary"]["saved"], told["summary"]["failed"], told["fresh"]) == (2, 3, False)
    assert command(*arguments, "--retry", "failed").code == 0
    assert "all fine" in command("verify", tmp_path / "out").out


def test_private_hosts_are_refused_by_default(port: int, tmp_path: Path, command: Command) -> None:
    given = write_csv(tmp_path / "list.csv", f"http://127.0.0.1:{port}/good/1.jpg")
    ran = command("images", "download", given, "--out", tmp_path / "out", "--workers", "1", "--json")
    assert json.loads(ran.out)["summary"]["statuses"] == {"private_address": 1}


def test_a_table_of_annotations_is_a_list(port: int, tmp_path: Path, command: Command) -> None:
    rows = [
        {"image_id": str(n), "source": "s", "location": f"http://127.0.0.1:{port}/good/{n}.jpg", "labels": []}
        for n in range(3)
    ]
    table = ANNOTATIONS.arrow.empty_table().from_pylist(rows, schema=ANNOTATIONS.arrow)
    write_table(tmp_path / "annotations" / "part-00000.parquet", table, ANNOTATIONS, {})
    arguments = ("--out", tmp_path / "out", "--allow-private", "--workers", "1", "--no-check", "--json")
    ran = command("images", "download", tmp_path / "annotations", *arguments)
    assert json.loads(ran.out)["summary"]["statuses"] == {"saved": 3}


@pytest.mark.parametrize(
    ("header", "more", "said"),
    [
        ("image_id,name", (), "has no column location, OriginalURL, url or URL"),
        ("name,url", (), "has no column image_id, ImageID, id or key"),
        ("picture,name", (), "has no column image_id, ImageID, id or key, and no column location, OriginalURL"),
        ("image_id,url", ("--user-agent", "me\nX-Evil: 1"), "--user-agent holds a control character"),
        ("image_id,url", ("--spool", "/dev/null/nowhere"), "/dev/null: is a file where a folder should be"),
        ("image_id,url", ("--quality", "80"), "--quality goes with --short-edge"),
        ("image_id,url", ("--mirror", "https://example.org/"), "is not a mirror"),
        ("image_id,url", ("--thumbnails",), "a file has no column Thumbnail300KURL; use Open Images' image tables"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    header: str, more: tuple[str, ...], said: str, tmp_path: Path, command: Command
) -> None:
    given = write_csv(tmp_path / "list.csv", "http://127.0.0.1/a.jpg", header=header)
    ran = command("images", "download", given, "--out", tmp_path / "out", *more)
    assert ran.code in {1, 2}
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            "a,http://127.0.0.1:9/a.jpg\nb,http://127.0.0.1:9/b.jpg\nc,\n",
            "2 of 3 rows are private address; pass --allow",
        ),
        ("a,\n", "1 of 1 rows are bad address; the list has no http or https URLs"),
        (",http://127.0.0.1:9/a.jpg\n", "1 of 1 rows are unsafe name; the list has no ids"),
        ("", "the list has no rows"),
    ],
)
def test_a_run_that_saved_nothing_says_why(rows: str, said: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "list.csv").write_text(f"image_id,url\n{rows}")
    ran = command("images", "download", tmp_path / "list.csv", "--out", tmp_path / "out", "--workers", "1")
    assert (ran.code, said in ran.err) == (1 if rows else 0, True), ran


@pytest.mark.slow
def test_pictures_of_a_cut_run_are_not_lost_to_another_command(port: int, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    urls = write_csv(tmp_path / "list.csv", *(f"http://127.0.0.1:{port}/good/{number}.jpg" for number in range(6)))
    given = ("images", "download", urls, "--out", out, "--allow-private", "--shard-images", "2")
    assert command(*given, "--workers", "1").code == 0
    digests = {path.name: file_digest(path) for path in out.glob("shard-*")}
    cut_after_two_parts(out)
    for other in (
        ("images", "ingest", samples.photographs(), "--out", out),
        (*given, "--max-pixels", "1000000"),
        (*given, "--short-edge", "64"),
    ):
        ran = command(*other)
        assert ran.code == 2
        assert "2 finished parts of an interrupted run with another" in ran.err
    assert command(*given, "--workers", "1").code == 0
    assert {path.name: file_digest(path) for path in out.glob("shard-*")} == digests


@pytest.mark.slow
def test_digests_that_are_none_are_noted_and_counted(port: int, tmp_path: Path, command: Command) -> None:
    address = f"http://127.0.0.1:{port}/good/1.jpg"
    (tmp_path / "list.csv").write_text(f"image_id,url,md5,size\na,{address},zzzz,-3\nb,{address},,\n")
    options = ("--out", tmp_path / "out", "--allow-private", "--workers", "1")
    ran = command("images", "download", tmp_path / "list.csv", *options)
    assert "1 rows have an md5, size or Rotation that cannot be read" in ran.err
    details = read_table(tmp_path / "out" / "part-00000.parquet", IMAGES)["detail"].to_pylist()
    assert details == ["not used, unreadable in the list: md5 'zzzz', size '-3'", ""]


def test_a_list_that_is_not_there_is_one_sentence(tmp_path: Path, command: Command) -> None:
    ran = command("images", "download", tmp_path / "none.csv", "--out", tmp_path / "out")
    assert (ran.code, "there is no such file" in ran.err) == (2, True)


def test_progress_is_one_line() -> None:
    snapshot = Snapshot(1000, 100, {"saved": 300, "http_error": 100}, 80_000_000, 20.0, (HostTrouble("a:80", 7, 2),))
    assert str(snapshot) == (
        "500 of 1,000 rows, 20 rows/s, 4.0 MB/s, 25 s left, saved 300, http error 100, a:80: 7 troubles"
    )
    assert "unknown time left" in str(Snapshot(10, 0, {}, 0, 0.0, ()))
