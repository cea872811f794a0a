"""Every row of a list ends with one right status, whatever its host does and however often the program is killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.images import addresses, check, slice_download
from mlimages_dataset.images import resolver as checked_resolver
from mlimages_dataset.images.download import OPEN_IMAGES_MIRROR, chosen_mirrors, download
from mlimages_dataset.images.fetcher import Timeouts
from mlimages_dataset.images.resize import ResizeOptions
from mlimages_dataset.images.shards import ShardReader
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables.files import PARTIAL_PREFIX
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import IMAGES
from tests.images import fault_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.images.progress import Snapshot

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="port", scope="module")
def _port() -> Iterator[int]:
    with fault_server.started() as port:
        yield port


def table_rows(out: Path) -> list[dict[str, object]]:
    """Return all rows of a folder's parts, in order."""
    return [row for part in table_parts(out) for row in read_table(part, IMAGES).to_pylist()]


def shard_digests(out: Path) -> dict[str, str]:
    return {name: one.sha256 for name, one in read_manifest(out).files.items() if name.startswith("shard-")}


def check_all_faults(out: Path, wanted: list[fault_server.Row]) -> None:
    """Check each row's status, and each saved picture's bytes at its place in its shard."""
    found = table_rows(out)
    assert [row["image_id"] for row in found] == [row.image_id for row in wanted]
    wrong = [
        (ours.kind, row["status"], row["detail"])
        for ours, row in zip(wanted, found, strict=True)
        if row["status"] != ours.status
    ]
    assert not wrong, Counter(wrong)
    shards = ShardReader(out)
    for ours, row in zip(wanted, found, strict=True):
        if ours.status is Status.SAVED:
            assert shards.read(row["shard"], row["offset"], row["bytes"]) == ours.content  # type: ignore[arg-type]
        else:
            assert (row["shard"], row["offset"], row["bytes"], row["digest"]) == ("", -1, -1, "")
    assert verify_folder(out) == []
    summary = read_manifest(out).stages["download"].summary
    assert summary["saved"] + summary["failed"] == len(wanted)  # type: ignore[operator]
    assert not list(out.glob(f"{PARTIAL_PREFIX}*")), "nothing is left over"


@pytest.mark.slow
def test_every_fault_ends_in_its_one_status(port: int, tmp_path: Path) -> None:
    wanted = fault_server.rows(2000, port)
    given = fault_server.write_list(tmp_path / "list.parquet", wanted)
    snapshots: list[Snapshot] = []
    download(
        [given],
        tmp_path / "out",
        fault_server.options(),
        resolver=fault_server.LoopbackResolver(),
        report=snapshots.append,
    )
    check_all_faults(tmp_path / "out", wanted)
    assert snapshots[-1].done == snapshots[-1].asked == 2000
    assert snapshots[-1].hosts[0].troubles > 0


@pytest.mark.slow
def test_every_fault_of_twenty_thousand_rows_ends_in_its_one_status(tmp_path: Path) -> None:
    with fault_server.started(10 * fault_server.REQUESTS_A_SECOND) as port:
        wanted = fault_server.rows(20_000, port)
        given = fault_server.write_list(tmp_path / "list.parquet", wanted)
        patient = replace(fault_server.options().policy, timeouts=Timeouts(connect=20.0, read=4.0, total=8.0))
        options = fault_server.options(shard_images=1000, workers=2, policy=patient)
        download([given], tmp_path / "out", options, resolver=fault_server.LoopbackResolver())
    check_all_faults(tmp_path / "out", wanted)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_shards_of_an_undisturbed_one(port: int, tmp_path: Path) -> None:
    kinds = ("good", "hop", "page", "placeholder", "cmyk", "missing", "md5")
    wanted = [fault_server.row(number, kinds[number % len(kinds)], port) for number in range(1500)]
    given = fault_server.write_list(tmp_path / "list.parquet", wanted)
    download([given], tmp_path / "whole", fault_server.options(), resolver=fault_server.LoopbackResolver())
    check_all_faults(tmp_path / "whole", wanted)
    moments = random.Random(4)  # noqa: S311 - moments, not secrets
    out, kills, ends = tmp_path / "cut", 0, 0
    command = [sys.executable, "-m", "tests.images.fault_server", "download", str(given), str(out)]
    for _ in range(30):
        with subprocess.Popen(command, cwd=ROOT) as process:
            try:
                # Long enough to begin, so that some of the kills come while placeholders are taken out of shards.
                assert process.wait(moments.uniform(1.0, 4.0)) == 0
                ends += 1
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        if ends:
            break
    assert kills, "nothing was killed"
    download([given], out, fault_server.options(), resolver=fault_server.LoopbackResolver())
    check_all_faults(out, wanted)
    assert shard_digests(out) == shard_digests(tmp_path / "whole")
    assert len(shard_digests(out)) == 15


