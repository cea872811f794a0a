"""Why an image has each of its labels, in words; the rules are those of `augment.ancestors`."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.rules import INTERCEPT, PICTURE
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.confidences import LEAST, MOST
from mlimages_dataset.tables.label_columns import columns_of
from mlimages_dataset.tables.schemas import RULES, Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlimages_dataset.vocab.vocabulary import Vocabulary


_TOLD_TERMS = 5
_MOST_DIGITS = 7
_TOLD_RISE = 1e-3
"""Log-odds that a confidence of 32 bits still tells."""
RULES_COLUMN = RULES.arrow.names[1]
"""A column of `rules`, and of no `implications`."""


@dataclass(frozen=True, slots=True)
class ImageLabel:
    """One label of an image: its category, its confidence, where it comes from, and whose annotations it follows."""

    class_index: int
    confidence: float
    origin: Origin
    source: str


def labels_of_row(rows: pa.Table | pa.RecordBatch, row: int, vocabulary: Vocabulary) -> list[ImageLabel]:
    """Return the labels of one row of a `labels` table, in their order.

    Raises:
        DataError: they are of another vocabulary.
    """
    labels = rows.slice(row, 1)["labels"]
    columns = columns_of(labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels)
    try:
        columns.check(len(vocabulary))
    except (IndexError, ValueError) as error:
        remedy = "pass the vocabulary that the table was made with"
        raise DataError(f"the labels of {rows['image_id'][row]}: {error}", remedy=remedy) from error
    source = rows["source"][row].as_py()
    fields = (columns.class_index.tolist(), columns.confidence.tolist(), columns.origin.tolist())
    return [ImageLabel(index, share, Origin(origin), source) for index, share, origin in zip(*fields, strict=True)]


def reasons(rows: Sequence[ImageLabel], vocabulary: Vocabulary, pairs: pa.Table | None) -> list[str]:
    """Return the reason for each label of an image.

    Args:
        rows: the labels that one source's annotations gave an image.
        vocabulary: the vocabulary of the labels.
        pairs: an `implications` table of the pairs that were applied, and if known the column `images` (n_i, those
            annotated with the antecedent); or the `rules` table; None if neither is known.
    """
    every = list(rows)
    return [_reason(row, [one for one in every if one is not row], vocabulary, pairs) for row in every]


def _reason(row: ImageLabel, others: Sequence[ImageLabel], vocabulary: Vocabulary, pairs: pa.Table | None) -> str:
    if row.confidence == 0:
        return _reason_of_absence(row, others, vocabulary)
    present = [one for one in others if one.confidence > 0]
    if row.origin == Origin.ORIGINAL:
        raised = [one for one in present if one.confidence >= row.confidence]  # its confidence is at least theirs
        above = list(_ancestor_of(row, raised, vocabulary))
        implied = [
            text for text, confidence in _implied_by(row, present, vocabulary, pairs) if confidence >= row.confidence
        ]
        return "; also ".join([f"annotated by {row.source}", *above, *implied])
    if row.origin == Origin.CO_OCCURRENCE:
        if pairs is None:
            return "co-occurrence (pairs not given)"
        if RULES_COLUMN in pairs.column_names:
            return _likely_by(row, present, vocabulary, pairs)
        if implied := [text for text, _ in _implied_by(row, present, vocabulary, pairs)]:
            return "; ".join(implied)
    return next(_ancestor_of(row, present, vocabulary), "co-occurrence (by none of the pairs given)")


def _reason_of_absence(row: ImageLabel, others: Sequence[ImageLabel], vocabulary: Vocabulary) -> str:
    if row.origin == Origin.ORIGINAL:
        return f"{row.source} says that it is absent"
    stated = [one.class_index for one in others if one.confidence == 0 and one.origin == Origin.ORIGINAL]
    ancestors = _ancestors(row.class_index, vocabulary)
    above = [i for i in stated if i in ancestors]
    return f"below {_named(above, vocabulary)}, which is absent"


def _ancestor_of(row: ImageLabel, present: Sequence[ImageLabel], vocabulary: Vocabulary) -> Iterator[str]:
    """Yield which of the present categories are the lowest below a category that give it its confidence, if any do."""
    above = {one.class_index: _ancestors(one.class_index, vocabulary) for one in present}
    confidence_of = {one.class_index: one.confidence for one in present}
    below = [i for i, ancestors in above.items() if row.class_index in ancestors]
    below = [i for i in below if confidence_of[i] >= row.confidence] or below
    if lowest := [i for i in below if not any(other != i and i in above[other] for other in below)]:
        yield f"because {_named(lowest, vocabulary)} {'is one' if len(lowest) == 1 else 'are'}"


def _implied_by(
    row: ImageLabel, present: Sequence[ImageLabel], vocabulary: Vocabulary, pairs: pa.Table | None
) -> Iterator[tuple[str, float]]:
    """Yield for each annotated category that implies a category the reason and the confidence that it gives."""
    if pairs is None or RULES_COLUMN in pairs.column_names:
        return
    confidence_of = {one.class_index: one.confidence for one in present if one.origin == Origin.ORIGINAL}
    for pair in pairs.filter(pc.equal(pairs["consequent"], row.class_index)).to_pylist():
        if pair["antecedent"] in confidence_of:
            share = pair["probability"]
            given = float(np.float32(confidence_of[pair["antecedent"]]) * np.float32(share))
            counts = f"{pair['support']:,} of {pair['images']:,}" if "images" in pair else f"{100 * share:.0f} % of its"
            yield f"because of {_named([pair['antecedent']], vocabulary)}: {counts} images", given


def _likely_by(row: ImageLabel, present: Sequence[ImageLabel], vocabulary: Vocabulary, rules: pa.Table) -> str:
    """Return what makes a category likely, the picture first, and how much each label says, the strongest first."""
    known = {one.class_index: one.confidence for one in present if one.origin == Origin.ORIGINAL}
    every = rules.filter(pc.equal(rules["consequent"], row.class_index)).to_pylist()
    terms = [
        (term["weight"] * known[term["antecedent"]] * known.get(term["together_with"], 1.0), term)
        for term in every
        if term["antecedent"] in known and term["together_with"] in {-1, *known}
    ]
    seen = _seen(row.confidence, math.fsum(weight for weight, _ in terms), every)
    said = [
        f"{_named([i for i in (term['antecedent'], term['together_with']) if i >= 0], vocabulary)} {weight:+.1f}"
        for weight, term in sorted(terms, key=lambda term: -abs(term[0]))[:_TOLD_TERMS]
    ]
    if not said and seen is None:
        return next(_ancestor_of(row, present, vocabulary), "co-occurrence (by none of the rules given)")
    by = [] if seen is None else [f"by its picture, to which the model gives {_given(seen, every)}: {seen:+.1f}"]
    by += [f"by what it shows beside it: {', '.join(said)}"] if said else []
    return f"probably, {' and '.join(by)} (log-odds); right in {row.confidence:.0%} of such images"


def rule_in_words(class_index: int, vocabulary: Vocabulary, rules: pa.Table | None) -> str:
    """Return in one line when a rule adds a category to an image; empty if none does, or `rules` are implications."""
    if rules is None or RULES_COLUMN not in rules.column_names:
        return ""
    terms = rules.filter(pc.equal(rules["consequent"], class_index)).to_pylist()
    if not terms:
        return ""
    labels = sorted((one for one in terms if one["antecedent"] >= 0), key=lambda one: -abs(one["weight"]))
    named = (
        f"{_named([i for i in (one['antecedent'], one['together_with']) if i >= 0], vocabulary)} {one['weight']:+.1f}"
        for one in labels[:_TOLD_TERMS]
    )
    said = [_enough(terms)] if any(one["antecedent"] == PICTURE for one in terms) else []
    said += [f"labels that say most (log-odds): {', '.join(named)}"] if labels else []
    return "; ".join([f"where its estimate is {terms[0]['least']:.0%} or more", *said])


def _enough(terms: Sequence[dict[str, Any]]) -> str:
    """Return which probability of a teacher is enough without any known label."""
    left = _log_odds(terms[0]["least"]) - math.fsum(one["weight"] for one in terms if one["antecedent"] == INTERCEPT)
    ramps = _ramps(terms)
    if left <= 0:
        return f"any prediction above {ramps[0]['score_from']:.2g} is enough alone"
    at = _risen_at(left, ramps)
    return "no prediction is enough alone" if at is None else f"a prediction of {_at_least(at)} or more is enough alone"


def _ramps(terms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ramps of a consequent, the lowest first."""
    ramps = (one for one in terms if one["antecedent"] == PICTURE)
    return sorted(ramps, key=lambda one: float(one["score_from"]))


