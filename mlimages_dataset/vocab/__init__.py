"""Vocabularies grounded in WordNet: sources, matching, merging, hierarchy, validation."""

from mlimages_dataset.vocab.stage import read_tencent_dictionary, read_vocabulary
from mlimages_dataset.vocab.vocabulary import Vocabulary
from mlimages_dataset.vocab.wordnet import WordNet, load_wordnet

__all__ = ["Vocabulary", "WordNet", "load_wordnet", "read_tencent_dictionary", "read_vocabulary"]
