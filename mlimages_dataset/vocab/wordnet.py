"""The nouns of WordNet 3.0: synsets, lemmas, senses and hypernym edges.

`load_wordnet()` returns the packaged table, written by ``scripts/build_wordnet.py`` from WordNet's own files. With a
path it reads any WordNet 3.0 folder or NLTK corpus. Only `nltk_reader` uses NLTK.

Formats: https://wordnet.princeton.edu/documentation/wndb5wn (data and index files, exception lists),
https://wordnet.princeton.edu/documentation/lexnames5wn (lexicographer files),
https://wordnet.princeton.edu/documentation/cntlist5wn (sense counts).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.vocab.morphology import base_forms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mlimages_dataset.vocab.nltk_reader import NounFolder

LEXICOGRAPHER_FILES = (
    "adj.all",
    "adj.pert",
    "adv.all",
    "noun.Tops",
    "noun.act",
    "noun.animal",
    "noun.artifact",
    "noun.attribute",
    "noun.body",
    "noun.cognition",
    "noun.communication",
    "noun.event",
    "noun.feeling",
    "noun.food",
    "noun.group",
    "noun.location",
    "noun.motive",
    "noun.object",
    "noun.person",
    "noun.phenomenon",
    "noun.plant",
    "noun.possession",
    "noun.process",
    "noun.quantity",
    "noun.relation",
    "noun.shape",
    "noun.state",
    "noun.substance",
    "noun.time",
    "verb.body",
    "verb.change",
    "verb.cognition",
    "verb.communication",
    "verb.competition",
    "verb.consumption",
    "verb.contact",
    "verb.creation",
    "verb.emotion",
    "verb.motion",
    "verb.perception",
    "verb.possession",
    "verb.social",
    "verb.stative",
    "verb.weather",
    "adj.ppl",
)
"""Names of the lexicographer files by number (lexnames(5WN)); Debian's package lacks the file that lists them."""

N_NOUN_SYNSETS = 82_115
"""Noun synsets in WordNet 3.0 (wnstats(7WN))."""

NOUN_FILES = ("data.noun", "index.noun", "noun.exc", "cntlist.rev")
"""The database files that hold the nouns."""
_OBTAIN = "name a folder with WordNet 3.0's database files (Debian: wordnet-base, NLTK: corpora/wordnet)"

TABLE_SCHEMA = pa.schema(
    [
        pa.field("wnid", pa.string(), nullable=False),
        pa.field("lemmas", pa.list_(pa.string()), nullable=False),
        pa.field("sense_numbers", pa.list_(pa.int16()), nullable=False),
        pa.field("counts", pa.list_(pa.int32()), nullable=False),
        pa.field("hypernyms", pa.list_(pa.string()), nullable=False),
        pa.field("instance_hypernyms", pa.list_(pa.string()), nullable=False),
        pa.field("lexicographer_file", pa.uint8(), nullable=False),
    ]
)
"""Columns of the packaged noun table; one row per synset, ascending by wnid."""


