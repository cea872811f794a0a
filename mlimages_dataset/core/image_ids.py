r"""The id of an image, made from a path, a file name, a URL, or an id.

Only this module makes ids, for annotations, lists to download, folders and archives of pictures, predictions and
loaders. So a picture has the same id everywhere:

* The suffix of a picture file is removed, in upper or lower case: `cats/1.JPG` becomes `cats/1`. Other endings stay:
  `john.smit`, `v1.2`.
* A file name that begins with a wnid, or is like `ILSVRC2012_val_00000001`, is ImageNet's own and identifies the image:
  `n01440764/n01440764_10026.JPEG` becomes `n01440764_10026`. A class appended to such a name is removed:
  `n01440764_10026_n01440764.JPEG` and `ILSVRC2012_val_00000001_n01751748.JPEG` are the same images. Any other file name
  may occur in several folders, so its path is part of the id: `n02084071/rex`.
* Folders in which collections keep their pictures, and which their annotations do not name, are removed. They are
  Pascal VOC's `JPEGImages` (`VOC2012/JPEGImages/2007_000032.jpg` becomes `VOC2012/2007_000032`), and those of splits of
  COCO and Open Images before names that are theirs (`train2017/000000000009.jpg` becomes `000000000009`, and
  `validation/000a1249af2bc5f0.jpg` becomes `000a1249af2bc5f0`).
* A Windows path (`n02084071\rex.jpg`, without a slash) is read with slashes.
* A shard that a name begins with is removed: `00000.tar/000000012.jpg` becomes `000000012`, and `test/0.tar/7.jpg`
  becomes `test/7`. A row of a Parquet file has its number first: `data/train-0.parquet/17/cat.jpg` becomes `cat`. A row
  without a name of its own stays `data/train-0.parquet/17`.
* A URL (`https://host/cat.jpg`) is used unchanged as the id, unless its last part, without `?` and what follows, is
  ImageNet's own name.
* `./` at the beginning is removed, and text is normalised to Unicode's form NFC: file systems and archives store
  letters with accents in one of two forms.

The id of an id is the id itself. Several names can have the same id (`rex.jpg` and `rex.png`); the code that reads them
must report it, but for an id beside one other name (`rex` and `rex.jpg`), by which lists name the same picture.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_UNREAD_SUFFIXES = (".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl")
"""Of formats that must be converted first, as reading says: the converted file has the same id."""
PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif"),
    *_UNREAD_SUFFIXES,
)
"""Suffixes of picture files, in lower case."""

SUFFIX_PATTERN = "|".join(suffix[1:] for suffix in PICTURE_SUFFIXES)
"""The same without the dot, as alternatives of a regular expression."""
_SUFFIXES = rf"(?i)([^/])(?:\.(?:{SUFFIX_PATTERN}))+$"
"""Suffixes at the end of a name that consists of more; all of `rex.jpg.png`, so that the id of an id is itself."""
_OF_A_PATH = r"[./\\]|_n\d{8}$|[^\x00-\x7F]"
_SIGNS = (b".", b"/", b"\\", b"_")
"""A name of ASCII without these cannot match `_OF_A_PATH`."""
_HERE = r"^(?:\./+)+"
_ADDRESS = r"^[A-Za-z][A-Za-z0-9+.-]*://"
_SHARD = r"(?i)[^/]+\.tar/"
_SHARD_ROW = r"(?i)^.*[^/]\.parquet/\d+/"
_OF_WINDOWS = r"^[^/]*\\[^/]*$"
_FOLDER_OF_VOC = r"(^|/)(?:JPEGImages/+(?:\./+)*)+([^/])"
_FOLDER_OF_SPLIT = (
    r"^(?:.*/)?(?:"
    r"(?:train|val|test|unlabeled)20\d\d/((?:COCO_[a-z]+20\d\d_)?\d{12})"  # COCO
    r"|(?:train|validation|test|challenge2018)(?:_[0-9a-f])?/([0-9a-f]{16})"  # Open Images
    r")$"
)
_IMAGENETS = r"^(?:n\d{8}(?:\D|$)|ILSVRC20\d\d_(?:train|val|test)_\d{8}(?:_n\d{8})?$)"
_WITH_CLASS = r"^(n\d{8}_\d+|ILSVRC20\d\d_(?:train|val|test)_\d{8})_n\d{8}$"


def are_ids(names: pa.StringArray) -> bool:
    """Return whether no name has a sign by which it could be something else than an id; quickly, and False in doubt."""
    _, offsets, letters = names.buffers()
    if letters is None:
        return True
    first, last = (int(np.frombuffer(offsets, np.int32)[names.offset + at]) for at in (0, len(names)))
    found = letters.slice(first, last - first).to_pybytes()
    return found.isascii() and not any(sign in found for sign in _SIGNS)


def image_ids(names: pa.StringArray) -> pa.StringArray:
    """Return the id of the image of each name, same shape as `names`; see the module."""
    if are_ids(names) or not pc.any(pc.match_substring_regex(names, _OF_A_PATH)).as_py():
        return names  # plain ids, as most tables have
    text = pc.replace_substring_regex(pc.utf8_normalize(names, "NFC"), _HERE, "")
    inside = pc.if_else(pc.match_substring_regex(text, _ADDRESS), text, _inside_layout(text))
    slashed = pc.replace_substring_regex(pc.replace_substring(inside, "\\", "/"), _HERE, "")
    path = pc.if_else(pc.match_substring_regex(inside, _OF_WINDOWS), _inside_layout(slashed), inside)
    whole = pc.replace_substring_regex(pc.replace_substring_regex(path, _SUFFIXES, r"\1"), _FOLDER_OF_SPLIT, r"\1\2")
    is_address = pc.match_substring_regex(inside, _ADDRESS)
    named = whole
    if pc.any(is_address).as_py():
        without_query = pc.replace_substring_regex(inside, r"[?#].*$", "")
        named = pc.if_else(is_address, pc.replace_substring_regex(without_query, _SUFFIXES, r"\1"), whole)
    name = pc.replace_substring_regex(named, r"^.*/", "")
    own = pc.match_substring_regex(name, _IMAGENETS)
    return pc.if_else(
        own,
        pc.replace_substring_regex(name, _WITH_CLASS, r"\1"),
        pc.if_else(is_address, inside, whole),
    )


def _inside_layout(paths: pa.StringArray) -> pa.StringArray:
    """Return the paths without the shards that they begin with, and without VOC's folder of pictures."""
    if pc.any(pc.match_substring(paths, "JPEGImages/")).as_py():
        paths = pc.replace_substring_regex(paths, _FOLDER_OF_VOC, r"\1\2")
    if not pc.any(pc.match_substring_regex(paths, r"(?i)\.(?:tar|parquet)/")).as_py():
        return paths
    inside = pc.replace_substring_regex(paths, _SHARD, "")
    inside = pc.replace_substring_regex(pc.replace_substring_regex(inside, _SHARD_ROW, ""), _HERE, "")
    return pc.if_else(pc.equal(inside, ""), paths, inside)


