"""NLTK's WordNet reader on any folder.

A separate module, which `wordnet` imports only when needed, because importing NLTK takes about a second.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING

import nltk
from nltk.corpus.reader.wordnet import Synset, WordNetCorpusReader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import TextIO

_HYPERNYM = re.compile(r" (@i?) (\d{8}) n ")


class NounFolder(WordNetCorpusReader):  # type: ignore[misc]  # NLTK has no annotations
    """NLTK's reader on any folder of WordNet's database files.

    NLTK refuses folders outside `nltk.data.path`, requires a `lexnames` file that Debian's package lacks, and keeps a
    synset's pointers as a set; `hypernym_order` keeps them in the order of the file.
    """

    def __init__(self, folder: Path, lexicographer_files: Iterable[str]) -> None:
        self._folder = folder
        self._lexicographer_lines = "".join(f"{i}\t{name}\t0\n" for i, name in enumerate(lexicographer_files))
        self.hypernym_order: dict[int, list[tuple[str, int]]] = {}
        nltk.data.path.append(str(folder))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The multilingual functions")  # only English is read
                super().__init__(str(folder), None)
        finally:
            nltk.data.path.remove(str(folder))

    def map_wn(self, version: str = "wordnet") -> None:
        """Do nothing: NLTK would compare the folder with an installed WordNet."""

    def open(self, file: str) -> TextIO:
        """Return a file of the folder, read whole: NLTK never closes what it opens, and WordNet's files are ASCII."""
        if file == "lexnames":
            return io.StringIO(self._lexicographer_lines)
        return io.StringIO((self._folder / file).read_bytes().decode("ascii"))

    def sense_offsets(self, lemma: str) -> list[int]:
        """Return the offsets of the noun senses of a lemma as `index.noun` orders them."""
        return list(self._lemma_pos_offset_map[lemma.lower()]["n"])

    def noun_exceptions(self) -> dict[str, tuple[str, ...]]:
        """Return irregular plural to base forms."""
        return {form: tuple(bases) for form, bases in self._exception_map["n"].items()}

    def _synset_from_pos_and_line(self, pos: str, data_file_line: str) -> Synset:
        synset = super()._synset_from_pos_and_line(pos, data_file_line)
        pointers = data_file_line.partition("|")[0]
        self.hypernym_order[synset.offset()] = [(kind, int(at)) for kind, at in _HYPERNYM.findall(pointers)]
        return synset
