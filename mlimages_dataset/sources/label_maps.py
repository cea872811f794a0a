"""Label maps: pictures that tell the class of each pixel, as Pascal VOC and SBD write them.

VOC's are PNGs with a palette (`SegmentationClass/2007_000032.png`). The palette only serves viewers: a pixel's class is
its index. 255 marks the pixels that nobody labelled, mostly along contours. SBD's are MATLAB files.

* VOC: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html, section 3.2
* SBD: http://home.bharathh.info/pubs/codes/SBD/download.html (`cls/2008_000002.mat`, `GTcls.Segmentation`)
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason, refuse_special, system_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.core.locations import Location

LabelMap: TypeAlias = NDArray[np.uint8]
"""The class of each pixel, shape (H, W)."""

IGNORED = 255
"""The class of pixels that are not judged."""
VOC_CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""VOC's classes by index (the development kit's VOCinit.m, with the background that VOCevalseg.m puts first)."""

_INDEXED = {"P", "L"}
_READER = """
import io, json, sys
import numpy as np
from scipy.io import loadmat
for size in iter(sys.stdin.buffer.readline, b""):
    content = io.BytesIO(sys.stdin.buffer.read(int(size)))
    try:
        found = np.asarray(loadmat(content, variable_names=["GTcls"])["GTcls"][0, 0]["Segmentation"])
        fits = found.ndim == 2 and found.size and np.issubdtype(found.dtype, np.integer)
        told = {"shape": found.shape} if fits and found.min() >= 0 and found.max() <= 255 else {"fault": "no classes"}
    except Exception as error:
        told = {"fault": str(error) or type(error).__name__}
    sys.stdout.buffer.write(json.dumps(told).encode() + b"\\n")
    if "shape" in told:
        sys.stdout.buffer.write(found.astype(np.uint8).tobytes())
    sys.stdout.buffer.flush()
"""


def read_label_map(path: Location, n_classes: int, *, ignores: bool = True) -> LabelMap:
    """Return the class of each pixel of a PNG with a palette, or with one grey value a class, shape (H, W).

    Args:
        path: the file.
        n_classes: C; the classes are 0..C-1.
        ignores: whether a pixel may be `IGNORED`.

    Raises:
        UsageError: it cannot be read.
        DataError: it is no such PNG, or a pixel has another class.
    """
    content = _content(path)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode not in _INDEXED:
                what = f"its pixels are colours or numbers of mode {image.mode}, not indices of classes"
                raise DataError(what, where=path, remedy="write a PNG with a palette whose indices are the classes")
            found = np.asarray(image, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"is not a complete PNG ({reason(error)})", where=path, remedy="write it again") from error
    return _checked(found, path, n_classes, ignores=ignores)


def png_of(label_map: LabelMap) -> bytes:
    """Return a label map as a PNG with VOC's palette."""
    image = Image.fromarray(label_map)
    image.putpalette(voc_palette().tobytes())
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=False)
    return stream.getvalue()


def voc_palette() -> NDArray[np.uint8]:
    """Return VOC's colour of each index, shape (256, 3): VOClabelcolormap.m of the development kit.

    >>> voc_palette()[[0, 1, 15, 255]].tolist()
    [[0, 0, 0], [128, 0, 0], [192, 128, 128], [224, 224, 192]]
    """
    index = np.arange(256)
    planes = [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
    return np.stack(planes, axis=1).astype(np.uint8)


@contextlib.contextmanager
def sbd_reader(n_classes: int = len(VOC_CLASSES)) -> Iterator[Callable[[Location], LabelMap]]:
    """Yield a function that returns the label map in a file of SBD's folder `cls`, shape (H, W).

    The function raises a `UsageError` if a file cannot be read, and a `DataError` if it holds no label map. The files
    are read in a process of their own, because a damaged one ends scipy's reader, and its process, with a signal.
    """
    command = [sys.executable, "-c", _READER]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own text
    assert child.stdin is not None
    assert child.stdout is not None
    to_child, from_child = child.stdin, child.stdout

    def read(path: Location) -> LabelMap:
        content = _content(path)
        with contextlib.suppress(BrokenPipeError):
            to_child.write(f"{len(content)}\n".encode() + content)
            to_child.flush()
        told = json.loads(from_child.readline() or '{"fault": "it ends the reader"}')
        if "fault" in told:
            what = f"holds no label map GTcls.Segmentation ({reason(ValueError(told['fault']))})"
            raise DataError(what, where=path, remedy="obtain SBD's folder cls again")
        height, width = told["shape"]
        found = np.frombuffer(from_child.read(height * width), np.uint8).reshape(height, width)
        return _checked(found, path, n_classes, ignores=True)

    try:
        yield read
    finally:
        with contextlib.suppress(BrokenPipeError):
            to_child.close()
        from_child.close()
        child.wait()


def _content(path: Location) -> bytes:
    refuse_special(path)
    try:
        with system_errors(path):
            return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read ({reason(error)})", where=path, remedy="check the path") from error


def _checked(found: LabelMap, path: Location, n_classes: int, *, ignores: bool) -> LabelMap:
    """Return a label map, or raise a `DataError` if a pixel has no class."""
    strange = found >= n_classes
    if ignores:
        strange &= found != IGNORED
    if strange.any():
        row, column = np.argwhere(strange)[0].tolist()
        value = int(found[row, column])
        remedy = (
            "write indices of classes" if value != IGNORED else f"give each pixel a class: only a truth has {IGNORED}"
        )
        what = f"the pixel in row {row}, column {column} has the class {value}, but there are 0 to {n_classes - 1}"
        raise DataError(what, where=path, remedy=remedy)
    return found
