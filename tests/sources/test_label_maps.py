"""Label maps are read as the indices that were written, in any form that holds indices; nothing else is one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.sources.label_maps import VOC_CLASSES, png_of, read_label_map, sbd_reader, voc_palette

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

N_CLASSES = len(VOC_CLASSES)
MAPS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.integers(0, N_CLASSES - 1) | st.just(255),
)


def sbd_file(label_map: NDArray[np.generic], name: str = "GTcls", field: str = "Segmentation") -> bytes:
    """Return a file as SBD's authors wrote it: a struct with one element."""
    fields = np.zeros((1, 1), [(one, object) for one in ("Boundaries", field, "CategoriesPresent")])
    fields[0, 0]["Boundaries"] = np.zeros((20, 1))
    fields[0, 0][field] = label_map
    fields[0, 0]["CategoriesPresent"] = np.unique(label_map)
    stream = io.BytesIO()
    scipy.io.savemat(stream, {name: fields}, do_compression=True)  # type: ignore[arg-type]  # a stream is documented
    return stream.getvalue()


@given(label_map=MAPS)
def test_a_map_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, label_map: NDArray[np.uint8]
) -> None:
    folder = tmp_path_factory.mktemp("maps")
    (folder / "palette.png").write_bytes(png_of(label_map))
    Image.fromarray(label_map).save(folder / "grey.png")
    for path in folder.iterdir():
        assert (read_label_map(path, N_CLASSES) == label_map).all()
    with Image.open(folder / "palette.png") as image:
        colours = voc_palette()[label_map]
        assert (np.asarray(image.convert("RGB")) == colours).all(), "as viewers show it"


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palettes_of_few_bits_are_indices_too(tmp_path: Path, bits: int) -> None:
    label_map = np.arange(2**bits, dtype=np.uint8)[None].repeat(3, axis=0)
    image = Image.fromarray(label_map)
    image.putpalette(voc_palette()[::-1].tobytes())  # its colours are not read
    image.save(tmp_path / "a.png", bits=bits)
    assert (read_label_map(tmp_path / "a.png", 16) == label_map).all()


@pytest.fixture(scope="module", name="read_sbd")
def _read_sbd() -> Iterator[Callable[[Path], NDArray[np.uint8]]]:
    with sbd_reader() as read:
        yield read


@given(label_map=MAPS)
def test_maps_of_sbd_are_read_one_after_another(
    tmp_path_factory: pytest.TempPathFactory,
    read_sbd: Callable[[Path], NDArray[np.uint8]],
    label_map: NDArray[np.uint8],
) -> None:
    path = tmp_path_factory.mktemp("sbd") / "a.mat"
    path.write_bytes(sbd_file(label_map))
    assert (read_sbd(path) == label_map).all()


BAD_PNGS: dict[str, tuple[Callable[[], bytes], str]] = {
    "colours": (lambda: _png(Image.new("RGB", (2, 2))), "indices of classes"),
    "sixteen bits": (lambda: _png(Image.new("I;16", (2, 2))), "indices of classes"),
    "black and white": (lambda: _png(Image.new("1", (2, 2))), "indices of classes"),
    "cut": (lambda: png_of(np.arange(99, dtype=np.uint8).reshape(9, 11) % 21)[:-30], "not a complete PNG"),
    "another format": (lambda: _png(Image.new("L", (2, 2)), "JPEG"), "not a complete PNG"),
    "nothing": (lambda: b"", "not a complete PNG"),
    "a class too many": (lambda: png_of(np.array([[0, 1], [20, 21]], np.uint8)), "row 1, column 1 has the class 21"),
}


def _png(image: Image.Image, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize("fault", BAD_PNGS)
def test_a_picture_that_is_no_label_map_is_told(tmp_path: Path, fault: str) -> None:
    content, told = BAD_PNGS[fault]
    (tmp_path / "a.png").write_bytes(content())
    with pytest.raises(DataError, match=told) as caught:
        read_label_map(tmp_path / "a.png", N_CLASSES)
    assert str(tmp_path / "a.png") in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read_label_map(tmp_path / "b.png", N_CLASSES)


def test_a_file_that_is_no_map_of_sbd_is_told(tmp_path: Path, read_sbd: Callable[[Path], NDArray[np.uint8]]) -> None:
    good = sbd_file(np.arange(6, dtype=np.uint8).reshape(2, 3))
    faults = {
        "instances": sbd_file(np.zeros((2, 2), np.uint8), name="GTinst"),
        "other field": sbd_file(np.zeros((2, 2), np.uint8), field="Boundary"),
        "three dimensions": sbd_file(np.zeros((2, 2, 2), np.uint8)),
        "fractions": sbd_file(np.full((2, 2), 0.5)),
        "negative": sbd_file(np.full((2, 2), -1, np.int16)),
        "no MATLAB": b"\x89PNG",
        "empty": b"",
        "cut": good[:-20],
    }
    (tmp_path / "good").write_bytes(good)
    for name, content in faults.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: holds no label map"):
            read_sbd(tmp_path / name)
        assert read_sbd(tmp_path / "good").tolist() == [[0, 1, 2], [3, 4, 5]], "the next file is read nevertheless"
    (tmp_path / "22").write_bytes(sbd_file(np.full((2, 2), 21, np.uint8)))
    with pytest.raises(DataError, match="has the class 21"):
        read_sbd(tmp_path / "22")


@pytest.mark.shared_data
def test_the_palette_is_voc_s_own(shared_data: Path) -> None:
    paths = list((shared_data / "voc" / "SegmentationClass").glob("*.png"))
    maps = [read_label_map(path, N_CLASSES) for path in paths]
    assert any((one == 255).any() for one in maps)
    for path, label_map in zip(paths, maps, strict=True):
        with Image.open(path) as image:
            assert (np.asarray(image.convert("RGB")) == voc_palette()[label_map]).all()
