"""Whole loaders side by side: the same JPEGs, from files to batches of random crops, by ours and by installed peers.

    python -m tests.benchmarks.loader_peers [--images DIR] [--sides 1024,500] [--workers 1] [--repeat 3] [--only NAME]

    pip install nvidia-dali-cuda120 spdl ffcv litdata mosaicml-streaming grain webdataset    # the peers, all on the CPU

Each loader stores the pictures as its documentation says (JPEGs as they are; none decodes beforehand), decodes, crops
(area 5 to 100 %, aspect 3/4 to 4/3), resizes to 224 pixels, mirrors half of them, and delivers shuffled batches of
uint8. Loaders without pixel operations of their own use those of their documentation: Pillow's and torchvision's. Each
runs in a process of its own, in turn; its first epoch is not counted. Processor time is that of all its processes:
what other programs on the machine change least.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

from mlimages_dataset.loaders import Loader, MLImages
from mlimages_dataset.loaders.samplers import ShuffledSampler
from mlimages_dataset.loaders.transforms import TrainTransform, draw_box
from mlimages_dataset.samples import photographs
from tests.benchmarks.loader_scaling import cpu_seconds, data_set
from tests.benchmarks.measurement import machine
from tests.benchmarks.transform_speed import QUALITY, SHARED_IMAGES, ratio, stored

SIZE = 224
AREA, ASPECT = (0.05, 1.0), (3 / 4, 4 / 3)
BATCH = 64
N_IMAGES = 1024
"""Images of an epoch: the pictures, repeated."""
Epoch = Callable[[], Iterator[int]]
"""An epoch of a loader: yields the number of images of each batch."""


def _batches(loader: Any, images_of: Callable[[Any], Any]) -> Epoch:
    def epoch() -> Iterator[int]:
        for batch in loader:
            images = images_of(batch)
            assert images.dtype in {torch.uint8, np.dtype(np.uint8)}
            yield len(images)

    return epoch


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "files").rglob("*.jpg"))


def _cropped() -> v2.Compose:
    """Return the pixel operations from an image of Pillow on, as torchvision's documentation begins its recipes."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, AREA, ASPECT, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.PILToTensor(),
        ]
    )


def ours(folder: Path, workers: int) -> Epoch:
    """Shards, a catalogue, and `Loader`."""
    data: MLImages = data_set(folder / "files", folder / "ours")
    data.transform = TrainTransform(image_size=SIZE, area=AREA, aspect=ASPECT, rotate=0, shift=0)
    loader = Loader(
        data, ShuffledSampler(data, world=1, rank=0), batch_size=BATCH, workers=workers, persistent_workers=True
    )
    return _batches(loader, lambda batch: batch.images)


def torchvision(folder: Path, workers: int) -> Epoch:
    """`ImageFolder` and PyTorch's `DataLoader`."""
    datasets = importlib.import_module("torchvision.datasets")
    data = datasets.ImageFolder(folder / "files", _cropped())
    loader = _torch_loader(data, workers, shuffle=True)
    return _batches(loader, lambda batch: batch[0])


def _torch_loader(data: Any, workers: int, **options: Any) -> Any:
    return torch.utils.data.DataLoader(data, BATCH, num_workers=workers, persistent_workers=workers > 0, **options)


def dali(folder: Path, workers: int) -> Epoch:
    """A pipeline that decodes only the crop, on the CPU: https://docs.nvidia.com/deeplearning/dali (ImageNet)."""
    fn, types = (importlib.import_module(f"nvidia.dali.{name}") for name in ("fn", "types"))
    pipeline_def = importlib.import_module("nvidia.dali").pipeline_def
    iterators = importlib.import_module("nvidia.dali.plugin.pytorch")

    @pipeline_def(batch_size=BATCH, num_threads=workers, device_id=None)  # type: ignore[untyped-decorator]  # of DALI
    def pipeline() -> Any:
        content, label = fn.readers.file(file_root=str(folder / "files"), random_shuffle=True, name="reader")
        images = fn.decoders.image_random_crop(content, random_area=AREA, random_aspect_ratio=ASPECT, device="cpu")
        images = fn.resize(images, resize_x=SIZE, resize_y=SIZE, interp_type=types.INTERP_TRIANGULAR)
        return fn.flip(images, horizontal=fn.random.coin_flip(probability=0.5)), label

    built = pipeline()
    built.build()
    loader = iterators.DALIGenericIterator(
        [built], ["images", "label"], reader_name="reader", auto_reset=True,
        last_batch_policy=iterators.LastBatchPolicy.PARTIAL,
    )  # fmt: skip
    return _batches(loader, lambda batch: batch[0]["images"])


