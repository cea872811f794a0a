"""Masks of VOC and Open Images travel in shards beside their pictures, and come back byte for byte by their names."""

from __future__ import annotations

import io
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.masks import mask_member, mask_of, tag_of
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.shards import member_name
from mlimages_dataset.sources.contract import read_regions
from tests.images.folders import picture
from tests.images.store_contract import check_store
from tests.images.test_archives import tar_of
from tests.images.test_ingest import ingested, rows
from tests.images.test_zips import zip_of
from tests.sources.test_voc import dog, written

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

OF_OPEN_IMAGES = "0123456789abcdef"


def palette(seed: int) -> bytes:
    """Return a palette picture with the value 255, as VOC's masks have it."""
    content = io.BytesIO()
    image = Image.new("P", (40 + seed, 30), seed)
    image.putpalette([value % 256 for value in range(768)])
    image.putpixel((3, 4), 255)
    image.save(content, "PNG")
    return content.getvalue()


FILES = {
    "VOC2012/JPEGImages/a.jpg": picture(0),
    "VOC2012/JPEGImages/b.jpg": picture(1),
    "VOC2012/SegmentationClass/a.png": palette(0),
    "VOC2012/SegmentationObject/a.png": palette(1),
    "VOC2007/JPEGImages/a.png": picture(2, form="PNG"),
    "VOC2007/SegmentationClass/a.png": palette(2),
    f"train/{OF_OPEN_IMAGES}.jpg": picture(3),
    f"masks-0/{OF_OPEN_IMAGES}_m0k4j_89abcdef.png": palette(3),
    f"masks-0/{OF_OPEN_IMAGES}_m01g317_00abcdef.png": palette(4),
}
PICTURES = {
    "VOC2012/a": FILES["VOC2012/JPEGImages/a.jpg"],
    "VOC2012/b": FILES["VOC2012/JPEGImages/b.jpg"],
    "VOC2007/a": FILES["VOC2007/JPEGImages/a.png"],
    OF_OPEN_IMAGES: FILES[f"train/{OF_OPEN_IMAGES}.jpg"],
}
MASKS = {
    "VOC2012/a": {"SegmentationClass": palette(0), "SegmentationObject": palette(1)},
    "VOC2007/a": {"SegmentationClass": palette(2)},
    OF_OPEN_IMAGES: {"m0k4j_89abcdef": palette(3), "m01g317_00abcdef": palette(4)},
}


