"""The Arrow schemas of the tables that stages exchange, each named and versioned.

Every file carries ``mlimages.schema = name/version`` in its metadata. No column holds nulls. A label's confidence is
1 for verified present, 0 for verified absent, and a machine's confidence in between; a class that is not listed is
unknown unless the source declares that unlisted classes are absent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence


class Origin(enum.IntEnum):
    """Why an image has a label, from most to least direct; a label with several origins keeps the lowest.

    `CO_OCCURRENCE` and `MODEL_PREDICTION` also mark the ancestors that an image has through such labels only.
    """

    ORIGINAL = 0
    ANCESTOR = 1
    CO_OCCURRENCE = 2
    MODEL_PREDICTION = 3

    @property
    def words(self) -> str:
        """What readers call it."""
        return _WORDS[self]


_WORDS = {
    Origin.ORIGINAL: "original annotation",
    Origin.ANCESTOR: "ancestor of a label",
    Origin.CO_OCCURRENCE: "co-occurrence",
    Origin.MODEL_PREDICTION: "model prediction",
}


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A named, versioned Arrow schema without nulls."""

    name: str
    version: int
    arrow: pa.Schema

    @property
    def label(self) -> str:
        """Return `name/version`, as files carry it."""
        return f"{self.name}/{self.version}"

    def only(self, columns: Sequence[str]) -> TableSchema:
        """Return the schema of some columns of the table."""
        return TableSchema(self.name, self.version, pa.schema([self.arrow.field(name) for name in columns]))


def _schema(table: str, version: int = 1, /, **columns: pa.DataType) -> TableSchema:
    fields = [pa.field(column, kind, nullable=False) for column, kind in columns.items()]
    return TableSchema(table, version, pa.schema(fields))


def _list_of(kind: pa.DataType) -> pa.ListType:
    return pa.list_(pa.field("element", kind, nullable=False))


LABEL = pa.struct(
    [
        pa.field("class_index", pa.int32(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("origin", pa.uint8(), nullable=False),
    ]
)
"""One label of one image; a row's labels ascend by `class_index` and never repeat one."""

_IMAGE_LABELS = {
    "image_id": pa.string(),
    "source": pa.string(),
    "location": pa.string(),
    "labels": _list_of(LABEL),
}

CATEGORIES = _schema(
    "categories",
    class_index=pa.int32(),
    wnid=pa.string(),
    name=pa.string(),
    root=pa.int32(),
    parent=pa.int32(),
    parents=_list_of(pa.int32()),
    depth=pa.int32(),
    sources=_list_of(pa.string()),
    mids=_list_of(pa.string()),
    images=pa.int64(),
)
MAPPING = _schema(
    "mapping",
    2,
    source=pa.string(),
    source_id=pa.string(),
    source_name=pa.string(),
    class_index=pa.int32(),
    wnid=pa.string(),
    rule=pa.string(),
    evidence=pa.string(),
    alternatives=_list_of(pa.string()),
    probability=pa.float32(),
)
"""Version 2 added `probability`: that the class means the synset `wnid`; 0 where there is none (`vocab.certainty`)."""
ANNOTATIONS = _schema("annotations", **_IMAGE_LABELS)
PREDICTIONS = _schema("predictions", **_IMAGE_LABELS)
LABELS = _schema("labels", **_IMAGE_LABELS)
LONG_FORM = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.string()),
        ("class_index", pa.int32()),
        ("confidence", pa.float32()),
        ("origin", pa.string()),
        ("location", pa.string()),
    ]
)
"""The columns of exported CSV, one row per label."""
PAIR_COUNTS = _schema("pair_counts", left=pa.int32(), right=pa.int32(), n_left=pa.int64(), n_both=pa.int64())
IMPLICATIONS = _schema(
    "implications",
    2,
    antecedent=pa.int32(),
    consequent=pa.int32(),
    probability=pa.float32(),
    support=pa.int64(),
    lower_bound=pa.float32(),
)
"""Version 2 added `lower_bound`: of the 95 % Wilson score interval of the probability (docs/decisions/0004)."""

RULES = _schema(
    "rules",
    2,
    antecedent=pa.int32(),
    together_with=pa.int32(),
    consequent=pa.int32(),
    weight=pa.float32(),
    least=pa.float32(),
    score_from=pa.float32(),
    score_to=pa.float32(),
)
"""What is known of an image says of another label: the terms of a logistic regression for each consequent
(`augment.rules`).

An antecedent of -1 is the intercept, one of -2 a teacher's probability of the consequent itself: it adds nothing up to
`score_from`, the weight from `score_to` on, and a share of it between (both are 0 in other terms). `together_with` is
-1 except in a term of two antecedents. A consequent is added where its estimate is at least `least`, which is the same
in all rows. Version 2 added the teacher's probability."""

IMAGES = _schema(
    "images",
    image_id=pa.string(),
    status=pa.string(),
    detail=pa.string(),
    shard=pa.string(),
    offset=pa.int64(),
    bytes=pa.int64(),
    width=pa.int32(),
    height=pa.int32(),
    digest=pa.string(),
)
REGION_FLAGS = ("group_of", "difficult", "occluded", "truncated", "depiction", "inside", "crowd")
"""What a collection may say of a box: true only where it says so."""

REGIONS = _schema(
    "regions",
    image_id=pa.string(),
    source=pa.string(),
    class_index=pa.int32(),
    xmin=pa.float32(),
    ymin=pa.float32(),
    xmax=pa.float32(),
    ymax=pa.float32(),
    confidence=pa.float32(),
    origin=pa.uint8(),
    **dict.fromkeys(REGION_FLAGS, pa.bool_()),
    mask=pa.string(),
)
"""One box of one category in one image, as shares of the image's width and height; rows ascend by image id."""

LABEL_MAPS = _schema(
    "label_maps", image_id=pa.string(), source=pa.string(), width=pa.int32(), height=pa.int32(), map=pa.binary()
)
"""The class of every pixel of one image, as an indexed PNG."""

CLASS_COUNTS = _schema("class_counts", source=pa.string(), source_id=pa.string(), images=pa.int64())
"""Images per class of a source, before any mapping, as `mlimages-build tally` writes them."""

ALL = {
    schema.name: schema
    for schema in (
        CATEGORIES,
        MAPPING,
        ANNOTATIONS,
        PREDICTIONS,
        LABELS,
        PAIR_COUNTS,
        IMPLICATIONS,
        RULES,
        IMAGES,
        REGIONS,
        LABEL_MAPS,
        CLASS_COUNTS,
    )
}