def spdl(folder: Path, workers: int) -> Epoch:
    """Threads that let FFmpeg decode, crop, resize and mirror: https://facebookresearch.github.io/spdl."""
    sio, pipelines = importlib.import_module("spdl.io"), importlib.import_module("spdl.pipeline")
    rng = np.random.default_rng(0)
    paths = [str(path) for path in _files(folder)]

    def frames(path: str) -> Any:
        with Image.open(path) as image:  # reads the header
            box = draw_box(rng, image.height, image.width, AREA, ASPECT)
        flip = ",hflip" if rng.random() < 0.5 else ""
        crop = f"crop={box.width:.0f}:{box.height:.0f}:{box.left:.0f}:{box.top:.0f}:exact=1"
        steps = f"{crop},scale={SIZE}:{SIZE}{flip},format=pix_fmts=rgb24"
        return sio.decode_packets(sio.demux_image(path), filter_desc=steps)

    def batch(several: list[Any]) -> Any:
        return sio.to_torch(sio.convert_frames(several))

    def epoch() -> Iterator[int]:
        shuffled = [paths[at] for at in rng.permutation(len(paths))]
        builder = pipelines.PipelineBuilder().add_source(shuffled).pipe(frames, concurrency=workers)
        pipeline = builder.aggregate(BATCH).pipe(batch).add_sink(4).build(num_threads=workers)
        with pipeline.auto_stop():
            for images in pipeline:
                assert images.dtype == torch.uint8
                yield len(images)

    return epoch


def ffcv(folder: Path, workers: int) -> Epoch:
    """One file of JPEGs encoded again, threads, and compiled loops: https://docs.ffcv.io."""
    writer, fields, transforms = (
        importlib.import_module(f"ffcv.{name}") for name in ("writer", "fields", "transforms")
    )
    loaders, rgb = importlib.import_module("ffcv.loader"), importlib.import_module("ffcv.fields.rgb_image")
    path = str(folder / "images.beton")
    columns = {"image": fields.RGBImageField(write_mode="jpg", jpeg_quality=QUALITY), "label": fields.IntField()}
    datasets = importlib.import_module("torchvision.datasets")
    writer.DatasetWriter(path, columns, num_workers=1).from_indexed_dataset(datasets.ImageFolder(folder / "files"))
    steps = [
        rgb.RandomResizedCropRGBImageDecoder((SIZE, SIZE), AREA, ASPECT),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.ToTorchImage(),
    ]
    random, pipelines = loaders.OrderOption.RANDOM, {"image": steps, "label": None}
    loader = loaders.Loader(
        path, batch_size=BATCH, num_workers=workers, order=random, os_cache=True, drop_last=False, pipelines=pipelines
    )
    return _batches(loader, lambda batch: batch[0])


def webdataset(folder: Path, workers: int) -> Epoch:
    """Tars, decoded by Pillow: https://webdataset.github.io/webdataset."""
    wds = importlib.import_module("webdataset")
    with wds.ShardWriter(str(folder / "wds-%06d.tar"), maxcount=N_IMAGES // 8, verbose=0) as shards:
        for number, path in enumerate(_files(folder)):
            shards.write({"__key__": f"{number:06d}", "jpg": path.read_bytes(), "cls": 0})
    tars = sorted(str(path) for path in folder.glob("wds-*.tar"))
    crop = _cropped()
    data = wds.WebDataset(tars, shardshuffle=len(tars)).shuffle(1000).decode("pil").to_tuple("jpg", "cls")
    loader = _torch_loader(data.map_tuple(crop, int), workers)
    return _batches(loader, lambda batch: batch[0])


def litdata(folder: Path, workers: int) -> Epoch:
    """Chunks with JPEGs as they are, decoded by its own `JPEGSerializer`: https://github.com/Lightning-AI/litData."""
    lit = importlib.import_module("litdata")
    paths = [str(path) for path in _files(folder)]
    lit.optimize(_litdata_sample, paths, str(folder / "litdata"), chunk_bytes="64MB", num_workers=1, verbose=False)
    data = lit.StreamingDataset(str(folder / "litdata"), shuffle=True, transform=_litdata_cropped)
    loader = lit.StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, persistent_workers=True)
    return _batches(loader, lambda batch: batch)


def _litdata_sample(path: str) -> dict[str, object]:
    return {"image": Image.open(path), "label": 0}


def _litdata_cropped(sample: Any) -> Any:
    crop = v2.Compose([v2.RandomResizedCrop(SIZE, AREA, ASPECT, antialias=True), v2.RandomHorizontalFlip(0.5)])
    return crop(sample["image"])


def mosaic(folder: Path, workers: int) -> Epoch:
    """MDS shards with JPEGs as they are, decoded by Pillow: https://docs.mosaicml.com/projects/streaming."""
    streaming = importlib.import_module("streaming")
    with streaming.MDSWriter(out=str(folder / "mds"), columns={"image": "jpeg", "label": "int"}) as shards:
        for path in _files(folder):
            with Image.open(path) as image:
                shards.write({"image": image, "label": 0})
    crop = _cropped()

    class Data(streaming.StreamingDataset):  # type: ignore[misc, name-defined]  # not annotated
        def __getitem__(self, index: Any) -> Any:
            return crop(super().__getitem__(index)["image"])

    data = Data(local=str(folder / "mds"), shuffle=True, batch_size=BATCH)
    return _batches(_torch_loader(data, workers), lambda batch: batch)


