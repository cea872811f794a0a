"""Files of every further reader, damaged: class lists, lists of pictures, records, result files, pictures, stores.

Sources of annotations are damaged by `tests/sources/test_fuzz.py`. `MLIMAGES_FUZZED_FILES=10000` makes so many of each.
"""

from __future__ import annotations

import functools
import io
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.check import Limits, inspect
from mlimages_dataset.images.content_encodings import without_encodings
from mlimages_dataset.images.lists import ImageList
from mlimages_dataset.images.registry import KINDS, open_store
from mlimages_dataset.images.tfrecords import masked_crc, tfrecord_members
from mlimages_dataset.sources.class_lists import (
    parse_class_table,
    parse_imagenet_synsets,
    parse_open_images_classes,
    parse_release_status,
    parse_tencent_dictionary,
)
from mlimages_dataset.sources.detection_rows import DETECTIONS, IMAGE_LABELS, TRUE_BOXES, read_rows
from mlimages_dataset.sources.label_maps import png_of, read_label_map
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.sources.voc_results import read_image_set, read_results
from tests.adversary.hostile import FILES, check_told
from tests.images.folders import image_folder, picture
from tests.images.foreign_folders import image_table, tar_folder, write_parquet
from tests.sources.test_fuzz import damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


N_FILES = FILES if FILES > 80 else FILES // 4


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: its suffix, the content of a valid one, and what reads it."""

    suffix: str
    content: bytes
    read: Callable[[Path], object]


def _lines(parse: Callable[[Iterable[str], str], object]) -> Callable[[Path], object]:
    return lambda path: parse(path.read_text(errors="replace").splitlines(), str(path))


def _list(path: Path) -> None:
    images = ImageList([path])
    assert sum(map(len, images.slices(2))) == images.rows


def _results(path: Path) -> None:
    list(read_results("dog", path, RejectLog()))


def _members(path: Path) -> None:
    for member in tfrecord_members(path, class_ids=("n01440764",)):
        member.content()


def _body(path: Path) -> None:
    for encoding in ("gzip", "deflate", "br", "zstd"):
        try:
            without_encodings(path.read_bytes(), [encoding], 1 << 20)
        except Refused:
            continue


def _record(content: bytes) -> bytes:
    size = struct.pack("<Q", len(content))
    return size + struct.pack("<I", masked_crc(size)) + content + struct.pack("<I", masked_crc(content))


def _picture(form: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (24, 16), (1, 2, 3)).save(sink, form)
    return sink.getvalue()


ROWS = b"ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf,Score\na,/m/1,1,0.1,0.5,0.1,0.5,0,0.5\n" * 2
LABELS = b"ImageID,LabelName,Confidence\na,/m/1,1\n" * 2
EXAMPLE = b"\n\x1d\n\x1b\n\x05image\x12\x12\n\x10\n\x0e\xff\xd8picture\xff\xd9\0\0\0"
DICTIONARY = b"category_index\tcategory_id\tindex_of_parent_category\tcategory name\n"
DICTIONARY += b"0\tn02084071\t-1\tdog\n1\tn02121808\t0\tcat\n"
LIST = b"image_id,url,md5,size\na,http://a.org/1.jpg,,3\nb,http://a.org/2.jpg,x,y\n"
LABEL_MAP = png_of(np.arange(12, dtype=np.uint8).reshape(3, 4))
READERS = {
    "imagenet synsets": Kind(".txt", b"n02084071 dog, domestic dog\nn02121808\n", _lines(parse_imagenet_synsets)),
    "open images classes": Kind(".csv", b'/m/0bt9lr,Dog\n/m/01yrx,"Cat, or so"\n', _lines(parse_open_images_classes)),
    "class table": Kind(".csv", b"id,name,wnid,parent\n1,dog,n02084071,\n2,cat,,1\n", _lines(parse_class_table)),
    "tencent dictionary": Kind(".txt", DICTIONARY, _lines(parse_tencent_dictionary)),
    "release status": Kind(
        ".xml",
        b"<r><synset wnid='n1' numImages='3'/></r>",
        lambda path: parse_release_status(path.read_text(errors="replace"), str(path)),
    ),
    "list of pictures": Kind(".csv", LIST, _list),
    "records": Kind(".tfrecord", _record(EXAMPLE) * 2, _members),
    "true boxes": Kind(".csv", ROWS, lambda path: read_rows(path, TRUE_BOXES)),
    "labels of images": Kind(".csv", LABELS, lambda path: read_rows(path, IMAGE_LABELS)),
    "detections": Kind(".csv", ROWS, lambda path: read_rows(path, DETECTIONS)),
    "image set": Kind(".txt", b"2007_000001\n2007_000002 1\n", read_image_set),
    "results": Kind(".txt", b"2007_1 0.5 1 2 3 4\n2007_2 0.25 1 2 3.5 4\n", _results),
    "label map": Kind(".png", LABEL_MAP, lambda path: read_label_map(path, 21)),
    "encoded body": Kind(".bin", b"\x1f\x8b\x08" + bytes(20), _body),
    **{
        f"picture {form}": Kind(".bin", _picture(form), lambda path: inspect(path.read_bytes(), Limits()))
        for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
    },
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    kind = READERS[name]
    path = tmp_path / f"given{kind.suffix}"
    path.write_bytes(kind.content)
    kind.read(path)
    for number in range(N_FILES):
        path.write_bytes(damaged(kind.content, np.random.default_rng([len(name), number])))
        check_told(functools.partial(kind.read, path), path, tmp_path / f"{number}{kind.suffix}")


PICTURES = {f"a/{number}": picture(number) for number in range(3)}
STORES: dict[str, Callable[[Path], object]] = {
    "ImageIndex": lambda folder: image_folder(folder, [dict(PICTURES), {"b": None}]),
    "TarStore": lambda folder: tar_folder(
        folder, {"0.tar": {f"{k}.jpg": one for k, one in enumerate(PICTURES.values())}}
    ),
    "ParquetStore": lambda folder: write_parquet(
        folder / "0.parquet", image_table([{"bytes": one, "path": None} for one in PICTURES.values()])
    ),
    "FileStore": lambda folder: _written(folder / "1.jpg", picture(1)),
}


def _written(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _read_store(folder: Path) -> None:
    store = open_store(folder)
    for k in range(len(store)):
        store.place(k)
        store.read(k)
    list(store.read_many(np.arange(len(store))))
    store.finder().find(pa.array(["a/1", "1"]), pa.array(["", ""]))


def test_every_kind_of_store_has_an_adversary() -> None:
    assert sorted(STORES) == sorted(kind.__name__ for kind in KINDS)


@pytest.mark.parametrize("name", STORES)
def test_a_damaged_store_is_read_or_refused_with_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(N_FILES):
        generator = np.random.default_rng([len(name), number])
        with tempfile.TemporaryDirectory(dir=tmp_path) as given:
            monkeypatch.setenv("XDG_CACHE_HOME", f"{given}/cache")
            folder = Path(given) / "images"
            STORES[name](folder)
            if not number:
                _read_store(folder)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            path = files[generator.integers(len(files))]
            path.write_bytes(damaged(path.read_bytes(), generator))
            check_told(functools.partial(_read_store, folder), path, tmp_path / f"{number}-{path.name}")
