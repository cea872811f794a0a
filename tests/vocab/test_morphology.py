"""Base forms against NLTK's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from nltk.corpus.reader.wordnet import WordNetCorpusReader

from mlimages_dataset.vocab.morphology import base_forms
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENDINGS = ("", "s", "es", "ses", "ves", "xes", "zes", "ches", "shes", "men", "ies", "ss", "S")


class Nltks(WordNetCorpusReader):  # type: ignore[misc]  # NLTK has no annotations
    """NLTK's morphology of nouns, without the corpus files that its own constructor requires."""

    def __init__(self, lemmas: Iterable[str], exceptions: Mapping[str, tuple[str, ...]]) -> None:
        self._lemma_pos_offset_map = {lemma.replace(" ", "_"): ("n",) for lemma in lemmas}
        self._exception_map = {"n": {form: list(bases) for form, bases in exceptions.items()}}

    def base_forms(self, phrase: str) -> tuple[str, ...]:  # noqa: D102 - NLTK's own, public
        return tuple(form.replace("_", " ") for form in self._morphy(phrase.replace(" ", "_"), "n"))


WORDNET = load_wordnet()
NLTKS = Nltks(WORDNET.senses, WORDNET.exceptions)
LEMMAS = sorted(WORDNET.senses)
IRREGULAR = sorted(form.replace("_", " ") for form in WORDNET.exceptions)
SOME = [*LEMMAS[::40], *LEMMAS[-50:]]


def test_every_irregular_form_and_every_lemma_with_every_ending() -> None:
    for phrase in [*IRREGULAR, *(lemma + ending for lemma in SOME for ending in ENDINGS)]:
        assert base_forms(phrase, WORDNET.senses, WORDNET.exceptions) == NLTKS.base_forms(phrase), phrase


@given(st.lists(st.sampled_from([*LEMMAS[::200], "a", "of", "x y"])), st.sampled_from(ENDINGS), st.text(max_size=4))
def test_any_phrase(words: list[str], ending: str, rest: str) -> None:
    phrase = (" ".join(words) + ending + rest.replace("_", "")).lower()
    assert base_forms(phrase, WORDNET.senses, WORDNET.exceptions) == NLTKS.base_forms(phrase)
