"""What a build leaves for its owner to decide, by name, with what to write where a line decides it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER
from mlimages_dataset.augment.annotation_counts import shown_class
from mlimages_dataset.augment.labels_stage import LABELS_STAGE
from mlimages_dataset.core.documents import written_csv
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.recipes.pictures import PICTURES
from mlimages_dataset.recipes.starting import PHOTOS
from mlimages_dataset.sources.folders import PARTS_TO_TEST
from mlimages_dataset.vocab.findings import WHY_BARE
from mlimages_dataset.vocab.folder import VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from mlimages_dataset.augment.annotation_counts import AnnotationSummary
    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.recipes.pictures import PicturesSummary, Unread
    from mlimages_dataset.vocab.findings import Loss
    from mlimages_dataset.vocab.stage import VocabularySummary

_SHOWN_NAMES = 10
_SHOWN_BOXES = 3
_MAY_BE = {".xml": "voc, cvat", ".json": "coco, labelme", ".txt": "yolo"}
"""The formats of annotations whose files have a suffix."""
_BETWEEN = ";|,/+&"
"""Signs that may stand between labels of a cell, the usual ones first."""
_SEVERAL = re.compile(r"\w\s*[;|]\s*\w")
_COPY = "a copy of recipe.toml, and build that into another folder: mlimages-build run COPY --out FOLDER"
_IMAGES_PER_VALIDATION_IMAGE = 10
_UNREAD = "files that are no picture that can be read"
_UNFIT, _UNSURE = "class that fits nothing", "class whose meaning is not sure"


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing to decide or to look at.

    Attributes:
        kind: class that fits nothing, class under another, category below a root, and so on.
        text: what it is, by name, as a sentence.
        lines: rows of a class list that decide it, as CSV: id, name, wnid and parent.
    """

    kind: str
    text: str
    lines: tuple[str, ...] = ()

    @property
    def about_class(self) -> bool:
        """Whether a class list decides it."""
        return bool(self.lines) or self.kind in {_UNFIT, _UNSURE}


def decisions(outcomes: Mapping[str, StageOutcome[Any]]) -> list[Decision]:
    """Return what the stages of a build leave to decide, in the order in which data flow."""
    found: list[Decision] = []
    annotated = {stage.removeprefix(f"{ANNOTATIONS_FOLDER}/") for stage in outcomes if "/" in stage} - {PHOTOS}
    for stage, outcome in outcomes.items():
        if stage == VOCABULARY:
            found += _of_vocabulary(outcome.summary, annotated)
        elif stage == PICTURES:
            found += _of_pictures(outcome.summary)
            n_validation = outcomes[LABELS_STAGE].summary.val.images if LABELS_STAGE in outcomes else 0
            found += _of_splits(outcome.summary, n_validation)
        elif stage.startswith(f"{ANNOTATIONS_FOLDER}/"):
            found += _of_annotations(stage.removeprefix(f"{ANNOTATIONS_FOLDER}/"), outcome.summary)
    return found


def unused_labels(n_labels: int, tables: Sequence[str]) -> Decision:
    """Return that labels by folders are not used, because tables in the folder of pictures say what pictures show."""
    says, move = ("says", "that file") if len(tables) == 1 else ("say", "these files")
    told = f"{_number(n_labels, 'label')} by folders or files beside pictures"
    why = f"{_names(tables)}, in the folder itself, {says} what pictures show"
    remedy = (
        f"to use the folders' names, move {move} out of the folder and run this again with --overwrite (overwrite=True)"
    )
    return Decision("folders whose names are not used", f"{told}; {why}; {remedy}")


def _of_vocabulary(summary: VocabularySummary, annotated: Collection[str]) -> Iterator[Decision]:
    for source, lost in summary.losses_of_source.items():
        joined = [loss.name for loss in lost if loss.joined]
        if source in annotated and 2 * len(joined) > len(lost):
            yield from _of_joined(source, joined)
    yield from map(_of_class, summary.losses)
    yield from _of_doubts(summary)
    if summary.bare:
        yield Decision("category below a root", f"{_names(summary.bare)}: {WHY_BARE}")
    for source, ids in summary.repeated_ids.items():
        yield Decision("repeated id", f"{source} lists {_names(ids)} more than once; the first row counts")
    for renamed in summary.renamed:
        yield Decision("id of two names", f"{renamed.sentence}; if it is another thing there, correct the id")
    if summary.more_renamed:
        yield Decision("id of two names", f"{summary.more_renamed:,} more")
    if summary.unlisted:
        yield Decision("decision on no class", f"reviewed decisions on classes of no list: {_names(summary.unlisted)}")


