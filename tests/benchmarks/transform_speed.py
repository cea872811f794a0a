"""Time the six training steps against the same steps in torchvision and against decoding alone, on one core.

    python -m tests.benchmarks.transform_speed [--rounds 7] [--images FOLDER] [--sides 1024,500]

The photographs are resized to each long side once and stored as JPEG of quality 90 with halved chroma. Ten pictures are
handled by each contestant in turn, each as often the first as any other, and the processor's time is taken: so what
else the machine does falls upon all of them, and little. A round is all pictures; the ratios are printed as the median,
least and greatest of the rounds. Decoding alone is simplejpeg's or torchvision's, in full and in colour, whichever is
faster. torchvision's steps begin with torchvision's own decoder and end, as ours, with a normalised float tensor.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

import click
import numpy as np
import simplejpeg
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from mlimages_dataset.loaders.transforms import TrainTransform, timed, train_transform
from mlimages_dataset.samples import photographs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Contestant = Callable[[bytes], object]

SHARED_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "images"
QUALITY = 90
TURN = 10
"""Pictures that one contestant handles before the next one: code and memory are as warm as in a loader's worker."""


def stored(folder: Path, long_side: int) -> list[bytes]:
    """Return every photograph of a folder as a JPEG whose long side has that many pixels."""
    contents = []
    for path in sorted(one for one in folder.iterdir() if one.suffix.lower() in {".jpg", ".jpeg"}):
        with Image.open(path) as image:
            factor = long_side / max(image.size)
            size = (round(image.width * factor), round(image.height * factor))
            buffer = io.BytesIO()
            image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=QUALITY)
            contents.append(buffer.getvalue())
    return contents


def by_torchvision(transform: TrainTransform) -> v2.Compose:
    """Return the same steps as a transform's, in torchvision, from decoded pixels."""
    jitter = v2.ColorJitter(transform.brightness, transform.contrast, transform.saturation, transform.hue)
    return v2.Compose(
        [
            v2.RandomResizedCrop(transform.image_size, transform.area, transform.aspect, antialias=True),
            v2.RandomHorizontalFlip(transform.flip),
            v2.RandomApply(
                [v2.RandomRotation([-transform.degrees, transform.degrees], v2.InterpolationMode.BILINEAR)],
                transform.rotate,
            ),
            v2.RandomApply([jitter], transform.shift),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.5] * 3),
        ]
    )


def decoded_by_torchvision(content: bytes) -> torch.Tensor:
    """Return a JPEG's pixels, shape (3, H, W)."""
    # frombuffer warns of read-only memory; nobody writes to it.
    pixels: torch.Tensor = decode_jpeg(
        torch.from_numpy(np.frombuffer(content, np.uint8).copy()), mode=ImageReadMode.RGB
    )
    return pixels


def contestants(transform: TrainTransform) -> dict[str, Contestant]:
    """Return what is timed, by name. Each draws from one generator that lasts: seeding is the loader's cost."""
    reference = by_torchvision(transform)
    rng = np.random.default_rng(0)

    def ours(content: bytes) -> torch.Tensor:
        return transform.finish(torch.from_numpy(transform(content, rng)))

    def theirs(content: bytes) -> torch.Tensor:
        image: torch.Tensor = reference(decoded_by_torchvision(content))
        return image

    return {
        "ours": ours,
        "torchvision": theirs,
        "decode (simplejpeg)": lambda content: simplejpeg.decode_jpeg(content, "RGB"),
        "decode (torchvision)": decoded_by_torchvision,
    }


def seconds_per_round(
    contents: Sequence[bytes], functions: dict[str, Contestant], n_rounds: int
) -> dict[str, list[float]]:
    """Return each contestant's seconds in each round over all pictures, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for one_round in range(-1, n_rounds):
        spent = dict.fromkeys(functions, 0.0)
        for turn, start in enumerate(range(0, len(contents), TURN)):
            order = list(functions)
            # Whoever comes first finds the bytes in slow memory.
            first = (turn + one_round) % len(order)
            for name in order[first:] + order[:first]:
                before = process_time()
                for content in contents[start : start + TURN]:
                    functions[name](content)
                spent[name] += process_time() - before
        if one_round >= 0:
            for name, value in spent.items():
                seconds[name].append(value)
    return seconds


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> str:
    """Return the median, least and greatest of the rounds' ratios, as words."""
    ratios = np.divide(numerators, denominators)
    return f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="A folder of JPEGs.")
@click.option("--sides", default="1024,500", show_default=True, help="Long sides in pixels.")
@click.option("--core", type=int, help="The processor to run on; by default the last one allowed.")
def main(rounds: int, images: Path | None, sides: str, core: int | None) -> None:
    """Print images/s and ratios."""
    folder = images or (SHARED_IMAGES if SHARED_IMAGES.is_dir() else photographs())
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if core is None else core})
    torch.set_num_threads(1)
    transform = train_transform(224)
    functions = contestants(transform)
    print(f"torch {torch.__version__}, simplejpeg {simplejpeg.__version__}, one core, {rounds} rounds")
    for side in (int(one) for one in sides.split(",")):
        contents = stored(folder, side)
        seconds = seconds_per_round(contents, functions, rounds)
        kilobytes = sum(map(len, contents)) / len(contents) / 1e3
        print(f"\n{side} px: {len(contents)} photographs of {folder.name}, {kilobytes:.0f} kB on average")
        for name, spent in seconds.items():
            print(f"  {name:22}{len(contents) / np.median(spent):8.0f} images/s")
        decoder = min(seconds, key=lambda name: np.median(seconds[name]) if name.startswith("decode") else np.inf)
        print(f"  torchvision / ours: {ratio(seconds['torchvision'], seconds['ours'])}")
        print(f"  {decoder} / ours: {ratio(seconds[decoder], seconds['ours'])}")
        for step, cost in timed(transform, contents, np.random.default_rng(0)).items():
            print(f"  step {step:10}{cost * 1e6:8.0f} us")


if __name__ == "__main__":
    main()
