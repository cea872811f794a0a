"""Names under which others give confidences: a label whose confidence is not read would count as sure."""

from __future__ import annotations

import difflib
import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONFIDENCE = "confidence"
_LIKE_CONFIDENCE = {"score", "scores", "conf", "prob", "probability", "probabilities", "confidences", "certainty"}
_BESIDE_CONFIDENCE = {"label", "class", "category", "box", "object", "detection", "prediction", "pred", "model"}
"""Words of which a score may be, as in `pred_score`."""
_WORDS = re.compile(r"[a-z]+")
_NEAR = 0.85
_LONGEST = 64
"""Characters of a name; a longer one is none of these, and is not held in memory."""


def like_confidence(columns: Iterable[str]) -> str:
    """Return the first column that others call confidences; empty if there is none."""
    return next(filter(is_like_confidence, columns), "")


def is_like_confidence(name: str) -> bool:
    """Return whether a column may hold confidences: by its name, another usual one, or one spelled alike.

    >>> list(filter(is_like_confidence, ("Score", "confidance", "pred_score", "conf.", "conference", "scorer")))
    ['Score', 'confidance', 'pred_score', 'conf.']
    """
    return len(name) <= _LONGEST and _may_be_confidence(name)


@functools.lru_cache(maxsize=1 << 12)
def _may_be_confidence(name: str) -> bool:
    """Return `is_like_confidence` of a short name: rows have the same names again and again."""
    words = _WORDS.findall(name.lower())
    sure = [word for word in words if word in _LIKE_CONFIDENCE or _is_near(word)]
    return bool(sure) and len(sure) + sum(word in _BESIDE_CONFIDENCE for word in words) == len(words)


def _is_near(word: str) -> bool:
    return difflib.SequenceMatcher(None, word, _CONFIDENCE).ratio() > _NEAR
