"""Samples of images in which every category keeps its share: mini-train and mini-val of Peng et al. 2020 (5.1).

Images are put in an order by their rarest category, then the next rarest and so on, and at last by a draw; of that
order every k-th image is taken, for a k that need not be whole (systematic sampling of ordered strata, Cochran 1977,
chapter 8). Of images that follow each other, one sample has its share up to less than one image, and each of several
samples up to less than two. The images of a category that is the rarest of each of them follow each other.

Legend: N images, C categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import is_folder_name
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.parquet import scan_table, table_digests, table_inputs, table_parts, table_writer
from mlimages_dataset.tables.schemas import REGIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace

REGION_SAMPLE = "region-sample"
_RANKS = 4
"""Categories of an image that decide its place, the rarest ones."""


@dataclass(frozen=True, slots=True)
class RegionSampleSummary:
    """The images that were drawn.

    Attributes:
        images: images with a box.
        drawn: images and boxes of each sample, by its name.
        farthest: of each sample the category whose number of images is farthest from its share: class index, images,
            and its share.
    """

    images: int
    drawn: tuple[tuple[str, int, int], ...]
    farthest: tuple[tuple[int, int, float], ...]

    def lines(self) -> list[str]:
        """Return the counts as lines."""
        lines = [f"{self.images:>12,}  images with boxes"]
        for (name, images, regions), (label, found, share) in zip(self.drawn, self.farthest, strict=True):
            lines.append(f"{images:>12,}  images of {name}, with {regions:,} boxes")
            lines.append(f"{'':>12}  farthest from its share: class {label} with {found:,} images, not {share:,.1f}")
        return lines


def shares_kept(
    image: NDArray[np.int64], label: NDArray[np.int64], draws: NDArray[np.uint64], sizes: Sequence[int], seed: int
) -> NDArray[np.int64]:
    """Return the sample of each image, 0, 1, ..., or -1 for none, shape (N,); each sample has exactly its size.

    Args:
        image: the image of each label, 0..N-1, without repeated pairs.
        label: its category.
        draws: a random number of each image, all different, shape (N,).
        sizes: images of each sample.
        seed: of where the first image is taken.

    Raises:
        UsageError: a size is below 1, or there are fewer images than the sizes together.
    """
    n, wanted = len(draws), sum(sizes)
    if min(sizes, default=0) < 1 or wanted > n:
        raise UsageError(
            f"samples of {', '.join(map(str, sizes)) or 'no'} images from {n:,}",
            remedy=f"ask for 1 image or more in each, and {n:,} at most in all",
        )
    order = _by_rarest(image, label, draws)
    rng = np.random.default_rng(seed)
    found = np.full(n, -1, np.int64)
    left = order[_every(n, wanted, rng)]
    for number, size in enumerate(sizes):
        chosen = _every(len(left), size, rng)
        found[left[chosen]] = number
        left = left[~chosen]
    return found


def _by_rarest(image: NDArray[np.int64], label: NDArray[np.int64], draws: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return images by the ranks of their rarest categories, then by draw, shape (N,)."""
    counts = np.bincount(label)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    by_image = np.lexsort((rank[label], image))
    images, ranks = image[by_image], rank[label][by_image]
    place = np.arange(len(images)) - np.searchsorted(images, images)  # of a label among those of its image
    keys = np.full((_RANKS, len(draws)), len(counts))
    near = place < _RANKS
    keys[place[near], images[near]] = ranks[near]
    return np.lexsort((draws, *keys[::-1]))


