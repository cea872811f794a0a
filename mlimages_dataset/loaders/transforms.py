"""From an encoded picture to the network's input: the recipe's six training steps, and two evaluation transforms.

A transform is a value: `transform(content, rng)` is a pure function of the bytes and of the draws of `rng`, and returns
uint8 planes, C-contiguous, shape (3, S, S). `transform.finish(images)` converts a whole batch of them to float32 in
[-1, 1] on its device, so only a quarter of the bytes are copied there. The image size may change between epochs:
`transform.at_size(160)`.

Legend: B images in a batch, S side of the square, H/W pixels of the stored picture.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.images.orientation import UPRIGHT, mirrored_axes, upright_pixels, upright_size
from mlimages_dataset.loaders.colour import Shift, shift_colour
from mlimages_dataset.loaders.decoding import Header, decode, eighths_for, read_header, read_orientation
from mlimages_dataset.loaders.geometry import Box, resize, rotate
from mlimages_dataset.loaders.views import EvaluationView

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray

_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is drawn at random for one picture.

    Attributes:
        box: the crop, in pixels of the picture: of the upright one if the transform turns pictures, else as stored.
        limits: the pixels that interpolation may use: those of the box, or of the whole picture.
        flip: exchange left and right.
        degrees: rotation of the square, anticlockwise.
        shift: of the colour; None for none.
    """

    box: Box
    limits: Box
    flip: bool = False
    degrees: float = 0.0
    shift: Shift | None = None


