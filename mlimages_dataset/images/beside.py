"""Pictures of a source with what the files beside them say: a class, a caption; such files have no row of their own.

Which files these are is in `sources/samples`: `.cls`, `.json`, `.txt` and others with a picture's key, in tar shards as
WebDataset reads them, and in folders and zip archives.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlimages_dataset.images.members import Member, held
from mlimages_dataset.sources.samples import (
    HEARD_SUFFIXES,
    MOST_BYTES,
    beside,
    by_key,
    stated,
    suffix_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def with_files_beside(members: Iterable[Member]) -> Iterator[Member]:
    """Yield members whose content may be read at any time, without files that say something of a picture."""
    for group in by_key(members, lambda member: member.path):
        yield from _pictures(group)


def held_with_files_beside(members: Iterable[Member]) -> Iterator[Member]:
    """Yield members of a stream, which must be read in turn: those of one key are held in memory."""
    for group in by_key(map(_held, members), lambda member: member.path, _size):
        yield from _pictures(group)


def _held(member: Member) -> Member:
    return replace(member, content=held(member.content()))


def _size(member: Member) -> int:
    content = member.content()
    return len(content) if isinstance(content, bytes) else 0


def _pictures(group: Sequence[Member]) -> Iterator[Member]:
    """Yield the members of one key: pictures with what is said of them, and what is beside none."""
    if len(group) == 1:  # as in most sources
        yield from group
        return
    # A member without content, such as one with an unsafe name, says nothing: it becomes a row.
    names = [member.path if member.labels is None else "" for member in group]
    of_picture = beside(names)
    passed = {at for others in of_picture.values() for at in others}
    for at, member in enumerate(group):
        if at in of_picture:
            yield _heard(member, [group[other] for other in of_picture[at]])
        elif at not in passed:
            yield member


def _heard(picture: Member, others: Sequence[Member]) -> Member:
    files: dict[str, bytes] = {}
    for other in others:
        if suffix_of(other.path) not in HEARD_SUFFIXES:
            continue
        content = other.content()
        if not isinstance(content, bytes) or len(content) > MOST_BYTES:
            return replace(picture, labels=(), note=f"{suffix_of(other.path)} beside it is too large or damaged")
        if other.path in files:
            return replace(picture, labels=(), note=f"two files are named {other.path}")
        files[other.path] = content
    said = stated(files)
    labels = None if said.classes is None else tuple((one, 1.0) for one in said.classes)
    return replace(picture, labels=labels, captions=said.captions, note=said.wrong)
