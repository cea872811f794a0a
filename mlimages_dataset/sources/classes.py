"""A class of a collection: an id and a name in the collection's own vocabulary."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

OWN_WNID = re.compile(r"[^:]+:.+", re.DOTALL)
"""The form of `own_wnid`; a WordNet id has no colon."""


def own_wnid(source: str, source_id: str) -> str:
    """Return what stands for a wnid where a class of a source is a category of its own: `SOURCE:ID`.

    Two classes never share one: a colon in the source's name is written `%3A`, a percent sign `%25`.
    """
    return f"{source.replace('%', '%25').replace(':', '%3A')}:{source_id}"


@dataclass(frozen=True, slots=True)
class SourceClass:
    """One class of one collection.

    Attributes:
        source_id: the collection's own id (a wnid, an Open Images mid, or any id of a user's).
        name: the name as the collection spells it; may be empty if the id is a wnid.
        wnid: the synset, or another list's category of its own (`own_wnid`), that the collection gives for it; empty if
            it gives none.
        synset: the name that NLTK gives to its synset, such as `cat.n.01`, as LVIS has it; may be empty.
        parent: what the collection says it is a kind of: a wnid, the id of another class of the list, or a noun; may be
            empty.
        place: where in its file it stands, such as `line 3`; empty where nobody knows.
    """

    source_id: str
    name: str
    wnid: str = ""
    parent: str = ""
    synset: str = ""
    place: str = field(default="", compare=False)

    @property
    def stated(self) -> tuple[str, str, str]:
        """What the collection says of its meaning, beside its name: wnid, parent and synset."""
        return self.wnid, self.parent, self.synset
