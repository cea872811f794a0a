"""Counts of what became of statements, rows and images, and their texts for people."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from mlimages_dataset.sources.rejects import first_lines

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from mlimages_dataset.sources.rejects import RejectLog

LISTED_NAMES = 10


@dataclass(frozen=True, slots=True)
class AnnotationCounts:
    """What became of statements; counts of parts add up. Each statement is counted by exactly one of the first seven.

    Attributes:
        labels: statements that became a label.
        merged: statements that repeat a category of the same image (the same class, or a synonym).
        below_confidence: a machine's statements, below the least confidence.
        dropped: statements whose class was dropped from the vocabulary, for the reason in the mapping; and absences of
            classes of which the vocabulary has only a parent.
        unknown: statements whose class is not in the mapping.
        malformed: statements without image id, class, or a confidence from 0 to 1.
        contradicted: absences of a category that another statement verifies as present in the same image.
        images: images with a label.
        images_without_labels: images that lost every statement.
        images_of_several_names: images that statements name by several paths, such as `rex.jpg` and `rex.png`.
        first_names: two of the names of the first of these images.
        absences: verified absences that follow from what the collection is complete for.
        images_of_several_locations: images of which rows state several locations; the least in text order is kept.
        first_locations: the ids and two of the locations of the first of these images.
        withheld: absences that do not follow from what the collection is complete for, because a statement of the
            class, of one below it or of no known class of the image could not be used.
        without_image: those of the malformed statements that have no image id.
        images_with_blanks: images whose id, as a row writes it, has blanks at an end.
        first_with_blanks: the first of these, in quotes.
    """

    labels: int = 0
    merged: int = 0
    below_confidence: int = 0
    dropped: int = 0
    unknown: int = 0
    malformed: int = 0
    contradicted: int = 0
    images: int = 0
    images_without_labels: int = 0
    images_of_several_names: int = 0
    first_names: tuple[str, ...] = ()
    absences: int = 0
    images_of_several_locations: int = 0
    first_locations: tuple[str, ...] = ()
    withheld: int = 0
    without_image: int = 0
    images_with_blanks: int = 0
    first_with_blanks: tuple[str, ...] = ()

    def __add__(self, other: AnnotationCounts) -> AnnotationCounts:
        added = AnnotationCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))
        return replace(
            added,
            first_names=added.first_names[:LISTED_NAMES],
            first_locations=added.first_locations[:LISTED_NAMES],
            first_with_blanks=added.first_with_blanks[:LISTED_NAMES],
        )


@dataclass(frozen=True, slots=True)
class AnnotationSummary(AnnotationCounts):
    """Counts of what became of the statements and rows of files.

    Attributes:
        rejected_rows: rows that violate the format.
        first_rejected_rows: the first of these rows.
        most_frequent_unknown_classes: those with the most statements, and their numbers of statements.
        first_malformed: the first statements without image id, class or valid confidence, each with the reason.
        renamed: files of one picture that name another picture than their own names do, by which they are read.
        first_renamed: the first of these, each with the name that it states.
        boxless: statements whose box is none in its image; each is counted as a label or otherwise, too.
        first_boxless: the first of these, each with what is wrong with its box.
        files_with_origins: exported files, whose column `origin` is not read.
        known_without_blanks: those of the most frequent unknown classes that are known without the blanks around them.
    """

    rejected_rows: int = 0
    first_rejected_rows: tuple[str, ...] = ()
    most_frequent_unknown_classes: tuple[tuple[str, int], ...] = ()
    first_malformed: tuple[str, ...] = ()
    known_without_blanks: tuple[str, ...] = ()
    renamed: int = 0
    first_renamed: tuple[str, ...] = ()
    boxless: int = 0
    first_boxless: tuple[str, ...] = ()
    files_with_origins: int = 0

    @classmethod
    def of(
        cls,
        counts: AnnotationCounts,
        rejects: RejectLog,
        unknown: Sequence[tuple[str, int]],
        known: Container[str] = (),
    ) -> AnnotationSummary:
        """Return the summary of counts, rejects, and the most frequent unknown classes, of which none is `known`."""
        values = {one.name: getattr(counts, one.name) for one in fields(AnnotationCounts)}
        return cls(
            **values,
            rejected_rows=rejects.count,
            first_rejected_rows=tuple(one.by_name for one in rejects.first),
            most_frequent_unknown_classes=tuple(unknown),
            first_malformed=tuple(one.by_name for one in rejects.malformed),
            renamed=rejects.n_renamed,
            first_renamed=tuple(one.by_name for one in rejects.renamed),
            boxless=rejects.n_boxless,
            first_boxless=tuple(one.by_name for one in rejects.boxless),
            known_without_blanks=tuple(name for name, _ in unknown if name.strip() in known),
        )

    def line(self) -> str:
        """Return the numbers of images and labels."""
        return f"{self.images:,} images, {self.labels:,} labels"

    def findings(self) -> list[str]:
        """Return a sentence for each outcome of statements and rows that the owner of a collection should check."""
        found = []
        for fate in FATES:
            if fate.told and (n := getattr(self, fate.field)):
                most = self.unknown_classes() if fate.field == "unknown" else ""
                if first := self.first_of(fate):
                    most = f"the first is {first}"
                found.append(f"{n:,} {fate.text}" + (f": {most}" if most else ""))
        return found

    def first_of(self, fate: Fate) -> str:
        """Return the first of what has a fate; empty if none is listed."""
        listed = getattr(self, fate.first) if fate.first else ()
        return str(listed[0]) if listed else ""

    def lines(self) -> list[str]:
        """Return the counts as lines, the worst last, and examples."""
        return [
            *(
                f"{getattr(self, fate.field):>12,}  {fate.text}"
                for fate in FATES
                if getattr(self, fate.field) or fate.field in {"images", "labels"}
            ),
            *first_lines("rejected", self.first_rejected_rows, self.rejected_rows),
            *first_lines("malformed", self.first_malformed, self.malformed),
            *first_lines("one image", self.first_names, self.images_of_several_names),
            *first_lines("another name", self.first_renamed, self.renamed),
            *first_lines("no box", self.first_boxless, self.boxless),
            *first_lines("blanks", self.first_with_blanks, self.images_with_blanks),
            *first_lines("several locations", self.first_locations, self.images_of_several_locations),
            *([f"unknown classes: {self.unknown_classes()}"] if self.most_frequent_unknown_classes else []),
        ]

    def unknown_classes(self) -> str:
        """Return the most frequent unknown classes, each with its number of statements, and what is amiss with one."""
        shown = ", ".join(f"{shown_class(name)} ({n:,})" for name, n in self.most_frequent_unknown_classes)
        if others := self.unknown - sum(n for _, n in self.most_frequent_unknown_classes):
            shown += f" and {others:,} of others"
        return f"{shown}; {self.hint_on_blanks()}" if self.known_without_blanks else shown

    def hint_on_blanks(self) -> str:
        """Return what is amiss with an unknown class that is known without the blanks around it; empty for none."""
        if not self.known_without_blanks:
            return ""
        return f"without the blanks around it, {self.known_without_blanks[0]!r} is a class: write it without them"


def shown_class(name: str) -> str:
    """Return an unknown class, or an image's id, for people: in quotes if it has blanks at an end.

    >>> shown_class("dog"), shown_class(" dog")
    ('dog', "' dog'")
    """
    return name if name == name.strip() else repr(name)


class Fate(NamedTuple):
    """A possible outcome for a statement, a row or an image.

    Attributes:
        field: the field of `AnnotationSummary` that counts it.
        name: its heading.
        text: its description.
        of_statements: whether each statement has exactly one of these outcomes.
        told: whether the collection's owner should check it.
        first: the field of `AnnotationSummary` that lists the first of what has it; empty where nothing does.
        rare: whether a report has no row of it where there is none.
    """

    field: str
    name: str
    text: str
    of_statements: bool = True
    told: bool = False
    first: str = ""
    rare: bool = False


RENAMED = Fate(
    "renamed",
    "other names",
    "files that name another picture than their own names do, and are read by their own names",
    of_statements=False,
    told=True,
    first="first_renamed",
    rare=True,
)
FATES = (
    Fate("images", "images", "images with labels", of_statements=False),
    Fate("labels", "labels", "labels"),
    Fate("merged", "merged", "statements merged into a label of the same image and category"),
    Fate(
        "contradicted", "contradicted", "verified absences contradicted by a verified presence: kept present", told=True
    ),
    Fate("absences", "absences", "absences of classes that were looked for and not found", of_statements=False),
    Fate(
        "withheld",
        "left unknown",
        "classes left unknown, not absent: a statement of the class or the image could not be used",
        of_statements=False,
        rare=True,
    ),
    Fate("below_confidence", "below confidence", "machine labels below the least confidence asked for"),
    Fate(
        "dropped",
        "dropped class",
        "labels of classes that the vocabulary dropped, and absences of classes kept only as their parent",
    ),
    Fate("images_without_labels", "images lost", "images that lost every label", of_statements=False),
    Fate("unknown", "unknown class", "labels of unknown classes", told=True),
    Fate(
        "malformed",
        "malformed",
        "statements without image id, class or valid confidence",
        told=True,
        first="first_malformed",
    ),
    Fate(
        "rejected_rows", "rejected rows", "malformed rows", of_statements=False, told=True, first="first_rejected_rows"
    ),
    Fate(
        "images_of_several_names",
        "several names",
        "images of several names, which may be different pictures",
        of_statements=False,
        told=True,
        first="first_names",
    ),
    Fate(
        "images_with_blanks",
        "blanks",
        "images whose id has blanks at an end: the id without them is another image",
        of_statements=False,
        told=True,
        first="first_with_blanks",
        rare=True,
    ),
    RENAMED,
    Fate(
        "boxless",
        "no boxes",
        "labels whose box is none in its image: only the label counts",
        of_statements=False,
        told=True,
        first="first_boxless",
        rare=True,
    ),
    Fate(
        "files_with_origins",
        "exported files",
        "exported files, whose column origin is not read, so that all their labels count as original",
        of_statements=False,
        told=True,
        rare=True,
    ),
    Fate(
        "images_of_several_locations",
        "several locations",
        "images of several locations, of which the first in the order of texts is kept",
        of_statements=False,
        told=True,
        first="first_locations",
        rare=True,
    ),
)
"""In the order of display, the worst last."""
