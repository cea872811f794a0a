"""Open Images' image tables: rotated pictures become upright, and thumbnails are a last resort that is told."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.download import DownloadOptions, download
from mlimages_dataset.images.resize import ResizeOptions
from mlimages_dataset.images.shards import ShardReader
from mlimages_dataset.images.verification import verify_images
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import IMAGES
from tests.images import fault_server
from tests.images.exact_server import answer, exact_server
from tests.images.test_orientation import by_pillow, shapes, stating

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.images.download_run import DownloadSummary

HEADER = "ImageID,Subset,OriginalURL,OriginalSize,OriginalMD5,Thumbnail300KURL,Rotation"
PLAIN = stating(1)
THUMBNAIL = stating(1, image=shapes(48, 32))


def options(resize: ResizeOptions | None = None, **changes: Any) -> DownloadOptions:
    return fault_server.options(rules=replace(fault_server.options().rules, resize=resize), **changes)


def downloaded(
    folder: Path, answers: dict[str, bytes], lines: list[str], wanted: DownloadOptions
) -> tuple[DownloadSummary, list[dict[str, Any]]]:
    """Return the summary and the rows of a download; `HOST` in a line is the server."""
    folder.mkdir(exist_ok=True)
    with exact_server({path.encode(): body for path, body in answers.items()}) as server:
        text = "\n".join([HEADER, *lines, ""]).replace("HOST", f"http://127.0.0.1:{server.port}")
        (folder / "list.csv").write_text(text)
        outcome = download([folder / "list.csv"], folder / "out", wanted)
    rows: list[dict[str, Any]] = read_table(folder / "out" / "part-00000.parquet", IMAGES).to_pylist()
    return outcome.summary, rows


def pixels(folder: Path, row: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    content = ShardReader(folder / "out").read(row["shard"], row["offset"], row["bytes"])
    image = Image.open(io.BytesIO(content))
    assert (row["width"], row["height"]) == image.size
    return np.asarray(image)


ROTATED = [
    f"{turn or 'none'},train,HOST/{turn or 'none'}.jpg,,,,{turn}" for turn in ("0.0", "90.0", "180.0", "270.0", "")
]


@pytest.mark.slow
def test_rotations_are_applied_where_pictures_are_re_encoded(tmp_path: Path) -> None:
    # All of them also have an orientation of EXIF, which only counts where the list states nothing.
    answers = {f"/{line.partition(',')[0]}.jpg": answer(stating(3)) for line in ROTATED}
    with Image.open(io.BytesIO(stating(3))) as image:
        stored = np.asarray(image)
    for resize in (ResizeOptions(upright=True, quality=95), ResizeOptions(short_edge=63, quality=95)):
        folder = tmp_path / str(resize.short_edge)
        summary, rows = downloaded(folder, answers, ROTATED, options(resize, mirrors=()))
        assert summary.turned == 4
        for row, turns in zip(rows, (0, 1, 2, 3, 2), strict=True):
            expected = np.rot90(stored, turns)
            found = pixels(folder, row)
            if resize.short_edge:
                assert min(found.shape[:2]) == 63
                expected = np.asarray(Image.fromarray(expected).resize(found.shape[1::-1], Image.Resampling.LANCZOS))
            assert np.abs(found.astype(float) - expected).mean() < 4, row
        assert [row["detail"] for row in rows][1:] == [
            *(f"turned upright: Rotation {degrees}" for degrees in (90, 180, 270)),
            "turned upright: EXIF orientation 3",
        ]
        assert verify_images(folder / "out") == (5, [])
        assert "           4  of the saved ones were turned upright" in summary.lines()


@pytest.mark.slow
def test_what_is_not_re_encoded_is_kept_and_its_rotation_noted(tmp_path: Path) -> None:
    answers = {"/a.jpg": answer(PLAIN), "/b.jpg": answer(stating(6)), "/c.jpg": answer(PLAIN)}
    lines = ["a,train,HOST/a.jpg,,,,90", "b,train,HOST/b.jpg,,,,nan", "c,train,HOST/c.jpg,,,,45"]
    for number, resize in enumerate((None, ResizeOptions(short_edge=64))):
        summary, rows = downloaded(tmp_path / str(number), answers, lines, options(resize, mirrors=()))
        assert [row["detail"] for row in rows] == [
            "Rotation 90",
            "EXIF orientation 6",
            "not used, unreadable in the list: Rotation '45'",
        ]
        assert {(row["width"], row["height"]) for row in rows} == {(96, 64)}
        assert (summary.turned, summary.unreadable_digests) == (0, 1)
    header_only = replace(fault_server.options(mirrors=()), rules=replace(fault_server.options().rules, decode=False))
    assert [row["detail"] for row in downloaded(tmp_path / "2", answers, lines, header_only)[1]][:2] == [
        "Rotation 90",
        "EXIF orientation 6",
    ]


@pytest.mark.slow
def test_pictures_that_were_turned_and_others_are_never_in_one_folder(tmp_path: Path) -> None:
    answers, lines = {"/a.jpg": answer(stating(6))}, ["a,train,HOST/a.jpg,,,,"]
    wanted = options(ResizeOptions(short_edge=32), mirrors=())
    downloaded(tmp_path, answers, lines, wanted)
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    assert '"upright": "re-encoded"' in manifest
    for other in (ResizeOptions(short_edge=32, upright=True), ResizeOptions(upright=True), None):
        with pytest.raises(UsageError):
            download([tmp_path / "list.csv"], tmp_path / "out", options(other, mirrors=()))


@pytest.mark.slow
def test_a_thumbnail_is_the_last_resort_and_told(tmp_path: Path) -> None:
    answers = {
        "/good.jpg": answer(PLAIN),
        "/page.jpg": answer(b"<html>"),
        "/no-ai.jpg": answer(PLAIN, X_Robots_Tag="noai"),
        "/other.jpg": answer(stating(1, image=shapes(50, 50))),
        "/small.jpg": answer(THUMBNAIL),
    }
    lines = [
        "good,train,HOST/good.jpg,,,HOST/small.jpg,",
        "gone,train,HOST/gone.jpg,,,HOST/small.jpg,90.0",
        f"page,train,HOST/page.jpg,{len(PLAIN)},,HOST/small.jpg,",
        "opted-out,train,HOST/no-ai.jpg,,,HOST/small.jpg,",
        "other,train,HOST/other.jpg,7,,HOST/small.jpg,",
        "neither,train,HOST/gone.jpg,,,HOST/none.jpg,",
        "without,train,HOST/gone.jpg,,,,",
        "only,train,,,,HOST/small.jpg,",
    ]
    wanted = options(ResizeOptions(upright=True), mirrors=(), thumbnails=True)
    summary, rows = downloaded(tmp_path, answers, lines, wanted)
    assert [(row["image_id"], row["status"], row["detail"]) for row in rows] == [
        ("good", "saved", ""),
        # Not turned: thumbnails were made upright.
        ("gone", "saved", "a thumbnail (before: http_error: 404 Not Found)"),
        ("page", "saved", "a thumbnail (before: not_an_image: a web page)"),
        ("opted-out", "opted_out", "X-Robots-Tag: noai"),
        ("other", "wrong_digest", f"{len(stating(1, image=shapes(50, 50))):,} bytes, published as 7"),
        ("neither", "http_error", "404 Not Found (before: http_error: 404 Not Found)"),
        ("without", "http_error", "404 Not Found"),
        ("only", "saved", "a thumbnail (before: bad_address: empty)"),
    ]
    assert (summary.thumbnails, summary.turned, summary.saved) == (3, 0, 4)
    assert "           3  of the saved ones are thumbnails" in summary.lines()
    np.testing.assert_array_equal(pixels(tmp_path, rows[1]), by_pillow(THUMBNAIL))
    assert inspect(THUMBNAIL).width == rows[1]["width"]


def test_thumbnails_are_not_asked_for_by_default_and_need_their_column(tmp_path: Path) -> None:
    answers, lines = {"/small.jpg": answer(THUMBNAIL)}, ["gone,train,HOST/gone.jpg,,,HOST/small.jpg,"]
    _, rows = downloaded(tmp_path, answers, lines, options(mirrors=()))
    assert rows[0]["status"] == "http_error"
    (tmp_path / "plain.csv").write_text("image_id,url\na,http://127.0.0.1/a.jpg\n")
    with pytest.raises(UsageError, match="no column Thumbnail300KURL"):
        download([tmp_path / "plain.csv"], tmp_path / "other", options(thumbnails=True))
