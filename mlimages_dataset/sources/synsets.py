"""Which synset a number means in ImageNet's own lists.

The development kit numbers synsets from 1 in an order of its own (`ILSVRC2012_ID`): its `meta.mat` and
`map_clsloc.txt` say which is which, and its ground truth uses these numbers. Caffe's `val.txt` counts the lines of
`synsets.txt` from 0, which are sorted by wnid. One list is no list for the other's numbers.

https://image-net.org/challenges/LSVRC/2012/2012-downloads.php (development kit), https://github.com/BVLC/caffe
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.class_lists import parse_imagenet_synsets
from mlimages_dataset.sources.folders import is_wnid
from mlimages_dataset.sources.pieces import read_to_its_end
from mlimages_dataset.tables.files import read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.core.locations import Location

IDS_REMEDY = "pass --synsets with meta.mat or map_clsloc.txt of the development kit"
LINES_REMEDY = "pass --synsets with synsets.txt or synset_words.txt"
_READER = """
import io, json, sys
from scipy.io import loadmat
table = loadmat(io.BytesIO(sys.stdin.buffer.read()), squeeze_me=True, variable_names=["synsets"])["synsets"]
(ids,) = [table[name] for name in table.dtype.names if name.endswith("_ID")]
print(json.dumps([[int(number), str(wnid)] for number, wnid in zip(ids, table["WNID"], strict=True)]))
"""
_MAPPED = re.compile(r"(n[0-9]{8})\s+([0-9]{1,5})(?:\s.*)?")


@dataclass(frozen=True, slots=True)
class Synsets:
    """What numbers mean.

    Attributes:
        wnids: by number.
        are_ids: the numbers are the development kit's; else they count lines from 0.
    """

    wnids: Mapping[int, str]
    are_ids: bool


def read_synsets(path: Location) -> Synsets:
    """Return what a file says of numbers: meta.mat, map_clsloc.txt, or a list of synsets in the order of its lines.

    Raises:
        UsageError: there is no such file.
        DataError: it is none of these.
    """
    if path.suffix == ".mat":
        return Synsets(_of_meta(path), are_ids=True)
    lines = read_lines(path)
    mapped = [_MAPPED.fullmatch(line.strip()) for line in lines if line.strip()]
    if all(mapped):
        return Synsets(_distinct([(int(one[2]), one[1]) for one in mapped if one], path), are_ids=True)
    classes = parse_imagenet_synsets(lines, str(path))
    return Synsets(_distinct([(number, one.source_id) for number, one in enumerate(classes)], path), are_ids=False)


def _of_meta(path: Location) -> dict[int, str]:
    """Return the wnid of each ILSVRC id in the development kit's table `synsets`, its inner synsets included."""
    with read_to_its_end(path), path.open("rb") as stream:
        content = stream.read()
    # A damaged file ends scipy's reader, and the process that it is in, with a signal.
    told = subprocess.run([sys.executable, "-c", _READER], input=content, capture_output=True, check=False)  # noqa: S603 - our own text
    try:
        found = [(int(number), str(wnid)) for number, wnid in json.loads(told.stdout or "null")]
    except (ValueError, TypeError) as error:
        raise DataError("is not the development kit's meta.mat", where=path, remedy="obtain it again") from error
    return _distinct(found, path)


def _distinct(pairs: list[tuple[int, str]], path: Location) -> dict[int, str]:
    found = dict(pairs)
    if not found or len(found) < len(pairs) or len(set(found.values())) < len(pairs):
        raise DataError("has a number or a wnid twice, or none", where=path, remedy="obtain it again")
    if stranger := next((wnid for wnid in found.values() if not is_wnid(wnid)), None):
        raise DataError(f"{stranger[:20]!r} is no wnid", where=path, remedy="obtain it again")
    return found