def grain(folder: Path, workers: int) -> Epoch:
    """A `MapDataset` over files, with Pillow in processes: https://google-grain.readthedocs.io."""
    library = importlib.import_module("grain")
    paths = [str(path) for path in _files(folder)]
    crop = _cropped()

    def picture(path: str) -> Any:
        with Image.open(io.BytesIO(Path(path).read_bytes())) as image:
            return crop(image.convert("RGB")).numpy()

    # Endless, so that its processes start once.
    data = library.MapDataset.source(paths).shuffle(seed=0).repeat().map(picture).batch(BATCH)
    batches = iter(data.to_iter_dataset().mp_prefetch(library.MultiprocessingOptions(num_workers=workers)))
    return lambda: (len(next(batches)) for _ in range(N_IMAGES // BATCH))


LOADERS: dict[str, tuple[str, Callable[[Path, int], Epoch]]] = {
    "ours": ("mlimages-dataset", ours),
    "torchvision": ("torchvision", torchvision),
    "DALI": ("nvidia-dali-cuda120", dali),
    "SPDL": ("spdl", spdl),
    "FFCV": ("ffcv", ffcv),
    "webdataset": ("webdataset", webdataset),
    "litdata": ("litdata", litdata),
    "mosaicml-streaming": ("mosaicml-streaming", mosaic),
    "grain": ("grain", grain),
}
"""The distribution of each loader and its function."""


def measured(epoch: Epoch) -> tuple[float, float]:
    """Return the seconds and the processor's seconds of an image, after an epoch that is not counted."""
    list(epoch())
    before, start = cpu_seconds(), time.perf_counter()
    n = sum(epoch())
    return (time.perf_counter() - start) / n, (cpu_seconds() - before) / n


def write_files(images: Path, side: int, folder: Path) -> None:
    """Write an epoch's JPEGs into one class's folder, each under several names."""
    contents = stored(images, side)
    (folder / "files" / "0").mkdir(parents=True)
    for number in range(N_IMAGES):
        (folder / "files" / "0" / f"{number:06d}.jpg").write_bytes(contents[number % len(contents)])


def run_alone(name: str, folder: Path, workers: int) -> tuple[float, float] | str:
    """Return what one loader takes, in a process of its own, or why it could not be measured."""
    command = [sys.executable, "-c", _ALONE, name, str(folder), str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
    seconds, cpu = json.loads(done.stdout.splitlines()[-1])
    return seconds, cpu


_ALONE = "import sys; from tests.benchmarks.loader_peers import print_alone; print_alone(*sys.argv[1:])"


def print_alone(name: str, folder: str, workers: str) -> None:
    """Print what one loader takes, as JSON; it writes what it reads beside the folder's files."""
    torch.set_num_threads(1)
    print(json.dumps(measured(LOADERS[name][1](Path(folder), int(workers)))))


@click.command()
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="A folder of JPEGs.")
@click.option("--sides", default="1024,500", show_default=True, help="Long sides in pixels.")
@click.option("--workers", default=1, show_default=True, help="Processes, or threads of loaders that have threads.")
@click.option("--repeat", default=3, show_default=True)
@click.option("--only", type=click.Choice(list(LOADERS)), multiple=True, help="These beside ours.")
def main(images: Path | None, sides: str, workers: int, repeat: int, only: tuple[str, ...]) -> None:
    """Print images/s, processor time and ratios."""
    images = images or (SHARED_IMAGES if SHARED_IMAGES.is_dir() else photographs())
    print(f"{machine()}; {workers} workers")
    names = ["ours", *(name for name in LOADERS if name != "ours" and (not only or name in only))]
    for side in map(int, sides.split(",")):
        taken: dict[str, list[tuple[float, float]]] = {}
        failed: dict[str, str] = {}
        for _ in range(repeat):
            with tempfile.TemporaryDirectory() as folder:
                write_files(images, side, Path(folder))
                for name in (one for one in names if one not in failed):
                    outcome = run_alone(name, Path(folder), workers)
                    if isinstance(outcome, str):
                        failed[name] = outcome
                    else:
                        taken.setdefault(name, []).append(outcome)
        print_table(side, taken, failed)


def print_table(side: int, taken: dict[str, list[tuple[float, float]]], failed: dict[str, str]) -> None:
    """Print each loader's medians and the ratios to ours, of the same repetition."""
    print(f"\n| {side} px | images/s | processor time of an image | ours / theirs | time, ours / theirs |")
    print("|---|---:|---:|---:|---:|")
    own_seconds, own_cpu = zip(*taken["ours"], strict=True)
    for name, outcomes in taken.items():
        seconds, cpu = zip(*outcomes, strict=True)
        version = importlib.metadata.version(LOADERS[name][0])
        print(
            f"| {name} {version} | {1 / np.median(seconds):,.0f} | {np.median(cpu) * 1e3:.2f} ms "
            f"| {ratio(own_cpu, cpu)} | {ratio(own_seconds, seconds)} |"
        )
    for name, reason in failed.items():
        print(f"not measured: {name} ({reason})")


if __name__ == "__main__":
    main()