def _of_doubts(summary: VocabularySummary) -> Iterator[Decision]:
    copies = {(loss.source, loss.source_id) for loss in summary.losses if loss.copied}
    for one in summary.doubts:
        for doubt in one.least:
            if (doubt.source, doubt.source_id) in copies:
                continue  # told already, with the row that makes it the class itself
            stated = ("", doubt.wnid) if doubt.as_parent else (doubt.wnid, "")
            yield Decision(_UNSURE, doubt.sentence, _lines([(doubt.source_id, doubt.name, *stated)]))
        if (more := one.doubtful - len(one.least)) > 0:
            yield Decision(_UNSURE, f"{more:,} more unsure classes: see the column probability of mapping.parquet")


def _of_joined(source: str, names: Sequence[str]) -> Iterator[Decision]:
    """Yield what to do if a sign, which most of some labels have, stands between several labels of a cell."""
    sign, n = max(((one, sum(one in name for name in names)) for one in _BETWEEN), key=lambda found: found[1])
    if 2 * n > len(names):
        first = next(name for name in names if sign in name)
        key = json.dumps(source, ensure_ascii=False)
        text = (
            f"{_number(n, 'label')} of {source} with {sign!r}, such as {first!r}: if it stands between several labels "
            f'of a cell, write separator = "{sign}" below name = {key} into {_COPY}'
        )
        yield Decision("several labels in a cell", text)


def _of_class(loss: Loss) -> Decision:
    name = loss.name or loss.source_id
    rows = [loss.row] if any(loss.row) else []
    if loss.became and loss.copied:
        return Decision("class under another", f"{name!r} is under {loss.became!r}; {loss.remedy}", _lines(rows))
    if loss.became:
        text = f"{name!r} is under {loss.became!r}, which is not the same: {loss.why}"
        return Decision("class under another", text)
    text = f"{name!r} fits no category: {loss.why}; {loss.remedy}"
    return Decision(_UNFIT, text, _lines(rows))


