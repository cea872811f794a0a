"""Print how often names are matched to the right synset, by rule and by truth set.

    python -m tests.benchmarks.matching_accuracy [SHARED_DATA]

"Ambiguous" names have several noun senses. The weights were fitted to these names: cross-validated figures come from
``scripts/fit_matching.py``. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from mlimages_dataset.vocab.hierarchy import ROOTS
from mlimages_dataset.vocab.matching import match_classes
from mlimages_dataset.vocab.sense_features import ancestors
from mlimages_dataset.vocab.wordnet import WordNet, load_wordnet
from tests.vocab.matching_truth import TRUTHS, known_sources, noun_senses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.vocab.matching_truth import Known, KnownSource

Outcomes = dict[str, list[bool]]
"""Whether each known name came out right, by the name of the rule."""


def outcomes(source: KnownSource, known: Sequence[Known], matched: Sequence[str | None], wordnet: WordNet) -> Outcomes:
    """Return whether the baselines and we are right on the ambiguous ones of the known names."""
    answers: Outcomes = {"first sense": [], "first concrete": [], "ImageNet, else first concrete": [], "ours": []}
    for one in known:
        senses = noun_senses(source.classes[one.position].name, wordnet)
        if len(senses) > 1:
            concrete = [s for s in senses if _is_concrete(s, wordnet)]
            in_imagenet = [s for s in senses if wordnet.wnids[s] in source.context.imagenet]
            chosen = (senses[:1], concrete[:1], (in_imagenet or concrete)[:1])
            for rule, choice in zip(answers, chosen, strict=False):
                answers[rule].append(any(wordnet.wnids[s] in one.wnids for s in choice))
            answers["ours"].append(matched[one.position] in one.wnids)
    return answers


def wilson(right: Sequence[bool], z: float = 1.96) -> str:
    """Return the share of right answers with its 95 % interval (Wilson 1927)."""
    n, p = len(right), sum(right) / len(right)
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return f"{p:5.1%} ({max(0.0, centre - half) / (1 + z * z / n):.0%}-{(centre + half) / (1 + z * z / n):.0%})"


def _is_concrete(synset: int, wordnet: WordNet) -> bool:
    return any(wordnet.index_of_wnid[root] in ancestors(wordnet, synset) for root in ROOTS)


def main(shared_data: Path) -> None:
    """Print the table."""
    wordnet = load_wordnet()
    for source in known_sources(shared_data, wordnet):
        start = perf_counter()
        matched = [match.wnid for match in match_classes(source.classes, source.context)]
        print(f"{source.name}: {len(source.classes):,} classes in {perf_counter() - start:.1f} s")
        for truth in TRUTHS:
            known = [one for one in source.known if one.truth == truth]
            if known:
                whole = [matched[one.position] in one.wnids for one in known]
                print(f"  {truth}: {len(known)} names, ours {wilson(whole)} of all")
                for rule, right in outcomes(source, known, matched, wordnet).items():
                    print(f"    {rule:30} {wilson(right)} of {len(right)} ambiguous")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[3] / "shared" / "data"))
