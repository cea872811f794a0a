"""The six steps: their draws are distributed as the paper and torchvision say, and their pixels are torchvision's."""

from __future__ import annotations

import dataclasses
import io
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features
from scipy.stats import binomtest, ks_2samp, kstest
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from mlimages_dataset.core.errors import ConfigError, DataError
from mlimages_dataset.loaders.decoding import read_orientation
from mlimages_dataset.loaders.transforms import (
    TrainTransform,
    draw_box,
    eval_transform,
    timed,
    train_transform,
)
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.samples import photographs
from tests.loaders.torchvision_views import as_planes, psnr, seen

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.loaders.transforms import View

CONTENTS = [path.read_bytes() for path in sorted(photographs().glob("*.jpg"))]
AREA, ASPECT = (0.05, 1.0), (3 / 4, 4 / 3)


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def views(transform: TrainTransform, n: int, height: int = 480, width: int = 640) -> list[View]:
    return [transform.view(height, width, rng(7, i)) for i in range(n)]


def enlarged(content: bytes, long_side: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        factor = long_side / max(image.size)
        size = (round(image.width * factor), round(image.height * factor))
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


# Draws


@pytest.mark.parametrize("size", [(480, 640), (1024, 300), (5, 7)])
def test_boxes_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    height, width = size
    generator = rng(1)
    ours = [draw_box(generator, height, width, AREA, ASPECT) for _ in range(3000)]
    torch.manual_seed(2)
    crop = RandomResizedCrop(224, AREA, ASPECT)
    theirs = [crop.make_params([torch.empty(3, height, width)]) for _ in range(3000)]
    for side in ("top", "left", "height", "width"):
        other = [one[side] for one in theirs]
        assert ks_2samp([getattr(one, side) for one in ours], other).pvalue > 0.001, side


@given(height=st.integers(1, 400), width=st.integers(1, 400), seed=st.integers(0, 1000))
def test_a_box_lies_in_the_picture_in_whole_pixels(height: int, width: int, seed: int) -> None:
    box = draw_box(rng(seed), height, width, AREA, ASPECT)
    assert 0 <= box.top <= box.top + box.height <= height
    assert 0 <= box.left <= box.left + box.width <= width
    assert min(box.height, box.width) >= 1
    assert all(value == int(value) for value in dataclasses.astuple(box))


def test_flips_rotations_and_shifts_are_as_frequent_and_as_large_as_the_paper_says() -> None:
    drawn = views(train_transform(224), 4000)
    for happened, probability in (
        ([view.flip for view in drawn], 0.5),
        ([view.degrees != 0 for view in drawn], 0.25),
        ([view.shift is not None for view in drawn], 0.5),
    ):
        assert binomtest(sum(happened), len(happened), probability).pvalue > 0.001
    shifts = [view.shift for view in drawn if view.shift]
    for values, low, high in (
        ([view.degrees for view in drawn if view.degrees], -45, 45),
        ([shift.brightness for shift in shifts], 1 - 32 / 255, 1 + 32 / 255),
        ([shift.saturation for shift in shifts], 0.5, 1.5),
        ([shift.hue for shift in shifts], -0.2, 0.2),
        ([shift.contrast for shift in shifts], 0.5, 1.5),
    ):
        assert kstest(values, "uniform", (low, high - low)).pvalue > 0.001


def test_what_is_drawn_depends_on_no_other_sample_and_not_on_the_image_size() -> None:
    first, second = train_transform(224), train_transform(96)
    assert views(first, 20) == views(second, 20)
    assert views(first, 20)[13] == first.view(480, 640, rng(7, 13))


# Pixels


@pytest.mark.parametrize("position", range(0, len(CONTENTS), 3))
def test_all_steps_agree_with_torchvisions_where_every_pixel_is_decoded(position: int) -> None:
    content = CONTENTS[position]
    pixels = simplejpeg.decode_jpeg(content, "RGB")
    for side in (224, 65):
        transform = TrainTransform(image_size=side, rotate=0.5, scaled=False)
        view = transform.view(pixels.shape[0], pixels.shape[1], rng(position))
        expected = seen(pixels, view, side)
        apart = np.abs(transform(content, rng(position)).astype(np.int64) - expected)
        # Two roundings of torchvision's resizing and turning are one level or two, which contrast and saturation of
        # up to 1.5 each enlarge; 48 dB is the noise of rounding itself to within a third.
        assert psnr(transform(content, rng(position)), expected) > 48
        assert apart.max() <= (2 if view.shift is None else 8)


@pytest.mark.parametrize("position", range(0, len(CONTENTS), 6))
def test_decoding_at_a_smaller_scale_changes_little(position: int) -> None:
    content = enlarged(CONTENTS[position], 1024)
    exact = TrainTransform(area=(0.6, 1.0), scaled=False)
    fast = dataclasses.replace(exact, scaled=True)
    one, other = exact(content, rng(position)), fast(content, rng(position))
    assert (one != other).any(), "nothing was scaled"
    assert psnr(one, other) > 34


@pytest.mark.shared_data
def test_decoding_at_a_smaller_scale_changes_little_in_photographs_of_another_kind(shared_data: Path) -> None:
    figures = []
    for position, path in enumerate(sorted((shared_data / "images").glob("*.JPEG"))[::4]):
        content = enlarged(path.read_bytes(), 1024)
        exact = TrainTransform(area=(0.6, 1.0), shift=0, scaled=False)
        fast = dataclasses.replace(exact, scaled=True)
        figures.append(psnr(exact(content, rng(position)), fast(content, rng(position))))
    assert np.median(figures) > 40
    assert min(figures) > 32


def test_without_chance_training_is_the_central_square_resized() -> None:
    transform = TrainTransform(area=(1, 1), aspect=(1, 1), flip=0, rotate=0, shift=0, scaled=False)
    content = enlarged(CONTENTS[0], 320)
    pixels = simplejpeg.decode_jpeg(content, "RGB")
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    expected = tv.resized_crop(as_planes(pixels), top, left, side, side, [224, 224], antialias=True).numpy()
    assert np.abs(transform(content, rng(0)).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("content", CONTENTS[::5])
@pytest.mark.parametrize("size", [224, 112, 97])
def test_crop80_is_the_central_crop_resized(content: bytes, size: int) -> None:
    pixels = simplejpeg.decode_jpeg(content, "RGB")
    height, width = pixels.shape[:2]
    top, left = int((height - height * 0.8) / 2), int((width - width * 0.8) / 2)
    sides = (height - 2 * top, width - 2 * left)
    expected = tv.resized_crop(as_planes(pixels), top, left, *sides, [size, size], antialias=True).numpy()
    ours = eval_transform(size, "crop80")(content, rng(0))
    assert np.abs(ours.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("content", CONTENTS[::5])
@pytest.mark.parametrize("size", [224, 112, 97])
def test_resize256_is_resizing_the_short_side_and_cropping_the_centre(content: bytes, size: int) -> None:
    pixels = as_planes(simplejpeg.decode_jpeg(content, "RGB"))
    resized = tv.resize(pixels, [round(size * 256 / 224)], antialias=True)
    expected = tv.center_crop(resized, [size, size]).numpy()
    ours = eval_transform(size, EvaluationView.RESIZE256)(content, rng(0))
    assert np.abs(ours.astype(int) - expected).max() <= 1


# The interface


@given(
    size=st.integers(1, 130),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    form=st.sampled_from(["JPEG", "PNG"]),
    mode=st.sampled_from(["RGB", "L", "CMYK", "P", "LA"]),
)
@settings(max_examples=80)
def test_every_picture_becomes_planes_of_the_size_asked_for(
    size: int, height: int, width: int, form: str, mode: str
) -> None:
    if mode in {"CMYK", "P", "LA"} and (form == "JPEG") != (mode == "CMYK"):
        return
    buffer = io.BytesIO()
    Image.open(io.BytesIO(CONTENTS[3])).convert("RGB").resize((width, height)).convert(mode).save(buffer, form)
    for transform in (train_transform(size), eval_transform(size, "crop80"), eval_transform(size, "resize256")):
        planes = transform(buffer.getvalue(), rng(size))
        assert planes.shape == (3, size, size)
        assert planes.dtype == np.uint8
        assert planes.flags.c_contiguous
        np.testing.assert_array_equal(planes, transform(buffer.getvalue(), rng(size)))


def test_the_size_changes_between_epochs_and_nothing_else() -> None:
    transform = TrainTransform(image_size=224, hue=0.1)
    smaller = transform.at_size(160)
    assert smaller == TrainTransform(image_size=160, hue=0.1)
    assert smaller(CONTENTS[0], rng(0)).shape == (3, 160, 160)
    assert eval_transform(224, "crop80").at_size(64) == eval_transform(64, "crop80")
    assert pickle.loads(pickle.dumps(smaller)) == smaller  # noqa: S301 - our own bytes


def test_finishing_maps_levels_to_minus_one_to_one_and_leaves_them_alone() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16).contiguous()
    before = levels.clone()
    finished = train_transform(16).finish(levels)
    assert finished.dtype == torch.float32
    assert finished.shape == levels.shape
    torch.testing.assert_close(finished, levels.float() / 127.5 - 1, rtol=0, atol=1e-6)
    assert (finished.min().item(), finished.max().item()) == (-1, 1)
    assert torch.equal(levels, before)


def test_broken_bytes_are_one_kind_of_error() -> None:
    for content in (b"", b"<html>", CONTENTS[0][:500], CONTENTS[0][:-300]):
        with pytest.raises(DataError):
            train_transform(224)(content, rng(0))


def test_steps_are_timed_in_their_order() -> None:
    costs = timed(train_transform(224), CONTENTS[:3], rng(0))
    assert list(costs) == ["decode", "geometry", "colour"]
    assert all(seconds > 0 for seconds in costs.values())
    assert timed(train_transform(224), [], rng(0)) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 0},
        {"image_size": 22.4},
        {"flip": 1.1},
        {"rotate": -0.1},
        {"area": (0.0, 1.0)},
        {"area": (0.5, 0.2)},
        {"aspect": (2.0, 1.0)},
        {"hue": 0.6},
        {"degrees": 181},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="set "):
        dataclasses.replace(train_transform(224), **wrong)  # type: ignore[arg-type]


