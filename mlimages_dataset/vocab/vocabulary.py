"""The vocabulary as a value: its categories, and what became of every source's classes.

Every class of every source has exactly one `MappingRow` that says which category it became, or why it was left out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.hierarchy import closure_matrix

if TYPE_CHECKING:
    import scipy.sparse as sp

IMAGENET = "imagenet"
OPEN_IMAGES = "open-images"
TENCENT = "tencent"


class Rule(Enum):
    """Why a class became what it is in the mapping, besides the matcher's own rules for names."""

    WNID = "wnid"
    FINER = "finer-grained"
    REVIEWED = "reviewed"
    REVIEWED_PARENT = "reviewed: nearest parent"
    DROPPED_UNKNOWN_ID = "dropped: unknown wnid"
    DROPPED_UNMATCHED = "dropped: unmatched name"
    DROPPED_FEW_IMAGES = "dropped: too few images"
    DROPPED_ABSTRACT = "dropped: abstract"
    DROPPED_NO_ROOT = "dropped: reaches no root"
    DROPPED_REVIEWED = "dropped: reviewed"
    DROPPED_NOT_FINER = "dropped: below no kept category"


@dataclass(frozen=True, slots=True)
class MappingRow:
    """What one class of one source became; `class_index` is -1 where it was dropped."""

    source: str
    source_id: str
    source_name: str
    class_index: int
    wnid: str
    rule: str
    evidence: str
    alternatives: tuple[str, ...] = ()

    @property
    def is_broader(self) -> bool:
        """Whether the category is only a parent of the class: without the class, an image may still show it."""
        return self.rule == Rule.REVIEWED_PARENT.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One category; numbers of other categories are class indices."""

    wnid: str
    name: str
    root: int
    parent: int
    parents: tuple[int, ...]
    depth: int
    sources: tuple[str, ...]
    mids: tuple[str, ...]
    images: int


@dataclass(frozen=True)  # no slots: the inverse map and the closure are computed when first asked for
class Vocabulary:
    """Categories numbered 0..C-1 and how every source's classes map to them."""

    categories: tuple[Category, ...]
    mapping: tuple[MappingRow, ...]

    def __len__(self) -> int:
        return len(self.categories)

    @functools.cached_property
    def index_of_wnid(self) -> dict[str, int]:
        """Class index of each wnid."""
        return {category.wnid: i for i, category in enumerate(self.categories)}

    @functools.cached_property
    def closure(self) -> sp.csr_array:
        """The reflexive ancestor matrix, shape (C, C), true at (category, ancestor)."""
        return closure_matrix([category.parents for category in self.categories])
