"""Names under which others give confidences: a label whose confidence is not read would count as sure."""

from __future__ import annotations

import difflib
import functools
import re
from decimal import Decimal
from typing import TYPE_CHECKING

from mlimages_dataset.core.decimals import nearest_float

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONFIDENCE = "confidence"
_OWN_NAMES = {_CONFIDENCE, "confidences"}
_LIKE_CONFIDENCE = {"conf", "prob", "probs", "probability", "probabilities", "confidences", "certainty"}
_SCORES = {"score", "scores"}
_OF_MODEL = {"class", "box", "bbox", "object", "detection", "prediction", "predicted", "pred", "model"}
"""Words of which a score is a confidence, as in `pred_score`."""
_OF_LABEL = {"label", "category"}
"""Words of which a score may be anything, such as votes, and a probability is a confidence."""
_WORDS = re.compile(r"[^\W\d_]+")
_START = "conf"
"""How a word spelled alike begins: `coincidence` is none."""
_NEAR = 0.85
_LONGEST = 64
"""Characters of a name; a longer one is none of these, and is not held in memory."""


def like_confidence(columns: Iterable[str]) -> str:
    """Return the first column that others call confidences; empty if there is none."""
    return next(filter(is_like_confidence, columns), "")


def states_confidence(name: str, value: object) -> bool:
    """Return whether a value is a confidence: by its own name, or by another usual one if it is in 0..1.

    >>> [states_confidence("score", one) for one in (0.5, "0.5", [0.5, 0.25], 15, [15, 0.5], "high", None, True, [])]
    [True, True, True, False, False, False, False, False, False]
    >>> states_confidence("confidence", "high"), states_confidence("width", 0.5)
    (True, False)
    """
    if value is None or not is_like_confidence(name):
        return False
    values = [one for one in value if one is not None] if isinstance(value, list) else [value]
    return name.strip().lower() in _OWN_NAMES or (bool(values) and all(map(_is_share, values)))


def _is_share(value: object) -> bool:
    if isinstance(value, str):
        return 0 <= nearest_float(value) <= 1
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and 0 <= value <= 1


def is_like_confidence(name: str) -> bool:
    """Return whether a column may hold confidences: by its name, another usual one, or one spelled alike.

    The last word says what it is: a `confidence_label` or `score_class` is none.

    >>> list(filter(is_like_confidence, ("Score", "confidance", "pred_score", "conf.", "conference", "label_score")))
    ['Score', 'confidance', 'pred_score', 'conf.']
    """
    return len(name) <= _LONGEST and _may_be_confidence(name)


@functools.lru_cache(maxsize=1 << 12)
def _may_be_confidence(name: str) -> bool:
    """Return `is_like_confidence` of a short name: rows have the same names again and again."""
    words = _WORDS.findall(name.lower())
    sure = {word for word in words if word in _LIKE_CONFIDENCE or _is_near(word)}
    usual = sure | _SCORES
    others = _OF_MODEL | _OF_LABEL if sure else _OF_MODEL
    return bool(words) and words[-1] in usual and all(word in usual or word in others for word in words)


def _is_near(word: str) -> bool:
    return word.startswith(_START) and difflib.SequenceMatcher(None, word, _CONFIDENCE).ratio() > _NEAR
