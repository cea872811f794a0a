"""The images of a filter as text to copy: SQL for DuckDB, and Python. Both read the build's tables, not our index."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

from mlimages_dataset.augment.labels_stage import LABELS_STAGE
from mlimages_dataset.serve.filters import number
from mlimages_dataset.vocab.folder import CATEGORIES_FILE, VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.serve.build import ServedBuild
    from mlimages_dataset.serve.filters import Filter

_NO_PICTURES = "whether a picture is at hand is not in these tables"


def sql(chosen: Filter, build: ServedBuild) -> str:
    """Return a statement of DuckDB (1.3 or newer) that yields the rows of a filter."""
    lines = [f"-- {_NO_PICTURES}"] if chosen.pictures else []
    if chosen.category is not None and chosen.below:
        categories = _quoted(f"{glob.escape(str(build.folder))}/{VOCABULARY}/{CATEGORIES_FILE}")
        lines += [
            "WITH RECURSIVE below(class_index) AS (",
            f"    SELECT class_index FROM read_parquet({categories}) WHERE wnid = {_quoted(_wnid(chosen, build))}",
            "    UNION",
            f"    SELECT categories.class_index FROM read_parquet({categories}) AS categories",
            "    JOIN below ON list_contains(categories.parents, below.class_index)",
            ")",
        ]
    pattern = f"{glob.escape(str(build.folder))}/{LABELS_STAGE}/{chosen.split or '*'}/part-*.parquet"
    lines += ["SELECT image_id, source, location, labels", f"FROM read_parquet({_quoted(pattern)})"]
    conditions = [] if chosen.source is None else [f"source = {_quoted(chosen.source)}"]
    if chosen.asks_for_labels:
        conditions.append(_of_labels(chosen, build))
    lines += [f"{word} {one}" for word, one in zip(["WHERE", *["  AND"] * len(conditions)], conditions, strict=False)]
    return "\n".join(lines) + ";"


def python(chosen: Filter, build: ServedBuild) -> str:
    """Return Python code that leaves the ids of a filter's images in `image_ids`."""
    split = "" if chosen.split is None else repr(chosen.split)
    read = f"ml.Labels.read({f'{build.folder}/{LABELS_STAGE}'!r}, vocabulary)"
    lines = [f"# {_NO_PICTURES}"] if chosen.pictures else []
    lines += ["import numpy as np", "import mlimages_dataset as ml", ""]
    lines.append(f"vocabulary = ml.read_vocabulary({f'{build.folder}/{VOCABULARY}'!r})")
    if chosen.asks_for_labels:
        lines.append(f"rows = {read}.to_pandas({split})  # one row per label")
        lines += [f"rows = rows[{condition}]" for condition in _conditions(chosen, build)]
    else:
        lines.append(f"rows = {read}.to_arrow({split}).to_pandas()  # one row per image")
    if chosen.source is not None:
        lines.append(f"rows = rows[rows['source'] == {chosen.source!r}]")
    return "\n".join([*lines, "image_ids = rows['image_id'].unique()"])


def _of_labels(chosen: Filter, build: ServedBuild) -> str:
    """Return the condition that one of a row's labels matches."""
    parts = [] if chosen.origin is None else [f"label.origin = {int(chosen.origin)}"]
    least = number(chosen.least)
    parts.append("label.confidence > 0" if least is None else f"label.confidence >= CAST({least} AS FLOAT)")
    if chosen.most is not None:
        parts.append(f"label.confidence <= CAST({number(chosen.most)} AS FLOAT)")
    if chosen.category is not None and not chosen.below:
        parts.insert(0, f"label.class_index = {chosen.category}  /* {_comment(_wnid(chosen, build))} */")
    matching = f"list_filter(labels, lambda label: {' AND '.join(parts)})"
    if not chosen.below:
        return f"len({matching}) > 0"
    classes = f"list_transform({matching}, lambda label: label.class_index)"
    return f"list_has_any({classes}, (SELECT list(class_index) FROM below))"


def _conditions(chosen: Filter, build: ServedBuild) -> Iterator[str]:
    """Yield the conditions on a frame of labels."""
    if chosen.category is not None:
        at = f"vocabulary.index({_wnid(chosen, build)!r})"
        if chosen.below:
            yield f"rows['class_index'].isin(vocabulary.closure[:, [{at}]].nonzero()[0])"
        else:
            yield f"rows['class_index'] == {at}"
    if chosen.origin is not None:
        yield f"rows['origin'] == ml.Origin.{chosen.origin.name}"
    least = number(chosen.least)
    yield "rows['confidence'] > 0" if least is None else f"rows['confidence'] >= np.float32({least})"
    if chosen.most is not None:
        yield f"rows['confidence'] <= np.float32({number(chosen.most)})"


def _wnid(chosen: Filter, build: ServedBuild) -> str:
    assert chosen.category is not None
    return build.vocabulary.categories[chosen.category].wnid


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _comment(text: str) -> str:
    """Return a text that does not end a comment."""
    return text.replace("*/", "* /")