def without_id(names: pa.StringArray | pa.ChunkedArray) -> list[int]:
    """Return the numbers of the names that are no image's: empty, or only the folder itself; none is null.

    >>> without_id(pa.array(["a", "", "./", ".a", ".", "././"]))
    [1, 2, 5]
    """
    if isinstance(names, pa.ChunkedArray):
        names = names.combine_chunks()
    _, offsets, letters = names.buffers()
    bounds = np.frombuffer(offsets, np.int32)[names.offset : names.offset + len(names) + 1]
    maybe = bounds[:-1] == bounds[1:]
    if letters is not None:  # not Arrow's comparison with a text: it imports pandas
        maybe[~maybe] = np.frombuffer(letters, np.uint8)[bounds[:-1][~maybe]] == ord(".")
    at = np.flatnonzero(maybe)
    if not len(at):
        return []
    ids = image_ids(names.take(pa.array(at))).to_pylist()
    return [number for number, one in zip(at.tolist(), ids, strict=True) if not one]


def image_id(name: str) -> str:
    """Return the id of the image with a name.

    >>> image_id("n02084071/rex.JPG"), image_id("n01440764/n01440764_10026.JPEG")
    ('n02084071/rex', 'n01440764_10026')
    """
    return str(image_ids(pa.array([name], pa.string()))[0])
