"""Definitions of categories, where WordNet's own files are on this machine: the package has ids, names and edges.

A wnid is `n` and the place of its line in `data.noun`, so one line is read and no index is needed.

Source: https://wordnet.princeton.edu/documentation/wndb5wn
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from mlimages_dataset.vocab.vocabulary import Category

DATA_FILE = "data.noun"
USUAL_PLACES = (Path("/usr/share/wordnet"), Path.home() / "nltk_data" / "corpora" / "wordnet")
"""Where Debian and NLTK put WordNet's files."""
_MOST_BYTES = 1 << 16
_WNID = re.compile(r"n(\d{8})")


def wordnet_folder(given: Path | None) -> Path | None:
    """Return the folder of WordNet's files: the given one, or else one of the usual places; None if there is none.

    Raises:
        UsageError: the given folder lacks `data.noun`.
    """
    if given is not None and not (given / DATA_FILE).is_file():
        raise UsageError(f"there is no {DATA_FILE} in it", where=given, remedy="name a folder of WordNet 3.0")
    return given or next((place for place in USUAL_PLACES if (place / DATA_FILE).is_file()), None)


def definition(folder: Path | None, category: Category) -> str:
    """Return the definition and the examples of a category's synset; empty if WordNet 3.0 has it not at this place.

    A line of another version of WordNet is recognised by its names: the first must be one of the category's.
    """
    matched = _WNID.fullmatch(category.wnid)
    if folder is None or matched is None:
        return ""
    try:
        with (folder / DATA_FILE).open("rb") as stream:
            stream.seek(int(matched[1]))
            line = stream.readline(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    if len(fields) < 5 or fields[0] != matched[1]:  # noqa: PLR2004 - offset, file, kind, number of names, first name
        return ""
    names = {name.casefold() for name in category.name.split(", ")}
    return gloss.strip() if fields[4].replace("_", " ").casefold() in names else ""
