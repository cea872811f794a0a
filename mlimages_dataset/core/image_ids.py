r"""The id of an image, from whatever names it: a path, a file's name, an address, or an id.

This module alone decides it, for annotations, lists to download, folders and archives of pictures, predictions and
loaders. So a picture has one id wherever it is met:

* The suffix of a picture's file is left out, in upper or lower case: `cats/1.JPG` is `cats/1`. What is no such suffix
  stays: `john.smit`, `v1.2`.
* A file name that begins with a wnid, and one such as `ILSVRC2012_val_00000001`, is ImageNet's own and says which image
  it is: `n01440764/n01440764_10026.JPEG` is `n01440764_10026`. A class that somebody wrote behind it is left out:
  `n01440764_10026_n01440764.JPEG` and `ILSVRC2012_val_00000001_n01751748.JPEG` are the same images. Any other name may
  stand in several folders, so its path belongs to the id: `n02084071/rex`.
* A path of Windows (`n02084071\rex.jpg`, without a slash) is read with slashes.
* What a shard holds may be named behind it: `00000.tar/000000012.jpg` is `000000012`, and `test/0.tar/7.jpg` is
  `test/7`. A row of a Parquet file has its number first: `data/train-0.parquet/17/cat.jpg` is `cat`. A row that has no
  name of its own keeps this one, `data/train-0.parquet/17`.
* An address (`https://host/cat.jpg`) is an id as it is, unless its last part begins with a wnid.
* `./` at the beginning is left out, and text is in Unicode's form NFC: file systems and archives keep letters with
  accents in one of two ways.

An id's id is itself. Several names can have one id (`rex.jpg` and `rex.png`): whoever meets them tells it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff")
"""Of picture files, in lower case."""

SUFFIX_PATTERN = "|".join(suffix[1:] for suffix in PICTURE_SUFFIXES)
"""The same without the dot, as alternatives of a regular expression."""
_SUFFIXES = rf"(?i)([^/])(?:\.(?:{SUFFIX_PATTERN}))+$"
"""At the end of a name that has more than a suffix; all of `rex.jpg.png`, so that an id's id is itself."""
_OF_A_PATH = r"[./\\]|_n\d{8}$|[^\x00-\x7F]"
_HERE = r"^(?:\./+)+"
_ADDRESS = r"^[A-Za-z][A-Za-z0-9+.-]*://"
_SHARD = r"(?i)[^/]+\.tar/"
_SHARD_ROW = r"(?i)^.*[^/]\.parquet/\d+/"
_OF_WINDOWS = r"^[^/]*\\[^/]*$"
_IMAGENETS = r"^(?:n\d{8}(?:\D|$)|ILSVRC20\d\d_(?:train|val|test)_\d{8}(?:_n\d{8})?$)"
_WITH_CLASS = r"^(n\d{8}_\d+|ILSVRC20\d\d_(?:train|val|test)_\d{8})_n\d{8}$"


def image_ids(names: pa.StringArray) -> pa.StringArray:
    """Return the id of the image of each name, shape of `names`; see the module."""
    if not pc.any(pc.match_substring_regex(names, _OF_A_PATH)).as_py():
        return names  # plain ids, as most tables have
    text = pc.replace_substring_regex(pc.utf8_normalize(names, "NFC"), _HERE, "")
    inside = pc.if_else(pc.match_substring_regex(text, _ADDRESS), text, _inside_shards(text))
    slashed = pc.replace_substring_regex(pc.replace_substring(inside, "\\", "/"), _HERE, "")
    path = pc.if_else(pc.match_substring_regex(inside, _OF_WINDOWS), _inside_shards(slashed), inside)
    whole = pc.replace_substring_regex(path, _SUFFIXES, r"\1")
    name = pc.replace_substring_regex(whole, r"^.*/", "")
    own = pc.match_substring_regex(name, _IMAGENETS)
    return pc.if_else(
        own,
        pc.replace_substring_regex(name, _WITH_CLASS, r"\1"),
        pc.if_else(pc.match_substring_regex(inside, _ADDRESS), inside, whole),
    )


def _inside_shards(paths: pa.StringArray) -> pa.StringArray:
    """Return the paths without the shards that they begin with."""
    if not pc.any(pc.match_substring_regex(paths, r"(?i)\.(?:tar|parquet)/")).as_py():
        return paths
    inside = pc.replace_substring_regex(paths, _SHARD, "")
    inside = pc.replace_substring_regex(pc.replace_substring_regex(inside, _SHARD_ROW, ""), _HERE, "")
    return pc.if_else(pc.equal(inside, ""), paths, inside)


def image_id(name: str) -> str:
    """Return the id of the image of a name.

    >>> image_id("n02084071/rex.JPG"), image_id("n01440764/n01440764_10026.JPEG")
    ('n02084071/rex', 'n01440764_10026')
    """
    return str(image_ids(pa.array([name], pa.string()))[0])
