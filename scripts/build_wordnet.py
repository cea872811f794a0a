"""Write the packaged noun table from WordNet 3.0's own files (wndb(5WN)), read directly.

    python scripts/build_wordnet.py /usr/share/wordnet mlimages_dataset/vocab/data

The library reads such a folder through NLTK instead; a test shows that both ways agree.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from mlimages_dataset.vocab.wordnet import (
    LEXICOGRAPHER_FILES,
    N_NOUN_SYNSETS,
    WordNet,
    parse_exceptions,
    parse_sense_counts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def records(path: Path) -> Iterator[list[str]]:
    """Yield the fields of each data line, the gloss left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("  "):
                yield line.partition(" | ")[0].split()


def parse_sense_offsets(rows: Iterable[list[str]]) -> dict[str, list[int]]:
    """Return the synset offsets of each lemma, first sense first, from the rows of ``index.noun``."""
    return {row[0]: [int(offset) for offset in row[-int(row[2]) :]] for row in rows}


def read_folder(folder: Path) -> WordNet:
    """Return the nouns of a WordNet folder."""
    offsets_of = parse_sense_offsets(records(folder / "index.noun"))
    counts_of = parse_sense_counts((folder / "cntlist.rev").read_text("utf-8").splitlines())
    rows = sorted(records(folder / "data.noun"))
    number = {row[0]: i for i, row in enumerate(rows)}
    lemmas, sense_numbers, counts = [], [], []
    pointers: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for row in rows:
        offset, file, n_words = int(row[0]), int(row[1]), int(row[3], 16)
        words, lexical_ids = row[4 : 4 + 2 * n_words : 2], row[5 : 5 + 2 * n_words : 2]
        lemmas.append(tuple(word.replace("_", " ") for word in words))
        sense_numbers.append(tuple(offsets_of[word.lower()].index(offset) + 1 for word in words))
        # A noun's sense key is lemma%1:file:id:: (senseidx(5WN)).
        counts.append(
            tuple(
                counts_of.get(f"{word.lower()}%1:{file:02d}:{int(identifier, 16):02d}::", 0)
                for word, identifier in zip(words, lexical_ids, strict=True)
            )
        )
        fields = row[5 + 2 * n_words :]
        for mark in ("@", "@i"):
            pointers[mark].append(
                tuple(
                    number[target]
                    for symbol, target, part in zip(fields[0::4], fields[1::4], fields[2::4], strict=True)
                    if symbol == mark and part == "n"
                )
            )
    return WordNet(
        wnids=tuple("n" + row[0] for row in rows),
        lemmas=tuple(lemmas),
        sense_numbers=tuple(sense_numbers),
        counts=tuple(counts),
        hypernyms=tuple(pointers["@"]),
        instance_hypernyms=tuple(pointers["@i"]),
        lexicographer_files=tuple(LEXICOGRAPHER_FILES[int(row[1])] for row in rows),
        exceptions=parse_exceptions((folder / "noun.exc").read_text("ascii").splitlines()),
    )


def main(source: str, target: str) -> None:
    """Read the folder `source` and write the table and the exceptions into the folder `target`."""
    network = read_folder(Path(source))
    if len(network) != N_NOUN_SYNSETS:
        sys.exit(f"{source}: {len(network):,} noun synsets, where WordNet 3.0 has {N_NOUN_SYNSETS:,}")
    pq.write_table(network.to_table(), Path(target) / "wordnet.parquet", compression="zstd", compression_level=19)
    shutil.copyfile(Path(source) / "noun.exc", Path(target) / "noun.exc")


if __name__ == "__main__":
    main(*sys.argv[1:])