@pytest.mark.slow
def test_a_second_run_does_nothing_and_another_list_is_refused(port: int, tmp_path: Path) -> None:
    given = fault_server.write_list(tmp_path / "list.parquet", [fault_server.row(n, "good", port) for n in range(5)])
    other = fault_server.write_list(tmp_path / "other.parquet", [fault_server.row(n, "good", port) for n in range(6)])
    resolver = fault_server.LoopbackResolver()
    assert download([given], tmp_path / "out", fault_server.options(), resolver=resolver).fresh
    asked = len(resolver.asked)
    assert not download([given], tmp_path / "out", fault_server.options(), resolver=resolver).fresh
    assert not download([given], tmp_path / "out", fault_server.options(), retry="all", resolver=resolver).fresh
    assert len(resolver.asked) == asked
    with pytest.raises(UsageError, match="another build"):
        download([other], tmp_path / "out", fault_server.options(), resolver=resolver)
    with pytest.raises(UsageError, match="another build"):
        download([other], tmp_path / "out", fault_server.options(), retry="all", resolver=resolver)


@pytest.mark.slow
def test_a_retry_asks_only_for_what_failed_and_leaves_the_shards_of_a_luckier_first_run(tmp_path: Path) -> None:
    # Every third address answers 500 the first time it is asked.
    once = replace(fault_server.options().policy, retries=0)
    with fault_server.started() as port:
        wanted = [fault_server.row(n, "flaky" if n % 3 == 0 else "good", port) for n in range(250)]
        given = fault_server.write_list(tmp_path / "list.parquet", wanted)
        unlucky = fault_server.options(policy=once)
        download([given], tmp_path / "out", unlucky, resolver=fault_server.LoopbackResolver())
        first = {row["image_id"]: row["status"] for row in table_rows(tmp_path / "out")}
        assert first == {row.image_id: "http_error" if row.kind == "flaky" else "saved" for row in wanted}
        resolver = fault_server.LoopbackResolver()
        assert not download([given], tmp_path / "out", unlucky, retry="timeouts", resolver=resolver).fresh
        assert download([given], tmp_path / "out", unlucky, retry="failed", resolver=resolver).fresh
        assert set(resolver.asked) == {"flaky.test"}
        check_all_faults(tmp_path / "out", wanted)
        download([given], tmp_path / "lucky", fault_server.options(), resolver=resolver)
    assert shard_digests(tmp_path / "out") == shard_digests(tmp_path / "lucky")


@pytest.mark.slow
@pytest.mark.parametrize("retry", ["", "failed"])
def test_a_finished_folder_is_mended_without_its_good_slices(tmp_path: Path, retry: str) -> None:
    with fault_server.started() as port:
        wanted = [fault_server.row(n, "good", port) for n in range(250)]
        given = fault_server.write_list(tmp_path / "list.parquet", wanted)
        options = fault_server.options(shard_images=100, policy=replace(fault_server.options().policy, retries=0))
        download([given], tmp_path / "out", options, resolver=fault_server.LoopbackResolver())
    before = shard_digests(tmp_path / "out")
    (tmp_path / "out" / "shard-00001.tar").unlink()
    # Its addresses are dead by now.
    mended = download([given], tmp_path / "out", options, retry=retry, resolver=fault_server.LoopbackResolver())
    assert mended.fresh
    assert shard_digests(tmp_path / "out") == {name: before[name] for name in ("shard-00000.tar", "shard-00002.tar")}
    assert Counter(row["status"] for row in table_rows(tmp_path / "out")) == {"saved": 150, "no_connection": 100}
    assert verify_folder(tmp_path / "out") == []


