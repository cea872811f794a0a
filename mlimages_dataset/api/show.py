"""The labels of one image and why it has them; a category and what it comes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.api.arguments import ARGUMENTS, IMAGE_NAME
from mlimages_dataset.api.frames import place
from mlimages_dataset.api.image_ids import image_id
from mlimages_dataset.api.labels import Labels
from mlimages_dataset.api.messages import told_as
from mlimages_dataset.api.places import places_of
from mlimages_dataset.api.shown import Shown, ShownCategory, ShownImage, ShownLabel, ShownName, ShownPair
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, SPLITS, LabelsSummary
from mlimages_dataset.augment.reasons import RULES_COLUMN, labels_of_row, reasons, rule_in_words
from mlimages_dataset.core.arguments import check
from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.store import pictures_of
from mlimages_dataset.pipeline.records import read_manifest, summary_of
from mlimages_dataset.tables.label_search import count_with, ids_below, images_with, rows_of_image
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.api.frames import PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_EXAMPLES = 5
_SUGGESTIONS = 3
_ORDER = (Origin.ORIGINAL, Origin.MODEL_PREDICTION, Origin.CO_OCCURRENCE, Origin.ANCESTOR)
"""Of the labels of an image: first what was said of it."""


def show(
    folder: PathLike,
    what: str | int,
    *,
    vocabulary: PathLike | None = None,
    images: PathLike | None = None,
    implications: PathLike | None = None,
) -> Shown:
    """Return the labels of an image, each with its reason, or a category, from a build's folder; print it to read it.

    Only the row groups of the labels that may hold the image or the category are read.

    Args:
        folder: the folder of a build, of its labels, or of one split.
        what: an image: its id, or its name as files gave it. Or a category: a wnid, a class index, an id of a source's
            class, or a name, of which all senses are shown.
        vocabulary: the vocabulary's folder; by default the one beside the labels.
        images: the folder of the pictures; by default the one beside the labels, if there is one.
        implications: the file or folder of the pairs or rules that were applied; by default the one beside the labels.

    Raises:
        UsageError: there are no labels, or nothing is called so; the message names what is called similarly.
        DataError: the tables are damaged, or of another version.
    """
    check({**ARGUMENTS, "what": IMAGE_NAME}, {"what": what})
    with told_as({}):
        places = places_of(
            place(folder, what="folder"),
            None if vocabulary is None else place(vocabulary, what="vocabulary"),
            None if images is None else place(images, what="images"),
        )
    applied = places.pairs if implications is None else place(implications, what="implications")
    labels = Labels.read(places.labels, places.vocabulary, applied)
    found = Shown(
        tuple(_images(labels, what, places.images)),
        tuple(_category(labels, one) for one in _senses(labels.vocabulary, what)),
    )
    if not (found.images or found.categories):
        raise _nothing(labels, str(what), places.images)
    return found


def _senses(vocabulary: Vocabulary, what: str | int) -> list[int]:
    text = str(what)
    index = [int(text)] if is_whole(text) and int(text) < len(vocabulary) else []
    return list(dict.fromkeys([*index, *vocabulary.senses(text)]))


def _nothing(labels: Labels, what: str, images: Location | None) -> UsageError:
    if images is not None and pictures_of(open_store(images), image_id(what)):
        return UsageError(
            f"the picture {what!r} has no label", where=labels.folder, remedy="state what it shows, and build again"
        )
    found = labels.vocabulary.search(what, limit=_SUGGESTIONS)
    near = [f"{name.partition(',')[0]} ({wnid})" for name, wnid in zip(found["name"], found["wnid"], strict=True)]
    ids = ids_below(labels.parts(), image_id(what), _SUGGESTIONS)
    some = ", ".join(map(repr, ids or labels.first_ids(_SUGGESTIONS)))
    remedy = f"did you mean {some}?" if ids else f"ids of images are such as {some}"
    remedy += f"; near are the categories {', '.join(near)}" if near else ""
    return UsageError(f"no image and no category is called {what!r}", where=labels.folder, remedy=remedy)


def _images(labels: Labels, what: str | int, images: Location | None) -> Iterator[ShownImage]:
    wanted = image_id(what)
    for part in labels.parts():
        rows = rows_of_image([part], wanted)
        split = part.parent.name if part.parent.name in SPLITS else ""
        for row in range(rows.num_rows):
            yield _image(labels, rows.slice(row, 1), split, images)


def _image(labels: Labels, row: pa.Table, split: str, images: Location | None) -> ShownImage:
    """Return one row of a table of labels."""
    found, categories = labels_of_row(row, 0, labels.vocabulary), labels.vocabulary.categories
    whys = reasons(found, labels.vocabulary, labels.pairs)
    shown = [
        ShownLabel(index, categories[index].wnid, categories[index].name, one.confidence, one.origin.name.lower(), why)
        for one, why in zip(found, whys, strict=True)
        for index in (one.class_index,)
    ]
    order = {origin.name.lower(): at for at, origin in enumerate(_ORDER)}
    depth_of = [one.depth for one in categories]
    shown.sort(key=lambda one: (one.confidence == 0, order[one.origin], -one.confidence, -depth_of[one.class_index]))
    of_image, source, location = (row[name][0].as_py() for name in ("image_id", "source", "location"))
    return ShownImage(of_image, split, source, location, *_picture(row, images), tuple(shown))


def _picture(row: pa.Table, images: Location | None) -> tuple[str, int]:
    """Return the file with the picture of a row, and its offset there; empty and -1 if there is none."""
    if images is None:
        return "", -1
    store = open_store(images)
    (number,) = store.finder().find(row["image_id"].combine_chunks(), row["location"].combine_chunks()).tolist()
    if number < 0:
        return "", -1
    found = store.place(number)
    return str(found.path), found.offset


def _category(labels: Labels, at: int) -> ShownCategory:
    vocabulary = labels.vocabulary
    category = vocabulary.categories[at]
    images = _images_by_split(labels, at)
    return ShownCategory(
        name=_name(vocabulary, at),
        kind=_kind(vocabulary, at),
        parents=tuple(_name(vocabulary, one) for one in category.parents),
        children=tuple(_name(vocabulary, i) for i, one in enumerate(vocabulary.categories) if at in one.parents),
        classes=tuple(
            f"{row.source}: {row.source_name or row.source_id} ({row.rule})"
            for row in vocabulary.mapping
            if row.class_index == at
        ),
        images=images,
        brings=tuple(_pairs(labels, "antecedent", at)),
        comes_with=tuple(_pairs(labels, "consequent", at)),
        rule=rule_in_words(at, vocabulary, labels.pairs),
        examples=tuple(images_with(labels.parts(), at, min(_EXAMPLES, sum(images.values())))),
    )


def _kind(vocabulary: Vocabulary, at: int) -> str:
    """Return what a category is a kind of, by its parents' names, and its other names: the package has no glosses."""
    first, *others = vocabulary.categories[at].name.split(", ")
    parents = [vocabulary.categories[one].first_name for one in vocabulary.categories[at].parents]
    kind = f"a kind of {' and of '.join(parents)}" if parents else "a root of the hierarchy"
    return f"{first}: {kind}" + (f"; also called {', '.join(others)}" if others else "")