def collection(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_masks_come_back_from_folders_our_shards_and_others(tmp_path: Path) -> None:
    check_store(collection(tmp_path / "in"), PICTURES, tmp_path, MASKS)
    summary = ingested(tmp_path / "out", tmp_path / "in").record.summary
    assert (summary["statuses"], summary["masks"]) == ({"saved": 4, "mask": 5}, 5)
    check_store(tmp_path / "out", PICTURES, tmp_path, MASKS)
    with tarfile.open(tmp_path / "out" / "shard-00000.tar") as tar:
        names = tar.getnames()
    assert names[3:6] == ["VOC2012%2Fa.SegmentationClass.png", "VOC2012%2Fa.SegmentationObject.png", "VOC2012%2Fb.jpg"]
    (tmp_path / "theirs").mkdir()
    shutil.copy(tmp_path / "out" / "shard-00000.tar", tmp_path / "theirs")
    quoted = {name: member_name(name, "") for name in PICTURES}
    check_store(
        tmp_path / "theirs",
        {quoted[name]: content for name, content in PICTURES.items()},
        tmp_path,
        {quoted[name]: masks for name, masks in MASKS.items()},
    )


@pytest.mark.parametrize("kind", ["in.zip", "in.tar"])
def test_masks_come_through_from_archives(tmp_path: Path, kind: str) -> None:
    archive = tmp_path / kind
    archive.write_bytes(zip_of(FILES) if kind == "in.zip" else tar_of(FILES))
    summary = ingested(tmp_path / "out", archive).record.summary
    assert (summary["statuses"], summary["masks"]) == ({"saved": 4, "mask": 5}, 5)
    check_store(tmp_path / "out", PICTURES, tmp_path, MASKS)


def test_a_mask_of_regions_is_found_by_its_name(tmp_path: Path) -> None:
    folder = collection(tmp_path / "in")
    written(folder / "VOC2012", dog(1, 2, 30, 40), stem="Annotations/a")
    header = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
    path = tmp_path / "masks.csv"
    path.write_text(
        f"{header}\n{OF_OPEN_IMAGES}_m0k4j_89abcdef.png,{OF_OPEN_IMAGES},/m/0k4j,89abcdef,0,0.5,0.25,1,0,\n"
    )
    named = [read_regions(*given)[0].to_pylist()[0]["mask"] for given in (("voc", [folder]), ("open-images", [path]))]
    ingested(tmp_path / "out", folder)
    for store in (open_store(folder), open_store(tmp_path / "out")):
        numbers = {image_id: k for k, image_id in enumerate(store.image_ids.to_pylist())}
        assert mask_of(store, numbers["VOC2012/a"], named[0]) == palette(0)
        assert mask_of(store, numbers[OF_OPEN_IMAGES], named[1]) == palette(3)
        with pytest.raises(DataError, match=r"has no mask 'SegmentationClass/b.png' of VOC2012/b; ingest the whole"):
            mask_of(store, numbers["VOC2012/b"], "SegmentationClass/b.png")


def test_a_mask_that_is_no_picture_is_told_and_its_picture_kept(tmp_path: Path) -> None:
    folder = collection(tmp_path / "in")
    (folder / "VOC2012" / "SegmentationClass" / "a.png").write_bytes(palette(0)[:60])
    summary = ingested(tmp_path / "out", folder).record.summary
    assert summary["broken_masks"] == 1
    (row,) = (row for row in rows(tmp_path / "out") if row["image_id"] == "VOC2012/a")
    assert (row["status"], row["detail"]) == ("saved", "a mask that cannot be used: SegmentationClass is broken")
    store = open_store(tmp_path / "out")
    assert list(store.masks(store.image_ids.to_pylist().index("VOC2012/a"))) == ["SegmentationObject"]


def test_a_damaged_shard_does_not_lose_masks_in_silence(tmp_path: Path) -> None:
    ingested(tmp_path / "out", collection(tmp_path / "in"))
    shard = tmp_path / "out" / "shard-00000.tar"
    content = shard.read_bytes()
    store = open_store(tmp_path / "out")
    k = store.image_ids.to_pylist().index("VOC2012/a")
    whole = store.masks(k)
    with tarfile.open(shard) as tar:
        starts = [tar.getmember(f"VOC2012%2Fa.{tag}.png").offset for tag in whole]

    def of_changed(changed: bytes) -> Mapping[str, bytes]:
        shard.write_bytes(changed)
        return open_store(tmp_path / "out").masks(k)

    for start in starts:
        for damage in (b"\xff" * 512, b"x" + content[start + 1 : start + 512]):
            with pytest.raises(DataError, match=r"shard-00000\.tar: is not a complete tar archive \("):
                of_changed(content[:start] + damage + content[start + 512 :])
        for cut in (start, start + 1, start + 511, start + 512 + 7):
            with pytest.raises(DataError, match=r"shard-00000\.tar: ends before"):
                of_changed(content[:cut])


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_masks_in_others_shards_follow_headers_of_any_kind(tmp_path: Path, form: int) -> None:
    """WebDataset's own writer gives each member a time of fractions, which is an extended header."""
    folder = "of a long name/" * 9
    with tarfile.open(tmp_path / "00000.tar", "w", format=form) as tar:
        for name, content in {"a.jpg": picture(0), "a.SegmentationClass.png": palette(0), "b.jpg": picture(1)}.items():
            header = tarfile.TarInfo(folder + name)
            header.size, header.mtime = len(content), 0.5
            tar.addfile(header, io.BytesIO(content))
    store = open_store(tmp_path)
    masks = {store.image_id(k).rpartition("/")[2]: dict(store.masks(k)) for k in range(len(store))}
    assert masks == {"a": {"SegmentationClass": palette(0)}, "b": {}}


@given(image_id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60), n=st.integers(0, 3))
def test_masks_of_any_id_have_names_that_tar_and_their_finder_take(image_id: str, n: int) -> None:
    key = member_name(image_id, "")
    names = ["SegmentationClass/a.png", "SegmentationObject/a.png", f"{OF_OPEN_IMAGES}_m0k4j_89abcdef.png"][:n]
    members = [mask_member(key, tag_of(name)) for name in names]
    assert len({*members}) == n
    assert all(len(one) <= 100 and one.startswith(f"{key}.") for one in members)
