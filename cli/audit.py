"""`mlimages-build audit`: whether label lists made elsewhere are consistent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .options import FILE, chosen_engine, dask_option, json_option, tell_start, vocab_option, workers_option

if TYPE_CHECKING:
    from mlimages_dataset.augment.label_audit import Audit
    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_SHOWN_PAIRS = 10


@click.command()
@vocab_option
@click.argument("files", nargs=-1, required=True, type=FILE)
@workers_option
@dask_option
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    *,
    vocabulary: Location,
    files: tuple[Location, ...],
    workers: int,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Count the rows of label lists that list all ancestors of their labels, and show what the others lack.

    FILES are label lists as Tencent ML-Images publishes them (a URL, then class:confidence, tab-separated), or
    labels and annotations tables. The exit code is 1 if a row lacks an ancestor, gives an ancestor a lower confidence
    than its descendant, is malformed, or has an unknown class.

    \b
    Example:
      mlimages-build vocab --tencent-dictionary dictionary_and_semantic_hierarchy.txt --out published
      mlimages-build audit --vocab published train_urls.txt
    """  # noqa: D301 - click wants the backspace itself
    tell_start(*files, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.augment.label_audit import audit as audited  # noqa: PLC0415
    from mlimages_dataset.vocab.folder import read_vocabulary  # noqa: PLC0415

    known = read_vocabulary(vocabulary)
    with chosen_engine(workers, dask_address) as mapper:
        found = audited(known, files, mapper=mapper)
    summary = _summary(known, found)
    click.echo(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else "\n".join(_lines(summary)))
    counts = found.counts
    fine = counts.closed == counts.monotone == counts.rows and not (counts.unknown or found.rejects.count)
    ctx.exit(0 if fine else 1)


def _summary(vocabulary: Vocabulary, found: Audit) -> dict[str, Json]:
    from mlimages_dataset.augment.audit import most_frequent  # noqa: PLC0415 - as above

    def pairs(which: str) -> list[Json]:
        entries = most_frequent(getattr(found.counts, which), vocabulary.closure, _SHOWN_PAIRS)
        names = [category.name for category in vocabulary.categories]
        return [
            {"class_index": c, "name": names[c], "ancestor": a, "ancestor_name": names[a], "rows": rows}
            for c, a, rows in entries
        ]

    counts = found.counts
    return {
        "rows": counts.rows,
        "closed_rows": counts.closed,
        "monotone_rows": counts.monotone,
        "missing_ancestors": int(counts.missing.sum()),
        "lower_ancestors": int(counts.lower.sum()),
        "unknown_labels": counts.unknown,
        "repeated_labels": counts.repeated_labels,
        "repeated_images": found.repeated_images,
        "malformed_rows": found.rejects.count,
        "first_malformed_rows": [str(reject) for reject in found.rejects.first],
        "most_missing": pairs("missing"),
        "most_lower": pairs("lower"),
    }


def _lines(summary: dict[str, Json]) -> list[str]:
    texts = (
        ("rows", "rows"),
        ("closed_rows", "rows closed under ancestors"),
        ("monotone_rows", "rows in which no present ancestor has a lower confidence than its descendant"),
        ("missing_ancestors", "ancestors missing"),
        ("lower_ancestors", "ancestors with a lower confidence than their descendant"),
        ("unknown_labels", "labels of unknown class indices"),
        ("repeated_labels", "labels repeated within a row"),
        ("repeated_images", "rows whose image has an earlier row"),
        ("malformed_rows", "malformed rows"),
    )
    lines = [f"{summary[name]:>12,}  {text}" for name, text in texts]
    for key, title in (("most_missing", "Most often missing"), ("most_lower", "Most often lower")):
        pairs = summary[key]
        assert isinstance(pairs, list)
        if pairs:
            lines.append(f"{title}:")
            lines += [
                f"{pair['rows']:>12,}  {pair['ancestor_name']} ({pair['ancestor']}), "
                f"above {pair['name']} ({pair['class_index']})"
                for pair in pairs
                if isinstance(pair, dict)
            ]
    from mlimages_dataset.sources.rejects import first_lines  # noqa: PLC0415 - as above

    malformed = summary["first_malformed_rows"]
    assert isinstance(malformed, list)
    n_malformed = summary["malformed_rows"]
    assert isinstance(n_malformed, int)
    return lines + first_lines("malformed", malformed, n_malformed)
