"""A class of a collection: an id and a name in the collection's own vocabulary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceClass:
    """One class of one collection.

    Attributes:
        source_id: the collection's own id (a wnid, an Open Images mid, or any id of a user's).
        name: the name as the collection spells it; may be empty if the id is a wnid.
        wnid: the synset that the collection gives for it; empty if it gives none.
        synset: the name that NLTK gives to its synset, such as `cat.n.01`, as LVIS has it; may be empty.
        parent: what the collection says it is a kind of, a wnid or the id of another class of the list; may be empty.
    """

    source_id: str
    name: str
    wnid: str = ""
    parent: str = ""
    synset: str = ""