class Transform(Protocol):
    """The methods of a transform that a loader calls."""

    @property
    def image_size(self) -> int:
        """S."""
        ...

    def __call__(self, content: bytes, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a picture's planes, shape (3, S, S), C-contiguous."""
        ...

    def finish(self, images: torch.Tensor) -> torch.Tensor:
        """Return a batch as the network's input, float32, shape (B, 3, S, S)."""
        ...

    def at_size(self, image_size: int) -> Self:
        """Return the same transform with another image size."""
        ...

    def steps(self, content: bytes, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yield each step's name and result."""
        ...


class _Rendering(abc.ABC):
    """The common part of the transforms: decoding, cropping and colouring a picture by its `View`."""

    __slots__ = ()

    image_size: int
    scaled: bool
    upright: bool

    @abc.abstractmethod
    def view(self, height: int, width: int, rng: np.random.Generator) -> View:
        """Return the view of a picture of `height` x `width` pixels."""

    def __call__(self, content: bytes, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a picture's planes, shape (3, S, S), C-contiguous.

        Args:
            content: the bytes of an image file.
            rng: the source of all random draws.

        Raises:
            DataError: the bytes are not a picture, are damaged, or have too many pixels.
        """
        *_, (_, planes) = self.steps(content, rng)
        return planes

    def steps(self, content: bytes, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yield each step's name and result: `decode`, `geometry`, `colour`; the last result is the planes.

        Raises:
            DataError: as calling the transform does.
        """
        header = read_header(content)
        orientation = read_orientation(content) if self.upright else UPRIGHT
        view = self.view(*upright_size(header.height, header.width, orientation), rng)
        eighths = eighths_for(view.box.height, view.box.width, self.image_size, header) if self.scaled else 8
        # The rows of a view of a turned picture may be anywhere in the stored one.
        bottom = math.ceil(view.limits.top + view.limits.height) if orientation == UPRIGHT else None
        pixels = decode(content, header, bottom=bottom, eighths=eighths)
        yield "decode", pixels
        scale = eighths / 8 if pixels.shape[1] < header.width else 1.0
        pixels = upright_pixels(pixels, orientation)
        box, limits = (_of_decoded(one, scale, pixels, header, orientation) for one in (view.box, view.limits))
        planes = resize(pixels, box, self.image_size, limits=limits, flip=view.flip)
        if view.degrees:
            planes = rotate(planes, view.degrees)
        yield "geometry", planes
        if view.shift is not None:
            planes = shift_colour(planes, view.shift)
        yield "colour", planes

    def finish(self, images: torch.Tensor) -> torch.Tensor:
        """Return a batch of planes as float32 in [-1, 1], shape (B, 3, S, S), on the same device.

        Wu et al. 2019, section 4.1.2, step 6.
        """
        return to_unit_range(images)

    def at_size(self, image_size: int) -> Self:
        """Return the same transform with another image size."""
        return dataclasses.replace(self, image_size=image_size)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTransform(_Rendering):
    """The six steps of Wu et al. 2019, section 4.1.2, with the paper's probabilities, and its ranges if it states them.

    The paper does not state the colour shifts of step 5. The ranges here are those of the authors' published code,
    which are Inception's. `docs/decisions/0006-transforms.md` lists the differences.

    Attributes:
        image_size: S; the paper's 224.
        area: step 1, the smallest and largest share of the picture that the crop covers.
        aspect: step 1, the smallest and largest width of the crop divided by its height.
        flip: step 3, the probability of exchanging left and right.
        rotate: step 4, the probability of a rotation.
        degrees: step 4, the largest angle to either side.
        shift: step 5, the probability of a colour shift.
        brightness: step 5, the largest difference of the factor from 1.
        saturation: likewise.
        hue: step 5, the largest turn of the colour circle to either side, in turns.
        contrast: as brightness.
        scaled: reduce large crops while decoding. If false, pixels before the colour shift agree with torchvision's to
            one level, and decoding takes longer.
        upright: turn pictures as their metadata (EXIF, XMP) say before anything else, as Pillow's `exif_transpose`.
    """

    image_size: int = 224
    area: tuple[float, float] = (0.05, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    rotate: float = 0.25
    degrees: float = 45.0
    shift: float = 0.5
    brightness: float = 32 / 255
    saturation: float = 0.5
    hue: float = 0.2
    contrast: float = 0.5
    scaled: bool = True
    upright: bool = False

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: the size is not a whole number from 1 on, a probability is outside [0, 1], or a range is empty.
        """
        _check_size(self.image_size)
        for name in ("flip", "rotate", "shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a probability, not {getattr(self, name)}", remedy="set it within 0 to 1")
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ConfigError(f"no crop covers {self.area} of a picture", remedy="set area within 0 to 1, ascending")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ConfigError(f"no box has the aspect {self.aspect}", remedy="set aspect above 0, ascending")
        for name, most in (("degrees", 180.0), ("brightness", 1.0), ("saturation", 1.0), ("hue", 0.5), ("contrast", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} cannot be {getattr(self, name)}", remedy=f"set it within 0 to {most}")

    def view(self, height: int, width: int, rng: np.random.Generator) -> View:
        """Return a random view; the number of draws after the crop does not depend on their values."""
        box = draw_box(rng, height, width, self.area, self.aspect)
        # One call for all draws: a call takes a microsecond in a tight loop, and ten in a loader.
        flip, rotate, angle, shift, *factors, hue = rng.random(8).tolist()
        brightness, saturation, contrast = (2 * factor - 1 for factor in factors)
        return View(
            box,
            box,
            flip < self.flip,
            self.degrees * (2 * angle - 1) if rotate < self.rotate else 0.0,
            Shift(
                brightness=1 + self.brightness * brightness,
                saturation=1 + self.saturation * saturation,
                hue=self.hue * (2 * hue - 1),
                contrast=1 + self.contrast * contrast,
            )
            if shift < self.shift
            else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalTransform(_Rendering):
    """A transform without random draws.

    Attributes:
        image_size: S.
        kind: of the view.
        scaled: reduce large pictures while decoding; false by default, so that results compare with other code.
        upright: as of `TrainTransform`.
    """

    image_size: int = 224
    kind: EvaluationView = EvaluationView.RESIZE256
    scaled: bool = False
    upright: bool = False

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            ConfigError: the size is not a whole number from 1 on.
        """
        _check_size(self.image_size)

    def view(self, height: int, width: int, rng: np.random.Generator) -> View:  # noqa: ARG002 - nothing is drawn
        """Return the central view."""
        picture = Box(0, 0, height, width)
        if self.kind is EvaluationView.CROP80:
            box = central_box(height, width, 0.8)
            return View(box, box)
        return View(short_side_box(height, width, self.image_size), picture)


def to_unit_range(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as float32 in [-1, 1], of the same shape and on the same device."""
    return images.float().sub_(127.5).mul_(1 / 127.5)


def train_transform(image_size: int = 224, *, upright: bool = False) -> TrainTransform:
    """Return the recipe's training transform with a given image size (Wu et al. 2019, section 4.1.2).

    `upright` turns pictures as their metadata say; the recipe does not.
    """
    return TrainTransform(image_size=image_size, upright=upright)


def eval_transform(
    image_size: int = 224, kind: EvaluationView | str = EvaluationView.RESIZE256, *, upright: bool = False
) -> EvalTransform:
    """Return an evaluation transform with a given image size; `upright` turns pictures as their metadata say.

    Raises:
        ConfigError: the kind is neither `crop80` nor `resize256`.
    """
    try:
        return EvalTransform(image_size=image_size, kind=EvaluationView(kind), upright=upright)
    except ValueError as error:
        kinds = " or ".join(EvaluationView)
        raise ConfigError(f"no evaluation transform is called {kind!r}", remedy=f"use {kinds}") from error


def _of_decoded(box: Box, scale: float, pixels: NDArray[np.uint8], header: Header, orientation: int) -> Box:
    """Return a box of a picture in the pixels that were decoded of it, shape (rows, columns, 3), upright.

    A scaled picture ends with the part of a pixel, which lies at the beginning of an axis that is mirrored.
    """
    scaled = box.scaled(scale)
    if orientation == UPRIGHT or scale == 1:
        return scaled
    exact = upright_size(header.height * scale, header.width * scale, orientation)
    parts = (n - length for n, length in zip(pixels.shape, exact, strict=False))
    down, right = (part * mirrored for part, mirrored in zip(parts, mirrored_axes(orientation), strict=True))
    return scaled.moved(down, right)


def draw_box(
    rng: np.random.Generator, height: int, width: int, area: tuple[float, float], aspect: tuple[float, float]
) -> Box:
    """Return a random box of whole pixels inside a picture, with the distribution of torchvision's RandomResizedCrop.

    The area is uniform, the aspect ratio log-uniform, the position uniform over whole pixels. A box that does not fit
    is drawn again; after ten attempts the largest central box with an allowed aspect ratio is used.
    """
    lowest, highest = math.log(aspect[0]), math.log(aspect[1])
    for _ in range(_ATTEMPTS):
        share, log_ratio, down, right = rng.random(4).tolist()
        target = height * width * (area[0] + (area[1] - area[0]) * share)
        ratio = math.exp(lowest + (highest - lowest) * log_ratio)
        box_height, box_width = round(math.sqrt(target / ratio)), round(math.sqrt(target * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = int(down * (height - box_height + 1)), int(right * (width - box_width + 1))
            return Box(top, left, box_height, box_width)
    ratio = min(max(width / height, aspect[0]), aspect[1])
    box_height, box_width = min(height, round(width / ratio)), min(width, round(height * ratio))
    return Box((height - box_height) // 2, (width - box_width) // 2, max(box_height, 1), max(box_width, 1))


def central_box(height: int, width: int, share: float) -> Box:
    """Return the central box of whole pixels with a share of each side, as TensorFlow's `central_crop`."""
    top, left = int((height - height * share) / 2), int((width - width * share) / 2)
    return Box(top, left, height - 2 * top, width - 2 * left)


def short_side_box(height: int, width: int, image_size: int) -> Box:
    """Return the box that remains if the short side is resized to 256/224 of `image_size` and the centre is cropped.

    Sides are rounded as by torchvision's Resize and CenterCrop; the edges of the box may lie inside pixels.
    """
    short = round(image_size * 256 / 224)
    long = int(short * max(height, width) / min(height, width))
    resized_height, resized_width = (short, long) if height <= width else (long, short)
    by_row, by_column = height / resized_height, width / resized_width
    top, left = round((resized_height - image_size) / 2), round((resized_width - image_size) / 2)
    return Box(top * by_row, left * by_column, image_size * by_row, image_size * by_column)


def timed(transform: Transform, contents: Iterable[bytes], rng: np.random.Generator) -> dict[str, float]:
    """Return the mean processor time of each step for one picture, in seconds, in the order of the steps.

    Raises:
        DataError: as calling the transform does.
    """
    seconds: dict[str, float] = {}
    n_pictures = 0
    for content in contents:
        n_pictures += 1
        before = time.thread_time()
        for step, _ in transform.steps(content, rng):
            after = time.thread_time()
            seconds[step] = seconds.get(step, 0.0) + after - before
            before = after
    return {step: total / n_pictures for step, total in seconds.items()}


def _check_size(image_size: int) -> None:
    if not isinstance(image_size, int) or image_size < 1:
        raise ConfigError(
            f"an image of {image_size} pixels cannot be made", remedy="set image_size to a whole number from 1 on"
        )
