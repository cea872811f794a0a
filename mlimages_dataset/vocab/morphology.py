"""Base forms of nouns, as WordNet's own morphy(7WN) and NLTK find them.

The rules are few, and importing NLTK for them would take longer than matching several hundred names; NLTK's results are
what the tests compare with. Source: https://wordnet.princeton.edu/documentation/morphy7wn
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

_ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)
"""Endings of nouns, and what stands in their place in the base form."""


def base_forms(phrase: str, lemmas: Container[str], exceptions: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the lemmas that a phrase may be an inflection of, itself first if it is one.

    Args:
        phrase: in lower case, with spaces.
        lemmas: what counts as a base form, with spaces.
        exceptions: irregular plural to base forms, with underscores for spaces; for them, no ending is replaced.
    """
    irregular = exceptions.get(phrase.replace(" ", "_"))
    if irregular is None:
        forms = [phrase.removesuffix(old) + new for old, new in _ENDINGS if phrase.endswith(old)]
    else:
        forms = [form.replace("_", " ") for form in irregular]
    return tuple(dict.fromkeys(form for form in (phrase, *forms) if form in lemmas))
