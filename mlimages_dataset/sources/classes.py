"""A class of a collection: an id and a name in the collection's own vocabulary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceClass:
    """One class of one collection.

    Attributes:
        source_id: the collection's own id (a wnid, an Open Images mid, or any id of a user's).
        name: the name as the collection spells it; may be empty if the id is a wnid.
    """

    source_id: str
    name: str
