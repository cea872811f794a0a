"""The pages as HTML: what each shows, and the templates that show it. Names are text everywhere: Jinja escapes them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import jinja2

from mlimages_dataset.augment.labels_stage import SPLITS
from mlimages_dataset.augment.reasons import RULES_COLUMN, rule_in_words
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.records import Manifest
from mlimages_dataset.report.content import FindingKind
from mlimages_dataset.report.reading import report_content
from mlimages_dataset.serve import filters, snippets
from mlimages_dataset.serve.definitions import definition
from mlimages_dataset.serve.filters import Filter
from mlimages_dataset.serve.labels import image_labels
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlimages_dataset.report.content import Finding
    from mlimages_dataset.serve.build import ServedBuild
    from mlimages_dataset.serve.rows import ImageRow, Rows
    from mlimages_dataset.vocab.vocabulary import MappingRow

_EXAMPLES = 12
_SHOWN_CATEGORIES = 200
_SHOWN_CLASSES = 100
_SHOWN_COMPANIONS = 15
_SEARCHED = 25


class NotFoundError(UsageError):
    """Nothing has the id that an address names."""


@dataclass(frozen=True, slots=True)
class Link:
    """A category as pages link it: its first name, its other names, and how many images have it."""

    index: int
    wnid: str
    name: str
    others: str
    images: int


class Pages:
    """Makes the pages of a build; threads may share it.

    Args:
        build: the build.
        rows: its label tables.
        wordnet: the folder of WordNet's own files, for definitions; None if it is not on this machine.
    """

    def __init__(self, build: ServedBuild, rows: Rows, wordnet: Path | None) -> None:
        self._build = build
        self._rows = rows
        self._wordnet = wordnet
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("mlimages_dataset.serve"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["number"] = lambda value: f"{value:,}"
        self._environment.globals |= {
            "build_name": build.folder.name,
            "link": self.link,
            "to": _to,
            "images_of": self._images_of,
            "origins": list(Origin),
            "is_web": is_web,
        }

    @functools.cached_property
    def n_images(self) -> dict[int, int]:
        """Images of each category that has any."""
        return self._rows.images_of_classes()

    @functools.cached_property
    def _content(self) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
        """What needs a decision, and the findings, as the report tells them."""
        manifest = self._build.manifest
        content = report_content(self._build.vocabulary, (), manifest) if manifest != Manifest() else None
        return ((), ()) if content is None else (content.decisions, content.findings)

    def link(self, index: int) -> Link:
        """Return a category as pages link it."""
        category = self._build.vocabulary.categories[index]
        name, _, others = category.name.partition(", ")
        return Link(index, category.wnid, name, others, self.n_images.get(index, 0))

    def images(self, given: Mapping[str, str]) -> str:
        """Return a page of images.

        Raises:
            UsageError: the address states no filter.
        """
        chosen = self._filter(given)
        cursor = filters.read_cursor(given)
        page = self._rows.page(chosen, cursor)
        later = page.rows[-1].row if page.later else None
        earlier = page.rows[0].row if page.earlier else None
        return self._render(
            "images.html",
            chosen=chosen,
            category=None if chosen.category is None else self.link(chosen.category),
            words=filters.sentence(chosen, self._build.vocabulary),
            page=page,
            n=self._rows.count(chosen),
            n_all=self._rows.n,
            first=self._images_of(chosen),
            later=None if later is None else self._images_of(chosen, after=later),
            earlier=None if earlier is None else self._images_of(chosen, before=earlier),
            is_first=cursor.after is None and not page.earlier,
            least=filters.number(chosen.least),
            most=filters.number(chosen.most),
            sources=self._rows.sources,
            splits=self._rows.splits,
            has_pictures=bool(self._rows.stores),
            sql=snippets.sql(chosen, self._build),
            python=snippets.python(chosen, self._build),
        )

    def image(self, image_id: str, missing: Mapping[int, str]) -> str:
        """Return the page of an image.

        Args:
            image_id: its id.
            missing: why the picture of a row cannot be shown, by row.

        Raises:
            NotFoundError: no row has the id.
        """
        rows = self._rows.rows_of_id(image_id)
        if not rows:
            raise NotFoundError(f"no image has the id {image_id!r}", remedy="look for it among the images")
        shown = [(row, image_labels(self._rows.table(row), self._build)) for row in rows]
        pictured = next((row for row in rows if row.row not in missing), None)
        return self._render("image.html", image_id=image_id, rows=shown, pictured=pictured, missing=missing)

    def categories(self, text: str) -> str:
        """Return the page of categories: what a text may mean, or the roots and what is below them."""
        vocabulary = self._build.vocabulary
        found = [int(index) for index in vocabulary.search(text, limit=_SEARCHED)["class_index"]] if text else []
        roots = [index for index, category in enumerate(vocabulary.categories) if not category.parents]
        tree = [(self.link(root), [self.link(child) for child in self._build.children.get(root, ())]) for root in roots]
        return self._render(
            "categories.html",
            text=text,
            found=[self.link(index) for index in found],
            tree=tree,
            n=len(vocabulary),
            without=len(vocabulary) - len(self.n_images),
        )

    def without_images(self, given: Mapping[str, str]) -> str:
        """Return a page of the categories that no image has, or none of one split.

        Raises:
            UsageError: there is no such split, or the start is no number.
        """
        split, start = given.get("split", ""), whole_number(given.get("start", "0"))
        _refuse_unknown("split", split, self._rows.splits)
        some = self._rows.images_of_classes(split)
        empty = [index for index in range(len(self._build.vocabulary)) if index not in some]
        shown = [index for index in empty if index >= start]
        return self._render(
            "without.html",
            split=split,
            n=len(empty),
            start=start,
            found=[self.link(index) for index in shown[:_SHOWN_CATEGORIES]],
            later=shown[_SHOWN_CATEGORIES] if len(shown) > _SHOWN_CATEGORIES else None,
        )

    def category(self, key: str) -> str:
        """Return the page of a category.

        Raises:
            NotFoundError: no category has this wnid.
        """
        vocabulary = self._build.vocabulary
        if key not in vocabulary.index_of_wnid:
            raise NotFoundError(f"no category has the wnid {key!r}", remedy="look for it among the categories")
        index = vocabulary.index_of_wnid[key]
        own = Filter(category=index)
        n_compared, n_companions, companions = self._companions(index)
        return self._render(
            "category.html",
            own=own,
            category=vocabulary.categories[index],
            at=self.link(index),
            meaning=definition(self._wordnet, vocabulary.categories[index]),
            parents=[self.link(one) for one in vocabulary.categories[index].parents],
            children=sorted(
                map(self.link, self._build.children.get(index, ())), key=lambda link: (-link.images, link.index)
            ),
            n_below=len(self._build.subtree(index)) - 1,
            classes=[row for row in vocabulary.mapping if row.class_index == index],
            counts=self._rows.counts(index),
            implies=self._pairs("antecedent", "consequent", index),
            implied=self._pairs("consequent", "antecedent", index),
            rule=rule_in_words(index, vocabulary, self._build.pairs),
            n_compared=n_compared,
            n_companions=n_companions,
            companions=companions,
            examples=self._examples(own),
        )

    def classes(self, given: Mapping[str, str]) -> str:
        """Return a page of the classes of the sources and what became of them.

        Raises:
            UsageError: the start is no number.
        """
        source, rule = given.get("source", ""), given.get("rule", "")
        mapping = self._build.vocabulary.mapping
        chosen = [row for row in mapping if (not source or row.source == source) and (not rule or row.rule == rule)]
        start = whole_number(given.get("start", "0"))
        return self._render(
            "classes.html",
            source=source,
            rule=rule,
            sources=list(dict.fromkeys(row.source for row in mapping)),
            rules=sorted({row.rule for row in mapping}),
            found=chosen[start : start + _SHOWN_CLASSES],
            start=start,
            n=len(chosen),
            step=_SHOWN_CLASSES,
        )

    def findings(self) -> str:
        """Return the page of what was found: decisions, findings, and what became of the sources' classes."""
        decisions, findings = self._content
        return self._render(
            "findings.html",
            decisions=[(one.text, _to("/classes", source=one.source)) for one in decisions],
            findings=[(one, list(self._rows_of(one))) for one in findings],
            fates=_fates(self._build.vocabulary.mapping),
            without=len(self._build.vocabulary) - len(self.n_images),
            has_records=self._build.manifest != Manifest(),
        )

    def error(self, title: str, text: str) -> str:
        """Return a page that says what is wrong."""
        return self._render("error.html", title=title, text=text)

    def suggestions(self, text: str) -> list[dict[str, str]]:
        """Return the categories that a text may mean, for the field of a form."""
        found = self._build.vocabulary.search(text, limit=_EXAMPLES)
        return [{"wnid": wnid, "name": name} for wnid, name in zip(found["wnid"], found["name"], strict=True)]

    def _filter(self, given: Mapping[str, str]) -> Filter:
        chosen = filters.read_filter(given, self._build.vocabulary)
        _refuse_unknown("source", chosen.source, self._rows.sources)
        _refuse_unknown("split", chosen.split, self._rows.splits)
        return chosen

    def _images_of(self, chosen: Filter, **more: object) -> str:
        return filters.address("/", chosen, self._build.vocabulary, **more)

    def _examples(self, own: Filter) -> Sequence[ImageRow]:
        """Return some images of a filter, those with a picture first."""
        pictured = Filter(category=own.category, pictures=True)
        found = self._rows.page(pictured, size=_EXAMPLES).rows if self._rows.stores else ()
        return found or self._rows.page(own, size=_EXAMPLES).rows

    def _pairs(self, given: str, wanted: str, index: int) -> list[tuple[Link, dict[str, Any]]]:
        stated = self._build.pairs
        pairs = [] if stated is None or RULES_COLUMN in stated.column_names else stated.to_pylist()
        found = [pair for pair in pairs if pair[given] == index]
        return [(self.link(pair[wanted]), pair) for pair in sorted(found, key=lambda one: -one["lower_bound"])]

    def _companions(self, index: int) -> tuple[int, int, list[tuple[Link, float]]]:
        """Return of how many images the labels were counted, of how many others, and the largest shares of these.

        Ancestors are left out.
        """
        closure = self._build.vocabulary.closure
        ancestors = set(closure.indices[closure.indptr[index] : closure.indptr[index + 1]].tolist())
        n, found = self._rows.companions(index)
        others = [(one, count) for one, count in found if one not in ancestors]
        return n, len(others), [(self.link(one), count / n) for one, count in others[:_SHOWN_COMPANIONS]]

    def _rows_of(self, finding: Finding) -> Iterator[tuple[str, str]]:
        """Yield title and address of each page that shows what a finding is about, as far as the tables tell."""
        if finding.kind is FindingKind.NO_TRAINING_IMAGE:
            yield "these categories", _to("/categories/without-images", split=SPLITS[0])
        if finding.kind is FindingKind.IMAGES and finding.source in self._rows.sources:
            yield f"images of {finding.source}", self._images_of(Filter(source=finding.source))

    def _render(self, template: str, **values: object) -> str:
        return self._environment.get_template(template).render(**values)


def _refuse_unknown(what: str, name: str | None, known: Sequence[str]) -> None:
    if name and name not in known:
        raise UsageError(f"there is no {what} {name!r}", remedy=f"use one of {', '.join(known)}")


def is_web(location: str) -> bool:
    """Return whether a location is an address that a browser may be sent to; others are shown as text."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def whole_number(text: str) -> int:
    """Return a number that an address states.

    Raises:
        UsageError: it is none, or too large.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - fits int32
        raise UsageError(f"{text!r} is no number of a row", remedy="begin at the first page")
    return int(text)


def _to(path: str, **values: object) -> str:
    """Return the address of a page; empty values are left out."""
    text = urlencode({name: value for name, value in values.items() if value not in {"", None}})
    return f"{path}?{text}" if text else path


def _fates(mapping: Sequence[MappingRow]) -> list[tuple[str, str, int, bool]]:
    """Return source, rule, number of classes, and whether they were kept, in the order of the mapping."""
    counts: dict[tuple[str, str, bool], int] = {}
    for row in mapping:
        key = (row.source, row.rule, row.is_kept)
        counts[key] = counts.get(key, 0) + 1
    return sorted((source, rule, n, kept) for (source, rule, kept), n in counts.items())
