"""Pictures of masks beside photographs: where collections have them, and what they are called in shards.

* Pascal VOC has `SegmentationClass/a.png` and `SegmentationObject/a.png` beside `JPEGImages/a.jpg`
  (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html, 3.2).
* Open Images has a mask for each box, `IMAGE_LABEL_BOX.png`
  (https://storage.googleapis.com/openimages/web/download_v7.html#segmentation-masks-format).

In a shard a mask follows its picture: `a.jpg`, `a.SegmentationClass.png`. What stands between the key and the suffix is
the mask's tag. WebDataset then has both in one sample.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import relative
from mlimages_dataset.sources.folders import MASK_OF_OPEN_IMAGES, MASKS_OF_VOC
from mlimages_dataset.sources.places import files_below, is_file
from mlimages_dataset.sources.samples import is_picture, suffix_of
from mlimages_dataset.sources.tars import StrictHeader, tar_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.members import Content, Member
    from mlimages_dataset.images.store import ImageStore

_PICTURES_OF_VOC = "JPEGImages"
_SUFFIX = ".png"
_DIGEST_SIGNS = 6
_TAG = re.compile(rf"{'|'.join(MASKS_OF_VOC)}|m[0-9a-z_]*_[0-9a-f]{{8}}|~[0-9a-f]{{{_DIGEST_SIGNS}}}")
_NAME_BYTES = 100
"""Of a ustar header's name."""


def mask_of(store: ImageStore, k: int, name: str) -> bytes:
    """Return the mask picture of picture k that a `regions` table calls `name`.

    Raises:
        DataError: the store has no such mask.
        UsageError: a file cannot be read.
    """
    found = store.masks(k)
    tag = tag_of(name)
    content = found.get(tag, found.get(_short(tag)))
    if content is None:
        raise DataError(
            f"has no mask {name!r} of {store.image_id(k)}",
            where=store.folder,
            remedy="ingest the whole folder that its annotations were read from, with its masks",
        )
    return content


def tag_of(name: str) -> str:
    """Return the tag of a mask picture, named as in its collection.

    >>> tag_of("SegmentationClass/2007_000032.png"), tag_of("0123456789abcdef_m0k4j_89abcdef.png")
    ('SegmentationClass', 'm0k4j_89abcdef')
    """
    *folders, last = name.split("/")
    if of_open_images := MASK_OF_OPEN_IMAGES.fullmatch(last):
        return of_open_images["tag"]
    return folders[-1] if folders else last.removesuffix(_SUFFIX)


def _short(tag: str) -> str:
    return f"~{hashlib.sha256(tag.encode()).hexdigest()[:_DIGEST_SIGNS]}"


def mask_member(key: str, tag: str) -> str:
    """Return the name of a mask's member in a shard, given its picture's key; a digest for a tag that is too long."""
    name = f"{key}.{tag}{_SUFFIX}"
    return name if len(name) <= _NAME_BYTES else f"{key}.{_short(tag)}{_SUFFIX}"


def tag_of_member(name: str, key: str) -> str:
    """Return the tag of a shard's member where it is a mask of the picture with a key; else nothing."""
    tag = name.removeprefix(f"{key}.").removesuffix(_SUFFIX)
    return tag if name == f"{key}.{tag}{_SUFFIX}" and _TAG.fullmatch(tag) else ""


def masks_in_shard(
    read: Callable[[int, int], bytes], at: int, is_key: Callable[[str], bool], shard: Location
) -> Iterator[tuple[str, bytes]]:
    """Yield tag and content of the masks that follow a picture in a shard.

    Args:
        read: returns bytes of the shard, given their offset and number.
        at: where the picture ends.
        is_key: whether a member's key is the picture's.
        shard: for messages.

    Raises:
        DataError: the shard ends before a mask does, or a header is damaged, so that a mask may be lost.
    """
    rest = _Rest(read, at + -at % tarfile.BLOCKSIZE)
    with tar_errors(shard, lambda: ""), tarfile.TarFile(fileobj=rest, tarinfo=StrictHeader) as tar:
        while (header := tar.next()) is not None:
            key, _, name = header.name.rpartition("/")[2].partition(".")
            if not (is_key(key) and header.isreg()):
                return
            if tag := tag_of_member(f"{key}.{name}", key):
                yield tag, read(header.offset_data, header.size)


class _Rest(io.RawIOBase):
    """A shard from some place on, for tarfile."""

    def __init__(self, read: Callable[[int, int], bytes], at: int) -> None:
        super().__init__()
        self._read, self._at = read, at

    def read(self, size: int = -1, /) -> bytes:
        """Return the next `size` bytes; errors as of the shard's own `read`."""
        content = self._read(self._at, size)
        self._at += size
        return content

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to an offset of the shard."""
        assert whence == io.SEEK_SET
        self._at = offset
        return offset

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at


class FolderMasks:
    """Finds the masks of the pictures below a folder or in an archive, by their paths."""

    def __init__(self, folder: Location) -> None:
        self._folder = folder

    @functools.cached_property
    def _of_open_images(self) -> Mapping[str, list[str]]:
        """The paths of masks by the id of their picture; listed when the first such picture is asked for."""
        found: dict[str, list[str]] = {}
        for path in files_below(self._folder):
            if named := MASK_OF_OPEN_IMAGES.fullmatch(path.name):
                found.setdefault(named["image"], []).append(relative(path, self._folder))
        return found

    def of(self, path: str) -> list[str]:
        """Return the paths of a picture's masks, in the order of their names."""
        *folders, name = path.split("/")
        stem = name.removesuffix(name[-len(suffix_of(name)) :]) if suffix_of(name) else name
        if folders and folders[-1] == _PICTURES_OF_VOC:
            names = ["/".join([*folders[:-1], masks, f"{stem}{_SUFFIX}"]) for masks in MASKS_OF_VOC]
            return [name for name in names if is_file(self._folder / name)]
        is_of_open_images = MASK_OF_OPEN_IMAGES.fullmatch(f"{stem}_m_00000000{_SUFFIX}")
        return self._of_open_images.get(stem, []) if is_of_open_images else []

    def read(self, path: str) -> dict[str, bytes]:
        """Return the masks of a picture by their tags.

        Raises:
            OSError: one cannot be read.
        """
        return {tag_of(name): (self._folder / name).read_bytes() for name in self.of(path)}


def with_masks(
    folder: Location, members: Iterable[Member], content_of: Callable[[Location], Content]
) -> Iterator[Member]:
    """Yield the members of a folder or archive, pictures with the masks that it has of them."""
    masks = FolderMasks(folder)
    for member in members:
        found = masks.of(member.path) if is_picture(member.path) else []
        yield replace(member, masks=tuple((tag_of(name), content_of(folder / name)) for name in found))
