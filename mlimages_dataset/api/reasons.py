"""Why an image has each of its labels, in words; the rules are those of `augment.ancestors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    import pyarrow as pa

    from mlimages_dataset.vocab.vocabulary import Vocabulary


def reasons(rows: pd.DataFrame, vocabulary: Vocabulary, pairs: pa.Table | None) -> list[str]:
    """Return the reason for each label of an image.

    Args:
        rows: the labels that one source's annotations gave an image, in the columns of a frame of labels.
        vocabulary: the vocabulary of the labels.
        pairs: an `implications` table of the pairs that were applied, and if known the column `images` (n_i, those
            annotated with the antecedent); None if the pairs are not known.
    """
    return [_reason(row, rows[rows["class_index"] != row.class_index], vocabulary, pairs) for row in rows.itertuples()]


def _reason(row: Any, others: pd.DataFrame, vocabulary: Vocabulary, pairs: pa.Table | None) -> str:
    if row.confidence == 0:
        return _reason_of_absence(row, others, vocabulary)
    present = others[others["confidence"] > 0]
    if row.origin == Origin.ORIGINAL:
        raised = present[present["confidence"] >= row.confidence]  # its confidence is at least theirs
        above = list(_ancestor_of(row, raised, vocabulary))
        implied = [
            text for text, confidence in _implied_by(row, present, vocabulary, pairs) if confidence >= row.confidence
        ]
        return "; also ".join([f"annotated by {row.source}", *above, *implied])
    if row.origin == Origin.CO_OCCURRENCE:
        if pairs is None:
            return "co-occurrence (pairs not given)"
        if implied := [text for text, _ in _implied_by(row, present, vocabulary, pairs)]:
            return "; ".join(implied)
    return next(_ancestor_of(row, present, vocabulary), "co-occurrence (by none of the pairs given)")


def _reason_of_absence(row: Any, others: pd.DataFrame, vocabulary: Vocabulary) -> str:
    if row.origin == Origin.ORIGINAL:
        return f"{row.source} says that it is absent"
    stated = others[(others["confidence"] == 0) & (others["origin"] == Origin.ORIGINAL)]["class_index"]
    ancestors = _ancestors(row.class_index, vocabulary)
    above = [i for i in stated if i in ancestors]
    return f"below {_named(above, vocabulary)}, which is absent"


def _ancestor_of(row: Any, present: pd.DataFrame, vocabulary: Vocabulary) -> Iterator[str]:
    """Yield which of the present categories are the lowest below a category, if any is."""
    above = {i: _ancestors(i, vocabulary) for i in present["class_index"]}
    below = [i for i, ancestors in above.items() if row.class_index in ancestors]
    if lowest := [i for i in below if not any(other != i and i in above[other] for other in below)]:
        yield f"because {_named(lowest, vocabulary)} {'is one' if len(lowest) == 1 else 'are'}"


def _implied_by(
    row: Any, present: pd.DataFrame, vocabulary: Vocabulary, pairs: pa.Table | None
) -> Iterator[tuple[str, float]]:
    """Yield for each annotated category that implies a category the reason and the confidence that it gives."""
    if pairs is None:
        return
    stated = present[present["origin"] == Origin.ORIGINAL]
    confidence_of = dict(zip(stated["class_index"], stated["confidence"], strict=True))
    for pair in pairs.filter(pc.equal(pairs["consequent"], row.class_index)).to_pylist():
        if pair["antecedent"] in confidence_of:
            share = pair["probability"]
            given = float(np.float32(confidence_of[pair["antecedent"]]) * np.float32(share))
            counts = f"{pair['support']:,} of {pair['images']:,}" if "images" in pair else f"{100 * share:.0f} % of its"
            yield f"because of {_named([pair['antecedent']], vocabulary)}: {counts} images", given


def _ancestors(class_index: int, vocabulary: Vocabulary) -> frozenset[int]:
    """Return a category's ancestors and itself."""
    closure = vocabulary.closure  # its rows are read whole: to look up single entries is slow
    return frozenset(closure.indices[closure.indptr[class_index] : closure.indptr[class_index + 1]].tolist())


def _named(classes: Iterable[int], vocabulary: Vocabulary) -> str:
    return " and ".join(vocabulary.categories[i].first_name for i in classes)