def _images_by_split(labels: Labels, at: int) -> dict[str, int]:
    """Return in how many images of each split a category is present: as the stage counted them, else counted now."""
    root = labels.folder.parent if labels.folder.name in SPLITS else labels.folder
    there = {part.parent.name if part.parent.name in SPLITS else "": part for part in labels.parts()}
    for folder in (root, root.parent):
        if (folder / MANIFEST_NAME).is_file() and LABELS_STAGE in (stages := read_manifest(folder).stages):
            summary = summary_of(LABELS_STAGE, stages[LABELS_STAGE], LabelsSummary)
            counts = {"train": summary.train, "val": summary.val}
            if there.keys() <= counts.keys():
                return {split: int(counts[split].images_of_class[at]) for split in there}
    parts = {split: [part for part in labels.parts() if part.parent == one.parent] for split, one in there.items()}
    return {split: count_with(of_split, at) for split, of_split in parts.items()}


def _pairs(labels: Labels, side: str, at: int) -> Iterator[ShownPair]:
    """Yield the pairs in which a category is the antecedent or the consequent, the strongest first."""
    if labels.pairs is None or RULES_COLUMN in labels.pairs.column_names:
        return
    other = "consequent" if side == "antecedent" else "antecedent"
    rows = labels.pairs.filter(pc.equal(labels.pairs[side], at)).to_pylist()
    for row in sorted(rows, key=lambda row: (-row["lower_bound"], -row["support"])):
        name = _name(labels.vocabulary, row[other])
        yield ShownPair(name, row["probability"], row["support"], row.get("images", -1))


def _name(vocabulary: Vocabulary, at: int) -> ShownName:
    return ShownName(at, vocabulary.categories[at].wnid, vocabulary.categories[at].name)
