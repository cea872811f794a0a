"""Pictures with label maps, for segmentation: the class of every pixel, as the value of an indexed PNG.

Legend: B samples, H/W pixels of a stored picture, S side of a training image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.file_store import FileStore
from mlimages_dataset.loaders.batch import ImageBatch, common_fields, one_batch
from mlimages_dataset.loaders.catalogue import open_catalogue
from mlimages_dataset.loaders.catalogue.opening import cached_folder
from mlimages_dataset.loaders.dataset import CataloguedImages, ImageSample
from mlimages_dataset.loaders.decoding import decode, read_header
from mlimages_dataset.loaders.geometry import Box, resize
from mlimages_dataset.loaders.transforms import to_unit_range
from mlimages_dataset.sources.label_maps import IGNORED, read_label_map
from mlimages_dataset.sources.voc_results import read_image_set
from mlimages_dataset.tables.label_columns import LabelColumns, array_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import LABELS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from mlimages_dataset.core.locations import Location

FORMAT = "label maps 1"
_SOURCE = "label-maps"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapTransform:
    """Makes training images of one size, or evaluation images at the size at which they are stored.

    Attributes:
        image_size: S.
        scales: smallest and largest scale drawn, before a square is cut out; the rest of a square is not judged.
        whole: in training, resize whole pictures to the square instead.
        flip: probability of exchanging left and right.
        training: whether views are drawn; if not, pictures keep their size.
    """

    image_size: int = 513
    scales: tuple[float, float] = (0.5, 1.5)
    whole: bool = False
    flip: float = 0.0
    training: bool = False

    def __call__(self, content: bytes, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a picture's planes without its map, uint8, shape (3, H, W)."""
        del rng
        return np.ascontiguousarray(decode(content, read_header(content)).transpose(2, 0, 1))

    def with_map(
        self, content: bytes, label_map: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a picture's planes, uint8, shape (3, H, W), and its map; in training both of one square view.

        Raises:
            DataError: the bytes are not a picture, or the map has another size.
        """
        pixels = decode(content, read_header(content))
        if pixels.shape[:2] != label_map.shape:
            (height, width), of_map = pixels.shape[:2], label_map.shape
            raise DataError(
                f"its label map has {of_map[1]} x {of_map[0]} pixels, the picture {width} x {height}",
                remedy="use the map of this picture",
            )
        if not self.training:
            return np.ascontiguousarray(pixels.transpose(2, 0, 1)), label_map
        flip = bool(rng.random() < self.flip)
        if self.whole:
            picture, size = Box(0, 0, *label_map.shape), (self.image_size, self.image_size)
            planes = resize(pixels, picture, size, limits=picture, flip=flip)
            return planes, _nearest(label_map, size, flip=flip)
        return self._cut_out(pixels, label_map, rng, flip=flip)

    def _cut_out(
        self, pixels: NDArray[np.uint8], label_map: NDArray[np.uint8], rng: np.random.Generator, *, flip: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return a random square of a randomly scaled picture, padded where the picture ends."""
        scale = rng.uniform(*self.scales)
        height, width = (max(round(side * scale), 1) for side in label_map.shape)
        picture = Box(0, 0, *label_map.shape)
        scaled = resize(pixels, picture, (height, width), limits=picture, flip=flip)
        scaled_map = _nearest(label_map, (height, width), flip=flip)
        size = self.image_size
        top, left = (int(rng.integers(max(side - size, 0) + 1)) for side in (height, width))
        planes = np.full((3, size, size), _GREY, np.uint8)
        square = np.full((size, size), IGNORED, np.uint8)
        cut = (slice(top, top + size), slice(left, left + size))
        rows, columns = scaled_map[cut].shape
        planes[:, :rows, :columns] = scaled[:, *cut]
        square[:rows, :columns] = scaled_map[cut]
        return planes, square

    def finish(self, images: Tensor) -> Tensor:
        """Return a batch of planes as float32 in [-1, 1], of the same shape and on the same device."""
        return to_unit_range(images)

    def at_size(self, image_size: int) -> Self:
        """Return the same transform with another side."""
        return dataclasses.replace(self, image_size=image_size)


_GREY = 128


def _nearest(label_map: NDArray[np.uint8], size: tuple[int, int], *, flip: bool) -> NDArray[np.uint8]:
    """Return a map resized by the value of the nearest pixel."""
    rows, columns = (
        ((np.arange(n) + 0.5) * side / n).astype(np.int64) for n, side in zip(size, label_map.shape, strict=True)
    )
    resized: NDArray[np.uint8] = label_map[rows[:, None], columns[::-1] if flip else columns]
    return resized


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSample(ImageSample):
    """One picture and its label map, uint8, of the size of the view, or in evaluation of the stored picture."""

    label_map: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapBatch(ImageBatch):
    """B samples with label maps; images and maps are padded at the right and at the bottom.

    Attributes:
        sizes: height and width of each image without its padding, int64, shape (B, 2).
        maps: uint8, shape (B, height, width); 255 where nothing is judged, as in the padding.
        map_sizes: height and width of each map without its padding, int64, shape (B, 2).
    """

    sizes: Tensor
    maps: Tensor
    map_sizes: Tensor


def collate_maps(samples: Sequence[MapSample]) -> MapBatch:
    """Return the batch of some samples, for `DataLoader(collate_fn=...)`."""
    images, sizes = one_batch([sample.image for sample in samples])
    map_sizes = torch.tensor([sample.label_map.shape for sample in samples])
    maps = torch.full((len(samples), *map_sizes.amax(0).tolist()), IGNORED, dtype=torch.uint8)
    for one, sample in zip(maps, samples, strict=True):
        height, width = sample.label_map.shape
        one[:height, :width] = torch.from_numpy(np.array(sample.label_map))
    return MapBatch(images=images, sizes=sizes, maps=maps, map_sizes=map_sizes, **common_fields(samples))


class MappedImages(CataloguedImages[MapSample, MapBatch]):
    """The pictures of image folders that have a label map.

    Args:
        images: a folder that `mlimages-build images` wrote, or a folder of image files.
        maps: a folder of maps as indexed PNGs whose names are the pictures'; or a text file that lists pictures, one
            name a line, whose maps lie in the folder that `map_folder` finds.
        n_classes: C.
        transform: decodes and cuts out.
        seed: of the random draws of samples.
        cache: the folder for the catalogue; None for the user's cache.

    Raises:
        UsageError, DataError: as `open_catalogue`; or a listed picture has no map, or a map is damaged.
    """

    def __init__(
        self,
        images: Location,
        maps: Location,
        *,
        n_classes: int,
        transform: MapTransform,
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        self._store = _store_of(maps)
        self._ids = [self._store.image_id(k) for k in range(len(self._store))]
        made_of = [FORMAT, n_classes, self._store.digest, self._ids]
        folder = cached_folder("maps", made_of, cache, lambda made: _write_classes(made, self._store, n_classes))
        super().__init__(open_catalogue([images], folder, n_classes=n_classes, cache=cache), seed)
        self._number = {image_id: k for k, image_id in enumerate(self._ids)}
        self._refuse_missing(images)
        self.transform = transform

    def _refuse_missing(self, images: Location) -> None:
        """Raise `DataError` if a listed picture is not there."""
        if len(self) == len(self._ids):
            return
        there = {self.catalogue.image_id(row) for row in range(len(self))}
        first, *others = [image_id for image_id in self._ids if image_id not in there]
        more = f" and {len(others):,} more" if others else ""
        raise DataError(
            f"has no picture {first}{more}, for which there is a label map",
            where=images,
            remedy="name the folder of the pictures, or list only those that are there",
        )

    def make(self, row: int, content: bytes, rng: np.random.Generator, common: dict[str, Any]) -> MapSample:
        """See `CataloguedImages`."""
        number = self._number[self.catalogue.image_id(row)]
        label_map = read_label_map(self._store.place(number).path, self.n_classes)
        planes, seen = self.transform.with_map(content, label_map, rng)
        return MapSample(image=planes, label_map=seen, **common)

    @staticmethod
    def collate(samples: Sequence[MapSample]) -> MapBatch:
        """See `CataloguedImages`."""
        return collate_maps(samples)

    def finish(self, images: Tensor) -> Tensor:
        """See `CataloguedImages`."""
        return self.transform.finish(images)


MAP_FOLDERS = ("maps", "SegmentationClassAug", "SegmentationClass")


def map_folder(listed: Location) -> Location:
    """Return the folder of maps beside a list of pictures, or up to two folders above it as in VOC's own tree.

    Raises:
        UsageError: there is none.
    """
    above = listed.absolute().parent
    for folder in (above, above.parent, above.parent.parent):
        for name in MAP_FOLDERS:
            if (folder / name).is_dir():
                return folder / name
    raise UsageError(
        "there is no folder of label maps beside it",
        where=listed,
        remedy=f"put it beside a folder called {' or '.join(MAP_FOLDERS)}, or name the folder itself",
    )


def _store_of(maps: Location) -> FileStore:
    """Return the label maps of a folder, or those that a file lists.

    Raises:
        UsageError: there are none.
        DataError: a listed one is missing or listed twice, or the file lists none or is no text.
    """
    if maps.is_dir():
        store = FileStore.open(maps)
        if not len(store):
            raise UsageError("holds no label map", where=maps, remedy="name a folder of indexed PNGs")
        return store
    if not maps.is_file():
        raise UsageError("there is no such file or folder", where=maps, remedy="name a folder of label maps, or a list")
    names = read_image_set(maps)
    folder = map_folder(maps)
    missing = [name for name in names if not (folder / f"{name}.png").is_file()]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise DataError(
            f"there is no label map of {missing[0]}{more}", where=folder, remedy=f"list only those in it in {maps.name}"
        )
    return FileStore.of(folder, [f"{name}.png" for name in names])


def _write_classes(folder: Path, store: FileStore, n_classes: int) -> None:
    """Write the classes of each map as a `labels` table, for the catalogue and for samplers by class.

    Raises:
        DataError: a map is damaged, or has a value that is no class.
    """
    ids = [store.image_id(k) for k in range(len(store))]
    values = (np.unique(read_label_map(store.place(k).path, n_classes)) for k in range(len(store)))
    classes = [found[found != IGNORED].astype(np.int32) for found in values]
    index = np.concatenate(classes)
    offsets = np.cumsum([0, *(len(one) for one in classes)]).astype(np.int32)
    sure, original = np.ones(len(index), np.float32), np.full(len(index), Origin.ORIGINAL, np.uint8)
    labels = array_of(LabelColumns(offsets, index, sure, original))
    rows = pa.table(
        [pa.array(ids, pa.string()), pa.repeat(_SOURCE, len(ids)), pa.repeat("", len(ids)), labels],
        schema=LABELS.arrow,
    )
    write_table(folder / "part-00000.parquet", rows, LABELS, {})