def test_another_kind_of_evaluation_is_refused_by_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match="crop80 or resize256"):
        eval_transform(224, "crop90")


# Orientation

UPRIGHT_FORMS = ["PNG", "WEBP", "TIFF", *(["AVIF"] if features.check("avif") else [])]


def stating(image: Image.Image, orientation: int, form: str = "JPEG", **options: Any) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(buffer, form, exif=exif, **options)
    return buffer.getvalue()


def upright_png(content: bytes) -> bytes:
    """Return the pixels that Pillow's own function gives, in a file without metadata."""
    buffer = io.BytesIO()
    pixels = simplejpeg.decode_jpeg(content, "RGB") if content[:2] == b"\xff\xd8" else None
    with Image.open(io.BytesIO(content)) as image:
        # Pillow's and simplejpeg's libjpeg may differ by a level.
        exact = image.convert("RGB") if pixels is None else Image.fromarray(pixels)
        exact.info["exif"] = image.info.get("exif", b"")
        Image.fromarray(np.asarray(ImageOps.exif_transpose(exact))).save(buffer, "PNG")
    return buffer.getvalue()


def picture_of(position: int) -> Image.Image:
    return Image.open(io.BytesIO(CONTENTS[position])).convert("RGB").resize((163, 117))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}])
def test_upright_is_pillows_transposition_before_the_same_transform(orientation: int, options: dict[str, Any]) -> None:
    content = stating(picture_of(2), orientation, quality=90, **options)
    for transform in (TrainTransform(image_size=50, scaled=False), eval_transform(50), eval_transform(50, "crop80")):
        upright = dataclasses.replace(transform, upright=True)
        for seed in range(5):
            expected = transform(upright_png(content), rng(seed))
            np.testing.assert_array_equal(upright(content, rng(seed)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", UPRIGHT_FORMS)
def test_upright_is_the_same_in_every_decoder(form: str, orientation: int) -> None:
    content = stating(picture_of(1), orientation, form)
    transform = TrainTransform(image_size=40, scaled=False)
    expected = transform(upright_png(content), rng(7))
    np.testing.assert_array_equal(dataclasses.replace(transform, upright=True)(content, rng(7)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_pictures_that_are_scaled_while_they_are_decoded_show_the_same_view(orientation: int) -> None:
    # Of odd sides: a scaled picture then ends with the part of a pixel.
    picture = Image.open(io.BytesIO(enlarged(CONTENTS[4], 1024))).convert("RGB").resize((1021, 763))
    content = stating(picture, orientation, quality=95)
    exact = TrainTransform(area=(0.6, 1.0), scaled=False, upright=True)
    fast = dataclasses.replace(exact, scaled=True)
    plain = dataclasses.replace(exact, upright=False), dataclasses.replace(fast, upright=False)
    upright = upright_png(content)
    figures = []
    for one, other in ((exact, fast), plain):
        shown = content if one.upright else encoded_as_jpeg(upright)
        figures.append(psnr(one(shown, rng(3)), other(shown, rng(3))))
    assert figures[0] > figures[1] - 2, "no more is lost than of a picture that is stored upright"


def encoded_as_jpeg(content: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@given(st.binary(max_size=60))
@settings(max_examples=40)
def test_damaged_metadata_leave_a_picture_as_it_is_stored(noise: bytes) -> None:
    buffer = io.BytesIO()
    picture_of(0).save(buffer, "JPEG", exif=b"Exif\0\0" + noise)
    content, transform = buffer.getvalue(), eval_transform(32)
    if read_orientation(content) == 1:
        upright = dataclasses.replace(transform, upright=True)
        np.testing.assert_array_equal(upright(content, rng(0)), transform(content, rng(0)))


def test_metadata_are_ignored_unless_asked_for() -> None:
    stored, stating_six = stating(picture_of(0), 1), stating(picture_of(0), 6)
    transform = train_transform(32)
    assert transform == train_transform(32, upright=False)
    np.testing.assert_array_equal(transform(stored, rng(0)), transform(stating_six, rng(0)))