@dataclass(frozen=True, repr=False)  # no slots: the inverse maps below are computed on first use
class WordNet:
    """The noun synsets of one WordNet, numbered 0..S-1 in ascending order of wnid.

    Attributes:
        wnids: ImageNet-style ids, `n` and the eight-digit offset in `data.noun`, shape (S,).
        lemmas: for each synset its words in order, with spaces and the original case.
        sense_numbers: for each synset and lemma, the rank (from 1) of this synset among the lemma's senses.
        counts: for each synset and lemma, occurrences tagged in the semantic concordances.
        hypernyms: for each synset the numbers of its hypernyms (`@`), in file order.
        instance_hypernyms: for each synset the numbers of the classes it is an instance of (`@i`), in file order.
        lexicographer_files: for each synset the name of its lexicographer file, such as ``noun.animal``.
        exceptions: irregular plural to base forms (``noun.exc``), with underscores for spaces.
    """

    wnids: tuple[str, ...]
    lemmas: tuple[tuple[str, ...], ...]
    sense_numbers: tuple[tuple[int, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    hypernyms: tuple[tuple[int, ...], ...]
    instance_hypernyms: tuple[tuple[int, ...], ...]
    lexicographer_files: tuple[str, ...]
    exceptions: Mapping[str, tuple[str, ...]]

    @functools.cached_property
    def index_of_wnid(self) -> dict[str, int]:
        """Synset number of each wnid."""
        return {wnid: i for i, wnid in enumerate(self.wnids)}

    @functools.cached_property
    def lemmas_of_letter(self) -> dict[str, list[str]]:
        """The lemmas of `senses` that begin with each letter; of 100,000, one look at each would take 0.1 s a name."""
        found: dict[str, list[str]] = {}
        for lemma in self.senses:
            found.setdefault(lemma[:1], []).append(lemma)
        return found

    @functools.cached_property
    def senses(self) -> dict[str, tuple[int, ...]]:
        """Synset numbers of each lower-case lemma, first sense first."""
        ranked: dict[str, list[tuple[int, int]]] = {}
        for synset, (names, ranks) in enumerate(zip(self.lemmas, self.sense_numbers, strict=True)):
            for name, rank in zip(names, ranks, strict=True):
                ranked.setdefault(name.lower(), []).append((rank, synset))
        # One synset may hold two spellings of a lemma (`Chinese`, `chinese`): they are one sense.
        return {
            name: (one[0][1],) if len(one) == 1 else tuple(dict.fromkeys(synset for _, synset in sorted(one)))
            for name, one in ranked.items()
        }

    def wnid_of_name(self, name: str) -> str:
        """Return the wnid of a synset that NLTK names so, such as `cat.n.01`; empty where no noun has the name.

        https://www.nltk.org/howto/wordnet.html
        """
        word, _, number = name.rpartition(".")
        lemma = word.removesuffix(".n").replace("_", " ").lower()
        senses = self.senses.get(lemma, ()) if word.endswith(".n") and is_whole(number) else ()
        return self.wnids[senses[int(number) - 1]] if senses and 0 < int(number) <= len(senses) else ""

    @functools.cached_property
    def first_parents(self) -> tuple[int, ...]:
        """Number of each synset's first parent, -1 where it has none, shape (S,)."""
        return tuple(next(iter(self.parents(synset)), -1) for synset in range(len(self)))

    def __len__(self) -> int:
        return len(self.wnids)

    def name(self, synset: int) -> str:
        """Return the synset's lemmas, comma-separated."""
        return ", ".join(self.lemmas[synset])

    def parents(self, synset: int) -> tuple[int, ...]:
        """Return the synset's hypernyms and the classes it is an instance of, in file order."""
        return self.hypernyms[synset] + self.instance_hypernyms[synset]

    def base_forms(self, phrase: str) -> tuple[str, ...]:
        """Return the lemmas that `phrase` may be an inflection of, itself first if it is one (`morphology`)."""
        return base_forms(phrase.lower(), self.senses, self.exceptions)

    def to_table(self) -> pa.Table:
        """Return the network as a table of `TABLE_SCHEMA`, one row per synset, without the exceptions."""

        def wnids(numbers: Sequence[Sequence[int]]) -> list[list[str]]:
            return [[self.wnids[i] for i in synset] for synset in numbers]

        return pa.table(
            {
                "wnid": self.wnids,
                "lemmas": self.lemmas,
                "sense_numbers": self.sense_numbers,
                "counts": self.counts,
                "hypernyms": wnids(self.hypernyms),
                "instance_hypernyms": wnids(self.instance_hypernyms),
                "lexicographer_file": [LEXICOGRAPHER_FILES.index(name) for name in self.lexicographer_files],
            },
            schema=TABLE_SCHEMA,
        )


def load_wordnet(path: str | Path | None = None) -> WordNet:
    """Return the nouns of WordNet 3.0.

    Args:
        path: None for the packaged table; else a folder with WordNet 3.0's database files (Debian's
            ``/usr/share/wordnet``, NLTK's ``corpora/wordnet``), read through NLTK.

    Raises:
        UsageError: the folder lacks WordNet's files.
        DataError: the files are not those of WordNet 3.0.
    """
    if path is None:
        return _packaged_wordnet()
    folder = Path(path)
    missing = [name for name in NOUN_FILES if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"there is no {' or '.join(missing)} in it", where=folder, remedy=_OBTAIN)
    return _read_with_nltk(folder)


def wordnet_from_table(table: pa.Table, exceptions: Mapping[str, tuple[str, ...]]) -> WordNet:
    """Return the `WordNet` held by a table of `TABLE_SCHEMA`."""
    columns = {name: table[name].to_pylist() for name in table.column_names}
    index_of_wnid = {wnid: i for i, wnid in enumerate(columns["wnid"])}

    def numbers(column: str) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(index_of_wnid[wnid] for wnid in wnids) for wnids in columns[column])

    return WordNet(
        wnids=tuple(columns["wnid"]),
        lemmas=tuple(map(tuple, columns["lemmas"])),
        sense_numbers=tuple(map(tuple, columns["sense_numbers"])),
        counts=tuple(map(tuple, columns["counts"])),
        hypernyms=numbers("hypernyms"),
        instance_hypernyms=numbers("instance_hypernyms"),
        lexicographer_files=tuple(LEXICOGRAPHER_FILES[i] for i in columns["lexicographer_file"]),
        exceptions=exceptions,
    )


def parse_exceptions(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return irregular plural to base forms from the lines of ``noun.exc``."""
    return {form: tuple(bases) for form, *bases in (line.split() for line in lines if line.strip())}


@functools.cache
def _packaged_wordnet() -> WordNet:
    data = files("mlimages_dataset.vocab") / "data"
    with (data / "wordnet.parquet").open("rb") as stream:
        # Not `read_table`, which imports pandas and Arrow's data sets.
        table = pq.ParquetFile(pa.PythonFile(stream, mode="r")).read()
    return wordnet_from_table(table, parse_exceptions((data / "noun.exc").read_text("ascii").splitlines()))


def parse_sense_counts(lines: Iterable[str]) -> dict[str, int]:
    """Return the tagged occurrences of each sense key from the lines of ``cntlist.rev`` (cntlist(5WN))."""
    return {key: int(count) for key, _, count in (line.split() for line in lines)}


def _read_with_nltk(folder: Path) -> WordNet:
    from nltk.corpus.reader.wordnet import WordNetError  # noqa: PLC0415 - NLTK takes a second to import

    from mlimages_dataset.vocab.nltk_reader import NounFolder  # noqa: PLC0415 - as above

    try:
        reader = NounFolder(folder, LEXICOGRAPHER_FILES)
        version = reader.get_version()
        if version != "3.0":
            raise DataError(f"these files are of WordNet {version}, not 3.0", where=folder, remedy=_OBTAIN)
        return _nouns(reader)
    except (OSError, ValueError, AssertionError, LookupError, AttributeError, WordNetError) as error:
        raise DataError(f"NLTK cannot read these WordNet files ({error})", where=folder, remedy=_OBTAIN) from error


def _nouns(reader: NounFolder) -> WordNet:
    synsets = sorted(reader.all_eng_synsets("n"), key=lambda synset: synset.offset())
    with reader.open("cntlist.rev") as lines:
        counts = parse_sense_counts(lines)
    number = {synset.offset(): i for i, synset in enumerate(synsets)}

    def related(kind: str) -> tuple[tuple[int, ...], ...]:
        order = reader.hypernym_order
        return tuple(tuple(number[at] for mark, at in order[s.offset()] if mark == kind) for s in synsets)

    return WordNet(
        wnids=tuple(f"n{synset.offset():08d}" for synset in synsets),
        lemmas=tuple(tuple(name.replace("_", " ") for name in synset.lemma_names()) for synset in synsets),
        sense_numbers=tuple(
            tuple(reader.sense_offsets(name).index(synset.offset()) + 1 for name in synset.lemma_names())
            for synset in synsets
        ),
        counts=tuple(tuple(counts.get(lemma.key(), 0) for lemma in synset.lemmas()) for synset in synsets),
        hypernyms=related("@"),
        instance_hypernyms=related("@i"),
        lexicographer_files=tuple(synset.lexname() for synset in synsets),
        exceptions=reader.noun_exceptions(),
    )