@pytest.mark.slow
def test_a_first_run_that_is_told_to_retry_says_what_it_did(port: int, tmp_path: Path) -> None:
    given = fault_server.write_list(tmp_path / "list.parquet", [fault_server.row(n, "good", port) for n in range(5)])
    resolver = fault_server.LoopbackResolver()
    assert download([given], tmp_path / "out", fault_server.options(), retry="failed", resolver=resolver).fresh


def test_a_spool_that_is_not_there_is_named(port: int, tmp_path: Path) -> None:
    given = fault_server.write_list(tmp_path / "list.parquet", [fault_server.row(0, "good", port)])
    with pytest.raises(UsageError, match="nowhere: cannot be written"):
        download([given], tmp_path / "out", fault_server.options(), spool=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_retry_that_was_cut_goes_on(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [fault_server.row(n, ("good", "missing")[n % 2], port) for n in range(300)]
    given = fault_server.write_list(tmp_path / "list.parquet", wanted)
    out, resolver = tmp_path / "out", fault_server.LoopbackResolver()
    download([given], out, fault_server.options(), resolver=resolver)
    before = shard_digests(out)
    ended = 0

    async def failing(*arguments: Any, **named: Any) -> None:
        nonlocal ended
        ended += 1
        if ended == 2:
            raise UsageError("the disk is full")
        await write(*arguments, **named)

    write = slice_download.record_slice
    monkeypatch.setattr(slice_download, "record_slice", failing)
    with pytest.raises(UsageError, match="the disk is full"):
        download([given], out, fault_server.options(), retry="failed", resolver=resolver)
    monkeypatch.undo()
    assert not read_manifest(out).stages
    assert download([given], out, fault_server.options(), resolver=resolver).fresh
    check_all_faults(out, wanted)
    assert shard_digests(out) == before


@pytest.mark.slow
def test_a_run_that_ends_while_a_slice_takes_its_place_begins_that_slice_anew(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [fault_server.row(n, ("good", "placeholder")[n % 2], port) for n in range(200)]
    given = fault_server.write_list(tmp_path / "list.parquet", wanted)
    resolver, out = fault_server.LoopbackResolver(), tmp_path / "out"
    renamed = 0

    def ending(self: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += "next-" in str(self)
        if renamed == 2:
            raise UsageError("the program ends")
        os.replace(self, target)  # noqa: PTH105 - what Path.replace calls
        return target

    monkeypatch.setattr(Path, "replace", ending)
    with pytest.raises(UsageError, match="the program ends"):
        download([given], out, fault_server.options(), resolver=resolver)
    monkeypatch.undo()
    download([given], out, fault_server.options(), resolver=resolver)
    check_all_faults(out, wanted)


@pytest.mark.slow
def test_one_address_that_a_list_repeats_is_no_placeholder(port: int, tmp_path: Path) -> None:
    wanted = [replace(fault_server.row(0, "good", port), image_id=str(n)) for n in range(3 * fault_server.REPEATS)]
    given = fault_server.write_list(tmp_path / "list.parquet", wanted)
    download([given], tmp_path / "out", fault_server.options(), resolver=fault_server.LoopbackResolver())
    assert {row["status"] for row in table_rows(tmp_path / "out")} == {"saved"}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["http://127.0.0.2:{port}/good/1.jpg", "http://inside.test:{port}/good/1.jpg"])
def test_a_redirect_into_a_private_network_is_refused(
    target: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server's own address passes for a public one; nothing leaves the loopback interface.
    for module in (addresses, checked_resolver):
        monkeypatch.setattr(module, "is_public", lambda address: address == "127.0.0.1")
    inside = target.format(port=port)
    first = replace(fault_server.row(0, "good", port), url=f"http://good.test:{port}/lead/0.jpg?to={inside}")
    direct = replace(fault_server.row(1, "good", port), url=inside)
    public = fault_server.row(2, "good", port)
    given = fault_server.write_list(tmp_path / "list.parquet", [first, direct, public])
    guarded = replace(fault_server.options().policy, allow_private=False)
    resolver = fault_server.LoopbackResolver(inside="127.0.0.2")
    download([given], tmp_path / "out", fault_server.options(policy=guarded), resolver=resolver)
    assert [row["status"] for row in table_rows(tmp_path / "out")] == ["private_address", "private_address", "saved"]


@pytest.mark.slow
def test_mirrors_are_tried_first_and_the_original_is_held_to_its_digest(port: int, tmp_path: Path) -> None:
    mirrored = replace(fault_server.row(7, "other-md5", port), image_id="7")
    original = replace(fault_server.row(8, "md5", port), image_id="none")
    neither = replace(fault_server.row(9, "missing", port), image_id="none-either")
    given = fault_server.write_list(tmp_path / "list.parquet", [mirrored, original, neither])
    mirrors = (f"http://good.test:{port}/{{subset}}/{{image_id}}.jpg", f"http://good.test:{port}/good/{{image_id}}.jpg")
    options = fault_server.options(mirrors=mirrors)
    download([given], tmp_path / "out", options, resolver=fault_server.LoopbackResolver())
    found = table_rows(tmp_path / "out")
    assert [row["status"] for row in found] == ["saved", "saved", "http_error"]
    assert found[2]["detail"] == "404 Not Found (before: http_error: 500 Internal Server Error)"


def test_open_images_lists_get_the_buckets_mirror(tmp_path: Path) -> None:
    table = tmp_path / "images.csv"
    table.write_text("ImageID,Subset,OriginalURL\n0,train,https://example.org/0.jpg\n")
    plain = tmp_path / "plain.csv"
    plain.write_text("image_id,url\n0,https://example.org/0.jpg\n")
    assert chosen_mirrors((), [table]) == (OPEN_IMAGES_MIRROR,) == chosen_mirrors(("open-images",), [plain])
    assert chosen_mirrors((), [plain]) == () == chosen_mirrors(("none",), [table])
    with pytest.raises(UsageError, match="image_id"):
        chosen_mirrors(("https://example.org/",), [plain])


@pytest.mark.slow
def test_pictures_are_made_smaller_when_asked(port: int, tmp_path: Path) -> None:
    wanted = [fault_server.row(n, "good", port) for n in range(3)]
    given = fault_server.write_list(tmp_path / "list.parquet", wanted)
    rules = replace(fault_server.options().rules, resize=ResizeOptions(short_edge=24, quality=80))
    download([given], tmp_path / "out", fault_server.options(rules=rules), resolver=fault_server.LoopbackResolver())
    found = table_rows(tmp_path / "out")
    assert {(row["width"], row["height"]) for row in found} == {(32, 24)}
    content = ShardReader(tmp_path / "out").read(found[1]["shard"], found[1]["offset"], found[1]["bytes"])  # type: ignore[arg-type]
    assert (check.inspect(content).width, check.inspect(content).height) == (32, 24)


def test_without_the_check_a_picture_that_ends_early_is_kept_but_a_page_is_not(port: int, tmp_path: Path) -> None:
    wanted = [fault_server.row(n, kind, port) for n, kind in enumerate(("truncated", "page", "good"))]
    given = fault_server.write_list(tmp_path / "list.parquet", wanted)
    rules = replace(fault_server.options().rules, decode=False)
    download([given], tmp_path / "out", fault_server.options(rules=rules), resolver=fault_server.LoopbackResolver())
    found = table_rows(tmp_path / "out")
    assert [row["status"] for row in found] == ["saved", "not_an_image", "saved"]
    assert found[2]["width"] == 64
