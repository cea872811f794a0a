"""The value every source of classes yields: an id and a name in some collection's own vocabulary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceClass:
    """One class of one collection.

    Attributes:
        source_id: the collection's own id (a wnid, an Open Images mid, anything of a user's).
        name: the name as the collection spells it; may be empty where ids are wnids.
        wnid: the synset that the collection says is meant; empty where it says none.
        parent: the wnid, or the id of another class of the list, of which the collection says that this one is a kind;
            empty where it says none.
    """

    source_id: str
    name: str
    wnid: str = ""
    parent: str = ""