def _risen_at(rise: float, ramps: Sequence[dict[str, Any]]) -> float | None:
    """Return the lowest probability of a teacher that adds so much, above 0, to the log-odds; None if none does."""
    for one in ramps:
        if rise <= one["weight"]:
            first, last = _log_odds(one["score_from"]), _log_odds(one["score_to"])
            return 1 / (1 + math.exp(-(first + rise / one["weight"] * (last - first))))
        rise -= one["weight"]
    return None


def _given(seen: float, terms: Sequence[dict[str, Any]]) -> str:
    """Return which probability a teacher gave, if it added so much to the log-odds.

    Beyond the last ramp, and before the first, every prediction adds the same.
    """
    ramps = [one for one in _ramps(terms) if one["weight"] > 0]
    if not ramps or seen < _TOLD_RISE:
        return "little or nothing"
    at = _risen_at(seen, ramps)
    if at is None or seen > math.fsum(one["weight"] for one in ramps) - _TOLD_RISE:
        return f"{ramps[-1]['score_to']:.3g} or more"
    return f"about {min(at, 0.999):.3g}"


def _at_least(share: float) -> str:
    """Return a share below 1 rounded up, to two digits or as many as tell it from 1."""
    digits = next(n for n in itertools.count(2) if math.ceil(share * 10**n) < 10**n or n == _MOST_DIGITS)
    return f"{math.ceil(share * 10**digits) / 10**digits:.{digits}f}"


def _log_odds(share: float) -> float:
    inside = min(max(share, float(LEAST)), float(MOST))
    return math.log(inside / (1 - inside))


def _seen(confidence: float, said: float, terms: Sequence[dict[str, Any]]) -> float | None:
    """Return what a teacher's prediction added to the log-odds of a label; None if no term reads one.

    It is what the known labels and the intercept leave of the label's confidence.
    """
    most = [term["weight"] for term in terms if term["antecedent"] == PICTURE]
    if not most:
        return None
    intercept = math.fsum(term["weight"] for term in terms if term["antecedent"] == INTERCEPT)
    return min(max(_log_odds(confidence) - intercept - said, 0.0), math.fsum(most))


def _ancestors(class_index: int, vocabulary: Vocabulary) -> frozenset[int]:
    """Return a category's ancestors and itself."""
    closure = vocabulary.closure  # its rows are read whole: to look up single entries is slow
    return frozenset(closure.indices[closure.indptr[class_index] : closure.indptr[class_index + 1]].tolist())


def _named(classes: Iterable[int], vocabulary: Vocabulary) -> str:
    return " and ".join(vocabulary.categories[i].first_name for i in classes)
