"""What each of the 601 packaged box classes of Open Images becomes, as a table that was read by hand."""

from __future__ import annotations

import csv
import functools
import io
from typing import TYPE_CHECKING

from mlimages_dataset.recipes.recipe import default_recipe
from mlimages_dataset.vocab.merging import merged_vocabulary
from mlimages_dataset.vocab.packaged import packaged_imagenet
from mlimages_dataset.vocab.readings import packaged_decisions
from mlimages_dataset.vocab.stage import read_class_lists
from mlimages_dataset.vocab.vocabulary import OPEN_IMAGES, MappingRow, Vocabulary
from mlimages_dataset.vocab.wordnet import load_wordnet
from tests.golden.inputs_and_tables import FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

BOXABLE = FOLDER / "boxable_classes.csv"
HEADER = ("source_id", "name", "wnid", "lemma", "rule")
DROPPED = "dropped"


def packaged_vocabulary(box_parents: Mapping[str, tuple[str, ...]]) -> Vocabulary:
    """Return the vocabulary of the default recipe, with the packaged decisions and readings, beside a box hierarchy."""
    return merged_vocabulary(
        read_class_lists(default_recipe().vocabulary),
        load_wordnet(),
        packaged_decisions(),
        image_counts={},
        imagenet_all=packaged_imagenet(),
        box_parents=box_parents,
    )


@functools.cache
def default_vocabulary() -> Vocabulary:
    """Return the vocabulary of the default build."""
    return packaged_vocabulary({})


def boxable_table(vocabulary: Vocabulary) -> str:
    """Return the box classes as CSV, ascending by id: name, synset (or that it is dropped), its first lemma, rule.

    A category of its own has its parent's first lemma behind `<`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for row in sorted(vocabulary.mapping, key=lambda row: row.source_id):
        if row.source == OPEN_IMAGES:
            lemma = _lemma(row, vocabulary)
            wnid = row.wnid if row.class_index >= 0 else DROPPED
            writer.writerow((row.source_id, row.source_name, wnid, lemma, row.rule))
    return text.getvalue()


def _lemma(row: MappingRow, vocabulary: Vocabulary) -> str:
    wordnet = load_wordnet()
    if row.wnid in wordnet.index_of_wnid:
        return wordnet.lemmas[wordnet.index_of_wnid[row.wnid]][0]
    return f"< {vocabulary.parents(row.wnid)[0].name.split(', ')[0]}" if row.wnid else ""
