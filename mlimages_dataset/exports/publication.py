"""The publisher's facts about a data set, for the formats that describe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

ORIGIN_NAMES = tuple(origin.name.lower() for origin in Origin)
CONFIDENCE = "1 verified present, 0 verified absent, between them a machine's; a category that is not listed is unknown"
ORIGIN = ", ".join(f"{int(origin)} {name.replace('_', '-')}" for origin, name in zip(Origin, ORIGIN_NAMES, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Facts about a data set that only its publisher knows; empty texts are left out of the descriptions.

    Attributes:
        name: the data set's name.
        license: an identifier such as cc-by-4.0, or a URL.
        url: the data set's page.
        date: day of publication, YYYY-MM-DD.
    """

    name: str = "multi-label images"
    license: str = ""
    url: str = ""
    date: str = ""


def description(n_categories: int, rows: Mapping[str, int]) -> str:
    """Return one sentence about a data set with `n_categories` categories, with the rows of each split."""
    splits = " and ".join(f"{n:,} {split}" for split, n in rows.items())
    return (
        f"Multi-label annotations of {splits} images over {n_categories:,} WordNet 3.0 categories; "
        f"each label has a confidence ({CONFIDENCE}) and an origin ({ORIGIN})."
    )
