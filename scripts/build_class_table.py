"""Write docs/explain/classes.md: what the box classes of Open Images and COCO's classes mean.

    python -m scripts.build_class_table

Run from the repository's root. The meanings are those of a vocabulary built from the packaged lists.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

import mlimages_dataset as ml
from mlimages_dataset.vocab.readings import Agreement, Reading, packaged_readings
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from mlimages_dataset.vocab.wordnet import WordNet

PAGE = Path("docs/explain/classes.md")
_NARROWER = ("reviewed: nearest parent", "parent given in the list")
_HEAD = """# What classes mean

Every class name of Open Images (V1, trainable and boxable), COCO, LVIS, Objects365, VOC and Places365 that has
several senses in WordNet 3.0, or none, was read twice by a language model, with WordNet's glosses, the collection's
hierarchy and the neighbouring names at hand; neither reading knew of the other. Where one implies the other, the
broader synset counts; where they differ otherwise, a third one decided, or the name is left to the matcher. The
answers are in `mlimages_dataset/vocab/data/senses.csv`, with all readings and the reason. Names with one concrete
sense are there only where they mean something else, and what people had decided (`reviewed.toml`) stands.

"""
_HARDEST = """
**The hardest names** are those of which all three readings differ. The third one counts, with a probability of a third
in the table `mapping`. *<* means a kind of the synset, and *-* that no synset fits:

| name | first reading | second | third | its reason |
|---|---|---|---|---|
"""
_TABLES = """
Below, *=* means the synset itself, *<* a kind of it for which WordNet has no synset: the class gives its images that
category, and is a category of its own below it with `--narrower`. No class of either list is dropped.
"""


def page() -> str:
    """Return the page."""
    data = files("mlimages_dataset.vocab") / "data"
    vocabulary = ml.build_vocabulary(
        open_images=str(data / "open_images_boxable.csv"),
        imagenet=str(data / "imagenet11k.txt"),
        classes={"coco": str(data / "coco.csv")},
    )
    mapping, categories = vocabulary.to_pandas("mapping"), vocabulary.to_pandas()
    names = dict(zip(categories["wnid"], categories["name"], strict=True))
    text = _HEAD + "\n".join(_agreements()) + "\n" + _HARDEST + "\n".join(_hardest()) + "\n" + _TABLES
    for source, title in (("open-images", "Open Images' 601 box classes"), ("coco", "COCO's 80 classes")):
        rows = mapping[mapping["source"] == source].sort_values("source_name", key=lambda column: column.str.lower())
        text += f"\n## {title}\n\n| class | | synset | |\n|---|---|---|---|\n" + "\n".join(_rows(rows, names)) + "\n"
    return text


def _agreements() -> Iterator[str]:
    by_source: dict[str, list[Reading]] = {}
    readings = packaged_readings()
    yield "| collection | names read | both agree | the broader counts | a third decided | with one of the two |"
    yield "|---|---:|---:|---:|---:|---:|"
    for (source, _), reading in readings.by_id.items():
        by_source.setdefault(source, []).append(reading)
    for source, rows in by_source.items():
        found = Agreement.of(rows)
        agreed = f"{found.agree:,} ({found.agree / found.names:.1%})"
        yield f"| {source} | {found.names:,} | {agreed} | {found.broader:,} | {found.third:,} | {found.joined:,} |"


def _hardest() -> Iterator[str]:
    """Yield a row for each name of which no two readings agree."""
    wordnet = load_wordnet()
    for reading in packaged_readings().by_id.values():
        if len(reading.readings) == len(set(reading.readings)) == 3:  # noqa: PLR2004 - the page's columns
            answers = (_in_words(answer, wordnet) for answer in reading.readings)
            yield f"| {reading.name} | {' | '.join(answers)} | {reading.reason} |"


def _in_words(answer: str, wordnet: WordNet) -> str:
    """Return a reading such as `<n02958343`, or `-`, with the first name of its synset."""
    wnid = answer.lstrip("<")
    name = wordnet.name(wordnet.index_of_wnid[wnid]).split(", ")[0] if wnid in wordnet.index_of_wnid else ""
    return f"{'< ' if answer.startswith('<') else ''}{name or answer}"


def _rows(rows: pd.DataFrame, names: dict[str, str]) -> Iterator[str]:
    for _, row in rows.iterrows():
        sign = "<" if row["rule"] in _NARROWER else "="
        synset = ", ".join(names[row["wnid"]].split(", ")[:2])
        yield f"| {row['source_name']} | {sign} | {synset} | {row['wnid']} |"


@click.command()
def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