def _lines(rows: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(written_csv([row]).rstrip("\n") for row in rows)


def _of_annotations(name: str, summary: AnnotationSummary) -> Iterator[Decision]:
    if summary.unknown:
        text = f"{_number(summary.unknown, 'label')} of {name}, of no class in a list: {summary.unknown_classes()}"
        # A row with blanks around the id would be read without them, and the label stay unknown.
        unknown = [one for one, _ in summary.most_frequent_unknown_classes]
        several = [one for one in unknown if _SEVERAL.search(one)]
        if 2 * len(several) > len(unknown) and name != PHOTOS:
            yield from _of_joined(name, several)
        known = {*summary.known_without_blanks, *several}
        rows = [(one, one, "", "") for one in unknown if one not in known]
        yield Decision("labels of unknown classes", text, _lines(rows))
    if malformed := summary.rejected_rows + summary.malformed:
        told = (*summary.first_rejected_rows, *summary.first_malformed)
        first = f", such as {told[0]}" if told else ""
        yield Decision("rows that cannot be used", f"{_number(malformed, 'row')} of {name}{first}")
    if summary.images_of_several_names:
        named = f": {_names(summary.first_names)}" if summary.first_names else ""
        text = f"{_number(summary.images_of_several_names, 'image')}, perhaps of different pictures{named}"
        yield Decision("images of several names", text)
    if summary.renamed:
        first = _names(summary.first_renamed, summary.renamed)
        text = f"{_number(summary.renamed, 'file')} of {name}, read by their own names; rename those of the picture"
        yield Decision("files that name another picture", f"{text} that they name: {first}")
    if summary.boxless:
        first = _names(summary.first_boxless[:_SHOWN_BOXES], summary.boxless)
        text = "1 box" if summary.boxless == 1 else f"{summary.boxless:,} boxes"
        yield Decision("boxes that cannot be used", f"{text} of {name}, of which only the labels count: {first}")
    if summary.images_with_blanks:
        shown = _names(summary.first_with_blanks, summary.images_with_blanks)
        n_blank = _number(summary.images_with_blanks, "image")
        text = f"{n_blank} of {name}; the id without the blanks is another image: {shown}"
        yield Decision("image ids with blanks at an end", text)
    if summary.images_of_several_locations:
        first = f", such as {summary.first_locations[0]}" if summary.first_locations else ""
        text = f"{_number(summary.images_of_several_locations, 'image')} of {name}, the first location is kept{first}"
        yield Decision("images of several locations", text)


def _of_pictures(summary: PicturesSummary) -> Iterator[Decision]:
    if summary.unread:
        first = [_of_file(one) for one in summary.first_unread]
        n_of_suffix = sum(n for _, n, _ in summary.unread_of_suffix)
        told = [
            f"{n:,} files {suffix} such as {name}"
            + (f" (annotations of {_MAY_BE[suffix]}? start --classes reads them)" if suffix in _MAY_BE else "")
            for suffix, n, name in summary.unread_of_suffix[:_SHOWN_NAMES]
        ]
        n_others = sum(n for _, n, _ in summary.unread_of_suffix[_SHOWN_NAMES:])
        told += [f"{n_others:,} files of other suffixes"] if n_others else []
        told += [_names(first, summary.unread - n_of_suffix)] if first else []
        yield Decision(_UNREAD, f"{_number(summary.unread, 'file')}: {', '.join(told)}")
    if summary.repeated:
        first = [f"{one.image_id} ({one.detail})" for one in summary.first_repeated]
        text = f"{_number(summary.repeated, 'picture')}, of which only the labels are kept: rename one of each two"
        yield Decision("pictures with one id", f"{text}: {_names(first, summary.repeated)}")
    if summary.unlabelled:
        shown = _names(summary.first_unlabelled, summary.unlabelled)
        folders = _names((f"{name} ({n:,})" for name, n in summary.in_parts[:_SHOWN_NAMES]), len(summary.in_parts))
        why = f"; by their names, these folders are no classes: {folders}; list those that are" if folders else ""
        yield Decision("pictures without a label", f"{_number(summary.unlabelled, 'picture')}: {shown}{why}")
    if summary.unseen.classes:
        shown = _names(map(shown_class, summary.unseen.first), summary.unseen.classes)
        likely = [f"{shown_class(one)} may be {shown_class(label)}" for one, label in summary.unseen.likely]
        meant = f"; {_names(likely)}: write ids as the folders and labels are" if likely else ""
        n_classes = f"{summary.unseen.classes:,} {'class' if summary.unseen.classes == 1 else 'classes'}"
        yield Decision("classes without a picture", f"{n_classes} of your lists: {shown}{meant}")
    if summary.without_picture:
        shown = _names(map(shown_class, summary.first_without_picture), summary.without_picture)
        likely = [f"{shown_class(stated)} may be {shown_class(picture)}" for stated, picture in summary.likely]
        meant = f"; {_names(likely)}: write ids as the pictures have them" if likely else ""
        yield Decision("labels without a picture", f"{_number(summary.without_picture, 'image')}: {shown}{meant}")


def _of_file(one: Unread) -> str:
    """Return a file that is no picture that can be read, by its name, with what is wrong with it."""
    why, _, file = one.detail.rpartition("file ")
    is_named = why in {"", "; "} or why.endswith("; ")
    name, detail = (file, why.removesuffix("; ")) if is_named and file.startswith(one.image_id) else ("", one.detail)
    status = one.status.replace("_", " ")
    return f"{name or one.image_id} ({status}: {detail})" if detail else f"{name or one.image_id} ({status})"


def _of_splits(summary: PicturesSummary, n_validation: int) -> Iterator[Decision]:
    """Yield that a build does not keep the folders in which its pictures are divided, and what it does instead."""
    if not summary.splits:
        return
    tests = " and ".join(one for one in summary.splits if re.fullmatch(PARTS_TO_TEST, one, re.IGNORECASE))
    apart = f"to keep those in {tests} apart, start with the folders of the others alone"
    lie = f"the pictures lie in {', '.join(summary.splits)}, and"
    if n_validation:
        text = f"{lie} this build draws its {_number(n_validation, 'validation image')} from all of them: {apart}"
    else:
        asked = max(1, summary.labelled // _IMAGES_PER_VALIDATION_IMAGE)
        text = (
            f"{lie} all of them are training images of this build, also those in {tests}: {apart}; to draw validation "
            f"images from all of them, write the lines [labels] and validation_images = {asked} at the end of {_COPY}"
        )
    yield Decision("folders of splits", text)


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _names(names: Sequence[str] | Iterable[str], total: int = 0) -> str:
    """Return the first names; `total` is how many there are, if not all are given."""
    return first_of(names, _SHOWN_NAMES, total)