def _every(n: int, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which of n things in an order are taken so that `size` of them are, evenly, shape (n,)."""
    steps = (np.arange(n + 1) * size + int(rng.integers(n))) // n
    return np.diff(steps) > 0


def region_sample_stage(
    regions: Location, sizes: Sequence[tuple[str, int]], *, seed: int = 0
) -> Stage[RegionSampleSummary]:
    """Return the stage that draws samples of the images of a `regions` table; its work writes a folder for each.

    Args:
        regions: a folder of parts of a `regions` table.
        sizes: name and number of images of each sample; no image is in two.
        seed: another seed draws other images.

    Raises:
        UsageError: there is no table, a name is repeated or is no folder's, or no sample is asked for.
    """
    names = [name for name, _ in sizes]
    for name in names:
        if names.count(name) > 1 or name.startswith(".") or not is_folder_name(name):
            raise UsageError(
                f"{name!r} is twice the name of a sample, or is no name of a folder", remedy="name another"
            )
    if not names:
        raise UsageError("no sample is asked for", remedy="pass a name and a number of images")
    made_with = table_inputs(table_parts(regions)[0])
    vocabulary = {name: digest for name, digest in made_with.items() if name.startswith("vocabulary/")}
    return Stage(
        name=REGION_SAMPLE,
        parameters={"sizes": [list(one) for one in sizes], "seed": seed},
        inputs={**vocabulary, **table_digests("regions", regions)},
        work=lambda at: _sampled(regions, sizes, seed, at),
        summary=RegionSampleSummary,
        folders=tuple(names),
    )


def _sampled(
    regions: Location, sizes: Sequence[tuple[str, int]], seed: int, at: Workplace
) -> StageResult[RegionSampleSummary]:
    names, image, label = _labels_of_images(table_parts(regions))
    if not len(names):
        raise DataError("holds no box of a category", where=regions, remedy="name a table of regions")
    draws = draws_of(names, f"regions {seed}")
    found = shares_kept(image, label, draws, [size for _, size in sizes], seed)
    receipts, drawn, farthest = [], [], []
    for number, (name, size) in enumerate(sizes):
        chosen = names.filter(pa.array(found == number))
        with table_writer(at.out / name / "part-00000.parquet", REGIONS, at.inputs) as writer:
            for part in table_parts(regions):
                for batch in scan_table(part, REGIONS):
                    writer.write(batch.filter(pc.is_in(batch.column("image_id"), chosen)))
        assert writer.receipt is not None
        receipts.append(writer.receipt)
        drawn.append((name, size, writer.rows))
        farthest.append(_farthest(label, found[image] == number, size / len(names)))
    return StageResult(tuple(receipts), RegionSampleSummary(len(names), tuple(drawn), tuple(farthest)))


def _farthest(label: NDArray[np.int64], chosen: NDArray[np.bool_], share: float) -> tuple[int, int, float]:
    wanted = np.bincount(label) * share
    counts = np.bincount(label[chosen], minlength=len(wanted))
    at = int(np.abs(counts - wanted).argmax())
    return at, int(counts[at]), float(wanted[at])


def _labels_of_images(
    parts: Sequence[Location],
) -> tuple[pa.StringArray, NDArray[np.int64], NDArray[np.int64]]:
    """Return the images by ascending id, and the image and the category of each label that people gave, once each."""
    tables = []
    for part in parts:
        for batch in scan_table(part, REGIONS, columns=("image_id", "class_index", "confidence", "origin")):
            stated = pc.and_(
                pc.not_equal(batch.column("origin"), int(Origin.ANCESTOR)), pc.greater(batch.column("confidence"), 0)
            )
            rows = pa.table(batch.select(["image_id", "class_index"]).filter(stated))
            tables.append(rows.group_by(["image_id", "class_index"], use_threads=False).aggregate([]))
    pairs = (
        pa.concat_tables(tables or [REGIONS.arrow.empty_table()])
        .group_by(["image_id", "class_index"], use_threads=False)
        .aggregate([])
    )
    pairs = pairs.sort_by([("image_id", "ascending"), ("class_index", "ascending")]).combine_chunks()
    encoded = pairs["image_id"].combine_chunks().dictionary_encode()
    return (
        encoded.dictionary,
        encoded.indices.to_numpy().astype(np.int64),
        pairs["class_index"].to_numpy().astype(np.int64),
    )
