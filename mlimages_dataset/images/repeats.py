"""A set of many million image ids in little memory, with the names of the pictures that had the latest of them."""

from __future__ import annotations

import hashlib

import numpy as np

_RECENT = 1 << 18


class SeenIds:
    """A set of image ids, kept as 64-bit digests: 8 bytes per id.

    The probability that two of 20 million ids have the same digest is 1 in 90,000.
    """

    def __init__(self) -> None:
        self._recent: dict[int, str] = {}
        self._older = np.empty(0, np.uint64)

    def __contains__(self, image_id: str) -> bool:
        return self._has(_digest(image_id))

    def add(self, image_id: str, name: str = "") -> bool:
        """Add an id, with the name of the picture that has it, and return whether it is new."""
        digest = _digest(image_id)
        if self._has(digest):
            return False
        self._recent[digest] = name
        if len(self._recent) == _RECENT:
            recent = np.fromiter(self._recent, np.uint64, _RECENT)
            self._older = np.sort(np.concatenate([self._older, recent]))
            self._recent.clear()
        return True

    def name_of(self, image_id: str) -> str:
        """Return the name with which an id was added; empty if that is long ago."""
        return self._recent.get(_digest(image_id), "")

    def _has(self, digest: int) -> bool:
        if digest in self._recent:
            return True
        value = np.uint64(digest)
        at = int(np.searchsorted(self._older, value))
        return at < len(self._older) and bool(self._older[at] == value)


def _digest(image_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")
