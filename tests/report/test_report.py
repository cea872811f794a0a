"""The report: its numbers, its figures, its safety, and the page as a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import re
import struct
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment.annotation_counts import FATES, AnnotationCounts, Fate
from mlimages_dataset.augment.cooccurrence import StrongPair
from mlimages_dataset.augment.statistics import LabelStatistics
from mlimages_dataset.core.decoding import encode
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import relative
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import FileRecord, Manifest, StageRecord, StageResult
from mlimages_dataset.report import figures
from mlimages_dataset.report.page import write_report
from mlimages_dataset.report.reading import report_content
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.findings import funnel
from mlimages_dataset.vocab.tables import categories_table, mapping_table
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Vocabulary
from tests import mini

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, Locator
    from playwright.sync_api import Page as Tab

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location

FUNNEL_LISTS = (mini.IMAGENET_LIST, mini.OPEN_IMAGES_LIST)


class Page(HTMLParser):
    """What a page holds: tables by id, scripts by their attributes, all ids, and the text people read."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.metas: list[dict[str, str | None]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self._rows: list[list[str]] | None = None
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102 - as the parser's
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "meta":
            self.metas.append(dict(attrs))
        if tag in {"meta", "link", "input", "br"}:
            return
        self._open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(str(dict(attrs).get("id", f"table {len(self.tables)}")), [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in {"td", "th"} and self._rows is not None:
            self._rows[-1].append("")
        elif tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: D102 - as the parser's
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:  # noqa: D102 - as the parser's
        assert self._open.pop() == tag, f"{tag} closes another element"
        if tag == "table":
            self._rows = None

    def handle_data(self, data: str) -> None:  # noqa: D102 - as the parser's
        if self._open and self._open[-1] == "script":
            attributes, text = self.scripts.pop()
            self.scripts.append((attributes, text + data))
        elif self._open and self._open[-1] != "style":
            self.text += data
            if self._rows and {"td", "th"} & set(self._open):
                self._rows[-1][-1] = " ".join(f"{self._rows[-1][-1]} {data}".split())

    @property
    def categories(self) -> dict[str, list[object]]:
        """The data of the browser."""
        content = json.loads(next(text for attributes, text in self.scripts if attributes.get("id") == "categories"))
        assert isinstance(content, dict)
        return content

    def values(self, name: str) -> list[str | None]:
        """Return the values of an attribute, over all elements."""
        return [value for _, attribute, value in self.attributes if attribute == name]


def stage(summary: Mapping[str, Json], outputs: tuple[str, ...] = ()) -> StageRecord:
    return StageRecord(
        parameters={"salt": "mlimages"},
        inputs={},
        outputs=outputs,
        seconds=1.5,
        summary=json.loads(json.dumps(summary)),
    )


def encoded(value: object) -> dict[str, Json]:
    return dict(cast("Mapping[str, Json]", encode(value)))


def source_stage(counts: AnnotationCounts, **more: Json) -> StageRecord:
    unread: dict[str, Json] = {"rejected_rows": 0, "first_rejected_rows": [], "most_frequent_unknown_classes": []}
    return stage({**encoded(counts), **unread, **more})


def statistics(n_classes: int, seed: int) -> LabelStatistics:
    """Return statistics whose images and labels add up over sizes, and over classes and origins."""
    rng = np.random.default_rng(seed)
    images_of_class, images_of_size = rng.integers(0, 300, n_classes), rng.integers(1, 5_000, 17)
    origins = np.array([int(images_of_class.sum()) - 3, 2, 1, 0], np.int64)
    absent_of_class = rng.integers(0, 300, n_classes)
    return LabelStatistics(int(images_of_size.sum()), absent_of_class, images_of_class, images_of_size, origins)


def labels_stage(train: LabelStatistics, validation: LabelStatistics, **more: Json) -> StageRecord:
    counts: dict[str, Json] = {"conflicts": 0, "blocked_implications": 0, "validation_images_asked": 0}
    return stage(
        {**counts, "annotations_audit": {}, **encoded({"train": train.summary(), "val": validation.summary()}), **more}
    )


def audit_summary(wnid: str) -> dict[str, Json]:
    counts = {"rows": 100, "closed_rows": 26, "monotone_rows": 61, "missing_ancestors": 7_000, "lower_ancestors": 50}
    return {**counts, "most_missing": [[wnid, 900]]}


def manifest_of(vocabulary: Vocabulary, *, source: str = "birds", **findings: Json) -> Manifest:
    steps: Json = [[one.source, one.step, one.classes] for one in funnel(vocabulary, FUNNEL_LISTS)]
    file = "labels/train/part-00000.parquet"
    labels = labels_stage(statistics(len(vocabulary), 1), statistics(len(vocabulary), 2), **findings)
    return Manifest(
        files={file: FileRecord(40_001, 123_456, "ab" * 32, "labels/1")},
        stages={
            "vocabulary": stage({"funnel": steps, "repeated_ids": {"imagenet": ["n02084071"]}}),
            f"annotations/{source}": source_stage(
                AnnotationCounts(91, 82, 73, 64, 55, 46, 37, 28, 19), rejected_rows=10
            ),
            "labels": replace(labels, outputs=(file,)),
        },
    )


def pairs_of(vocabulary: Vocabulary) -> list[StrongPair]:
    index = vocabulary.index_of_wnid
    return [
        StrongPair(index[a], index[b], support / images, support, images, lower_bound)
        for a, b, support, images, lower_bound in (
            ("n02012849", "n02958343", 90, 100, 0.825),
            ("n02958343", "n02084071", 2, 2, 0.342),
            ("n02084071", "n02958343", 3, 4, 0.301),
        )
    ]


def random_tree(n_categories: int, *, names: Sequence[str] = ()) -> Vocabulary:
    """Return a vocabulary with one root in which each category lies below a random earlier one."""
    rng = np.random.default_rng(7)
    parent = [-1, *(int(rng.integers(max(0, i - 400), i)) for i in range(1, n_categories))]
    depth = [0] * n_categories
    for i in range(1, n_categories):
        depth[i] = depth[parent[i]] + 1
    given = [*names, *(f"category {i}, no. {i}" for i in range(len(names), n_categories))]
    categories = tuple(
        Category(
            wnid=f"n{i:08d}",
            name=given[i],
            root=0,
            parent=parent[i],
            parents=(parent[i],) if i else (),
            depth=depth[i],
            sources=("mine",),
            mids=(),
            images=0,
        )
        for i in range(n_categories)
    )
    mapping = tuple(MappingRow("mine", c.wnid, c.name, i, c.wnid, "wnid", "") for i, c in enumerate(categories))
    return Vocabulary(categories, mapping)


def written(vocabulary: Vocabulary, manifest: Manifest, out: Path, pairs: Sequence[StrongPair] = ()) -> Page:
    write_report(vocabulary, pairs, manifest, out)
    return Page((out / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def page(mini_vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Return the report of a small build."""
    out = tmp_path_factory.mktemp("report")
    return written(mini_vocabulary, manifest_of(mini_vocabulary), out, pairs_of(mini_vocabulary))


def test_the_funnel_is_the_manifests_with_published_numbers_beside_it(page: Page, mini_vocabulary: Vocabulary) -> None:
    cells = [row for row in page.tables["funnel"] if len(row) == 4][1:]
    steps = funnel(mini_vocabulary, FUNNEL_LISTS)
    assert [(step, classes) for step, classes, _, _ in cells] == [(one.step, f"{one.classes:,}") for one in steps]
    entered = next(row for row in cells if row[0] == "entered")
    assert entered[-1] == "11,221"
    assert cells[-1][0::3] == ["categories", "11,166"]
    assert "Listed more than once: n02084071" in page.text


def test_statements_are_counted_by_fate(page: Page) -> None:
    counts = [int(row[1]) for row in page.tables["sources"] if len(row) == 2 and row[1].isdecimal()]
    assert counts == [91, 82, 37, 73, 64, 55, 46, 28, 0, 19, 10, 0]


def test_groups_by_root_and_depth_equal_a_count_over_the_categories(page: Page, mini_vocabulary: Vocabulary) -> None:
    images = statistics(len(mini_vocabulary), 1).images_of_class.tolist()
    categories = mini_vocabulary.categories

    def numbers(members: list[int]) -> list[str]:
        of_members = [images[i] for i in members]
        with_images, trainable = sum(n > 0 for n in of_members), sum(n > 100 for n in of_members)
        return [f"{n:,}" for n in (len(members), with_images, trainable, sum(of_members))]

    for name, total, with_images, trainable, of_root, labels in page.tables["roots"][1:]:
        root = next(i for i, c in enumerate(categories) if c.parent < 0 and c.name.replace(", ", " ", 1) == name)
        members = [i for i, c in enumerate(categories) if c.root == root]
        assert [total, with_images, trainable, labels] == numbers(members)
        assert of_root == f"{images[root]:,}"
    for depth, total, _, with_images, trainable, labels in page.tables["depths"][1:]:
        assert [total, with_images, trainable, labels] == numbers(
            [i for i, c in enumerate(categories) if c.depth == int(depth)]
        )
    assert len(page.tables["depths"]) == 2 + max(c.depth for c in categories)


def test_measures_equal_the_statistics(page: Page, mini_vocabulary: Vocabulary) -> None:
    train = statistics(len(mini_vocabulary), 1)
    rows = [row for table in page.tables.values() for row in table]
    assert ["mean labels per image", f"{train.labels / train.images:.2f}", "8.72"] in rows
    assert ["images of the largest category", f"{max(train.images_of_class)}", "13,217,523"] in rows
    trainable = f"{sum(train.images_of_class > 100)}"
    assert ["trainable categories (more than 100 images)", trainable, "10,505"] in rows
    assert [
        "original annotation",
        *(f"{n:,}" for n in (train.labels - 3, statistics(len(mini_vocabulary), 2).labels - 3)),
    ] in (row[:3] for row in rows)
    assert page.tables["images-of-size"][1:] == [
        [str(n), f"{images:,}"] for n, images in enumerate(train.images_of_size)
    ]


def test_the_browser_has_every_category_with_its_parents_and_counts(page: Page, mini_vocabulary: Vocabulary) -> None:
    tree, categories = page.categories, mini_vocabulary.categories
    assert tree["wnids"] == [c.wnid for c in categories]
    assert tree["names"] == [c.name for c in categories]
    assert tree["parents"] == [c.parent for c in categories]
    assert tree["train"] == statistics(len(categories), 1).images_of_class.tolist()
    assert tree["validation"] == statistics(len(categories), 2).images_of_class.tolist()
    of_each = np.array([tree["train"], tree["absent"], tree["unknown"]])
    assert set(of_each.sum(axis=0)) == {statistics(len(categories), 1).images}
    dog = mini_vocabulary.index_of_wnid["n02084071"]
    others = [p for p in categories[dog].parents if p != categories[dog].parent]
    assert others
    assert tree["other_parents"][str(dog)] == others  # type: ignore[call-overload]  # a mapping in this one entry


def test_pairs_are_shown_with_support_images_and_bound(page: Page, mini_vocabulary: Vocabulary) -> None:
    content = report_content(mini_vocabulary, pairs_of(mini_vocabulary), manifest_of(mini_vocabulary))
    assert content.pairs[0].antecedent_wnid == "n02012849"
    assert [row[2:] for row in page.tables["strong-pairs"][1:]] == [
        ["0.900", "90", "100", "0.825"],
        ["1.000", "2", "2", "0.342"],
        ["0.750", "3", "4", "0.301"],
    ]


def test_findings_are_said_once_there_are_any(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    manifest = manifest_of(mini_vocabulary, conflicts=3, blocked_implications=4, validation_images_asked=10**6)
    text = written(mini_vocabulary, manifest, tmp_path).text
    assert "3 verified absences contradicted by a present descendant: kept present" in text
    assert "4 co-occurrences not added: verified absent in the image" in text
    assert f"only {statistics(len(mini_vocabulary), 2).images:,} of 1,000,000 validation images" in text


def test_what_was_amiss_with_the_sources_is_said(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    manifest = manifest_of(mini_vocabulary, annotations_audit={"birds": audit_summary("n02084071")})
    unknown: Json = [["/m/0nobody", 40], ["/m/0nothing", 6]]
    counts = AnnotationCounts(91, 82, 73, 64, 55, 46, 37, 28, 19)
    lost: Json = ["own.csv, line 3: no confidence from 0 to 1: 'b,dog,1.2'"]
    birds = source_stage(counts, rejected_rows=10, most_frequent_unknown_classes=unknown, first_malformed=lost)
    page = written(mini_vocabulary, Manifest(manifest.files, {**manifest.stages, "annotations/birds": birds}), tmp_path)
    assert "10 malformed rows (annotations/birds)" in page.text
    assert "own.csv, line 3: no confidence from 0 to 1: 'b,dog,1.2'" in page.text
    assert f"{counts.unknown} labels of unknown classes: /m/0nobody (40), /m/0nothing (6)" in page.text
    assert "39 rows of birds gave an ancestor a lower confidence than its descendant: raised" in page.text
    assert page.tables["audit"][1] == ["birds", "100", "26", "26.0 %", "7,000", "39", "dog (900)"]


def test_an_audit_of_another_vocabulary_is_refused(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    manifest = manifest_of(mini_vocabulary, annotations_audit={"birds": audit_summary("n99999999")})
    with pytest.raises(DataError, match="n99999999 belongs to another vocabulary"):
        write_report(mini_vocabulary, [], manifest, tmp_path)


def test_only_the_recipe_of_ml_images_is_compared_with_it(page: Page, tmp_path: Path) -> None:
    assert "published" in page.text
    vocabulary = random_tree(5)
    manifest = Manifest(stages={"labels": labels_stage(statistics(5, 1), statistics(5, 2))})
    assert "published" not in written(vocabulary, manifest, tmp_path).text.lower()


def test_simulated_collections_are_said_to_be(page: Page, mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    assert "simulated" not in page.text
    simulated = manifest_of(mini_vocabulary, source="birds-simulated")
    assert "Part of this build is simulated." in written(mini_vocabulary, simulated, tmp_path).text


@pytest.mark.slow
def test_equal_content_gives_equal_bytes(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    manifest = manifest_of(mini_vocabulary)
    later = {name: replace(record, seconds=99.0) for name, record in manifest.stages.items()}
    report = stage({}, outputs=("report.html",))
    again = Manifest({**manifest.files, "report.html": FileRecord(-1, 1, "", "")}, {**later, "report": report})
    one = write_report(mini_vocabulary, [], manifest, tmp_path / "one")
    other = write_report(mini_vocabulary, [], again, tmp_path / "other")
    assert [relative(r.path, tmp_path / "one") for r in one.receipts] == [
        "report.html",
        "figures/images_per_category.svg",
        "figures/images_per_category.png",
        "figures/labels_per_image.svg",
        "figures/labels_per_image.png",
    ]
    assert [r.sha256 for r in one.receipts] == [r.sha256 for r in other.receipts]


@pytest.mark.parametrize("n", [0, 2])
@pytest.mark.parametrize("fate", [fate for fate in FATES if fate.rare], ids=lambda fate: fate.field)
def test_a_rare_fate_has_a_row_where_there_is_one(tmp_path: Path, fate: Fate, n: int) -> None:
    manifest = Manifest(
        stages={
            "annotations/mine": source_stage(AnnotationCounts(), **{fate.field: n}),
            "labels": labels_stage(statistics(4, 1), statistics(4, 2)),
        }
    )
    rows = [row for table in written(random_tree(4), manifest, tmp_path, []).tables.values() for row in table]
    assert [row[-1] for row in rows if row and fate.text in row[0]] == [str(n)] * bool(n)


def test_lists_of_the_first_rows_tell_how_many_more_there_are(tmp_path: Path) -> None:
    manifest = Manifest(
        stages={
            "annotations/mine": source_stage(
                AnnotationCounts(malformed=1),
                first_malformed=["a.csv, line 3: no class: 'a,'"],
                rejected_rows=1_235,
                first_rejected_rows=["a.csv, line 2: <i>"],
            ),
            "labels": labels_stage(statistics(4, 1), statistics(4, 2)),
        }
    )
    page = written(random_tree(4), manifest, tmp_path, [])
    assert "a.csv, line 2: <i>" in page.text
    assert "a.csv, line 3: no class" in page.text
    assert re.findall("and [0-9,]+ more", page.text) == ["and 1,234 more"]


HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror=alert(1)><!--"


def test_names_of_others_are_inert(tmp_path: Path) -> None:
    vocabulary = random_tree(4, names=["root", HOSTILE, "a & b\u2028"])
    manifest = Manifest(
        stages={
            "vocabulary": stage({"funnel": [[HOSTILE, HOSTILE, 4]], "repeated_ids": {HOSTILE: [HOSTILE]}}),
            f"annotations/{HOSTILE} simulated": source_stage(
                AnnotationCounts(),
                first_rejected_rows=[HOSTILE],
                most_frequent_unknown_classes=[[HOSTILE, 3]],
            ),
            "labels": labels_stage(
                statistics(4, 1), statistics(4, 2), annotations_audit={HOSTILE: audit_summary("n00000001")}
            ),
        }
    )
    page = written(vocabulary, manifest, tmp_path, [StrongPair(1, 2, 1.0, 2, 2, 0.342)])
    assert [attributes for attributes, _ in page.scripts] == [{"type": "application/json", "id": "categories"}, {}]
    assert page.categories["names"] == [c.name for c in vocabulary.categories]
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert not [tag for tag, *_ in page.attributes if tag == "img"]
    assert page.text.count(HOSTILE) >= 8


def test_the_page_lets_no_script_run_but_its_own_and_loads_nothing(page: Page) -> None:
    policy = next(str(m["content"]) for m in page.metas if m.get("http-equiv") == "Content-Security-Policy")
    script = page.scripts[-1][1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert re.findall(r"script-src ([^;]*)", policy) == [f"'sha256-{digest}'"]
    links = [str(v) for name in ("src", "href", "xlink:href") for v in page.values(name)]
    assert links
    assert [link for link in links if not link.startswith(("#", "data:"))] == []


def test_no_id_is_used_twice_and_every_reference_has_one(page: Page, mini_vocabulary: Vocabulary) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wnids = {c.wnid for c in mini_vocabulary.categories}
    references = {str(v).removeprefix("#") for v in page.values("href") if str(v).startswith("#")}
    labels = {part for v in page.values("aria-labelledby") for part in str(v).split()}
    assert references | labels | {str(v) for v in page.values("for")} <= set(ids) | wnids


def test_a_build_without_images_pairs_or_stages_has_a_report(tmp_path: Path) -> None:
    vocabulary = random_tree(3)
    bare = written(vocabulary, Manifest(), tmp_path / "bare")
    assert "The build has no annotated collection." in bare.text
    empty = LabelStatistics.empty(3)
    manifest = Manifest(stages={"labels": labels_stage(empty, empty)})
    page = written(vocabulary, manifest, tmp_path / "empty")
    assert "There is no training image." in page.text
    assert "The build has no strong pair." in page.text
    assert [row[0] for row in page.tables["roots"][1:]] == ["category 0 no. 0"]
    assert (tmp_path / "empty" / "figures" / "labels_per_image.png").stat().st_size
    written(Vocabulary((), ()), Manifest(), tmp_path / "nothing")


@pytest.mark.parametrize(
    ("name", "summary", "told"),
    [
        ("labels", {}, "no conflicts"),
        ("labels", {"conflicts": "many"}, "no blocked_implications"),
        ("vocabulary", {"funnel": [["imagenet", "entered", "many"]]}, r"funnel\[0\]\[2\] is 'many'"),
        ("vocabulary", {"funnel": [["imagenet", "entered"]]}, r"funnel\[0\] is \['imagenet', 'entered'\]"),
        ("vocabulary", {"funnel": 3}, "funnel is not a list"),
        ("annotations/birds", {"images": 1.5}, r"images is 1\.5"),
        ("annotations/birds", {"surprises": 1}, "unknown key surprises"),
    ],
)
def test_a_summary_of_another_form_is_named(name: str, summary: dict[str, Json], told: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"manifest\.json: the summary of stage {name} .*\({told}\); build the folder again"
    ):
        write_report(random_tree(3), [], Manifest(stages={name: stage(summary)}), tmp_path)


def test_statistics_and_pairs_of_another_vocabulary_are_refused(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    of_others = replace(statistics(3, 1), absent_of_class=statistics(4, 1).absent_of_class)
    for train in (statistics(4, 1), of_others):
        manifest = Manifest(stages={"labels": labels_stage(train, statistics(3, 2))})
        with pytest.raises(DataError, match="the labels belong to another vocabulary"):
            write_report(random_tree(3), [], manifest, tmp_path)
    with pytest.raises(DataError, match="belong to another vocabulary"):
        write_report(random_tree(3), pairs_of(mini_vocabulary), Manifest(), tmp_path)


def test_figures_for_papers_are_whole_and_undated(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    write_report(mini_vocabulary, [], manifest_of(mini_vocabulary), tmp_path)
    for name in ("images_per_category", "labels_per_image"):
        svg = (tmp_path / "figures" / f"{name}.svg").read_text("utf-8")
        assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own file
        assert "<dc:date>" not in svg
        png = (tmp_path / "figures" / f"{name}.png").read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        assert width > 1800
        assert height > 900
        assert not re.search(rb"tEXt|tIME|iTXt", png)


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=3000))
def test_a_thinned_curve_keeps_its_ends_and_moves_by_invisible_steps(counts: list[int]) -> None:
    images = np.sort(np.array(counts, np.int64))[::-1]
    ranks, kept = figures._corners(images)
    assert (ranks[0], ranks[-1]) == (1, len(images))
    assert np.array_equal(images[ranks - 1], kept)
    drawn = np.interp(np.arange(1, len(images) + 1), ranks, np.log2(kept))
    height = max(np.log2(images[0]), 1.0)
    assert np.abs(drawn - np.log2(images)).max() <= height / 500 + 1e-9
    assert len(ranks) <= 2100


def luminance(colour: str) -> float:
    """Return the relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_have_the_contrast_that_wcag_asks_for(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    write_report(mini_vocabulary, [], manifest_of(mini_vocabulary), tmp_path)
    style = (tmp_path / "report.html").read_text("utf-8")
    schemes = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(schemes) == 3, "light, dark, print"
    for scheme in schemes:
        for ground in ("ground", "raised", "chosen", "note"):
            assert contrast(scheme["ink"], scheme[ground]) >= 7
        for ground in ("ground", "raised", "chosen"):
            assert contrast(scheme["muted"], scheme[ground]) >= 4.5
            assert contrast(scheme["link"], scheme[ground]) >= 4.5
        assert contrast(scheme["mean"], scheme["ground"]) >= 4.5
        for graphic in ("series", "dropped", "control"):
            assert contrast(scheme[graphic], scheme["ground"]) >= 3


@pytest.mark.slow
def test_the_command_writes_the_report_of_a_folder(mini_vocabulary: Vocabulary, tmp_path: Path) -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
    main, folder = command.load(), tmp_path / "build"
    output = OutputFolder(folder)

    def vocabulary_tables(out: Location) -> StageResult[Any]:
        return StageResult(
            (
                write_table(out / "categories.parquet", categories_table(mini_vocabulary), CATEGORIES, {}),
                write_table(out / "mapping.parquet", mapping_table(mini_vocabulary), MAPPING, {}),
            ),
            manifest_of(mini_vocabulary).stages["vocabulary"].summary,
        )

    output.run("vocabulary", parameters={}, inputs={}, work=vocabulary_tables, into="vocabulary")
    unfinished = CliRunner().invoke(main, ["report", str(folder)])
    assert unfinished.exit_code == 2
    assert "finish mlimages-build run first" in unfinished.output
    summary = manifest_of(mini_vocabulary).stages["labels"].summary
    output.run("labels", parameters={}, inputs={}, work=lambda _: StageResult((), summary), into="labels")
    first = CliRunner().invoke(main, ["report", str(folder)])
    assert (first.exit_code, "5 files written" in first.output) == (0, True)
    assert Page((folder / "report.html").read_text("utf-8")).categories["wnids"]
    assert "up to date" in CliRunner().invoke(main, ["report", str(folder)]).output
    (folder / "report.html").unlink()
    assert CliRunner().invoke(main, ["report", "--json", str(folder)]).exit_code == 0
    assert (folder / "report.html").is_file()


def test_the_command_makes_no_folder(tmp_path: Path) -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
    outcome = CliRunner().invoke(command.load(), ["report", str(tmp_path / "absent")])
    assert outcome.exit_code == 2
    assert "there is no manifest.json in it" in outcome.output
    assert not (tmp_path / "absent").exists()


N_PUBLISHED = 11_166
"""Categories of Tencent ML-Images."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report on as many categories as were published."""
    out, vocabulary = tmp_path_factory.mktemp("large"), random_tree(N_PUBLISHED, names=["root", "Zebra finch, bird"])
    train, validation = statistics(N_PUBLISHED, 1), statistics(N_PUBLISHED, 2)
    write_report(vocabulary, [], Manifest(stages={"labels": labels_stage(train, validation)}), out)
    return (out / "report.html").as_uri()


@pytest.fixture
def tab(chromium: Browser, large: str) -> Iterator[Tab]:
    """Yield a tab with the large report; the test fails if the page complains or asks for anything else."""
    with chromium.new_context(viewport={"width": 1200, "height": 900}) as context:
        tab = context.new_page()
        complaints: list[str] = []
        requests: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(large)
        yield tab
        assert complaints == []
        assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} == {large}


def items(tab: Tab) -> Locator:
    return tab.get_by_role("treeitem")


def hits(tab: Tab) -> Locator:
    return tab.locator("#results > [role=option]:visible")


@pytest.mark.slow
def test_thousands_of_categories_are_not_in_the_document_until_asked_for(tab: Tab) -> None:
    direct = random_tree(N_PUBLISHED).categories
    assert items(tab).count() == 1 + sum(category.parent == 0 for category in direct) < N_PUBLISHED / 10
    assert items(tab).first.get_attribute("aria-expanded") == "true"
    assert f"{N_PUBLISHED - 1:,} categories below" in str(items(tab).first.get_attribute("aria-label"))


@pytest.mark.slow
def test_search_finds_a_category_by_name_and_by_wnid(tab: Tab) -> None:
    field = tab.get_by_label("Search")
    field.fill("bird")
    assert hits(tab).all_inner_texts() == ["Zebra finch, bird\nn00000001 · root"]
    field.press("Enter")
    chosen = tab.locator("[role=treeitem][aria-selected=true]")
    assert chosen.get_attribute("data-index") == "1"
    assert chosen.evaluate("item => item === document.activeElement")
    field.fill("n00011165")
    field.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == hits(tab).and_(
        tab.locator("[aria-selected=true]")
    ).get_attribute("id")
    field.press("Enter")
    assert tab.locator("#detail h3").inner_text() == "category 11165"
    depth = random_tree(N_PUBLISHED).categories[-1].depth
    assert chosen.get_attribute("aria-level") == str(depth + 1)
    assert items(tab).count() < N_PUBLISHED / 2
    field.fill("category")
    assert hits(tab).count() == 50
    assert "11,164 found, 50 shown" in tab.get_by_role("status").inner_text()
    field.press("Escape")
    assert hits(tab).count() == 0
    field.fill("no such category")
    assert tab.get_by_role("status").inner_text() == "0 found"


@pytest.mark.slow
def test_the_tree_opens_and_closes_by_keyboard(tab: Tab) -> None:
    root = items(tab).first
    at_first = items(tab).count()
    root.focus()
    tab.keyboard.press("Enter")
    assert (root.get_attribute("aria-expanded"), items(tab).count()) == ("false", 1)
    tab.keyboard.press("ArrowRight")
    assert (root.get_attribute("aria-expanded"), items(tab).count()) == ("true", at_first)
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.ariaLevel") == "2"
    tab.keyboard.press("End")
    assert tab.evaluate("document.activeElement.ariaPosInSet === document.activeElement.ariaSetSize")
    tab.keyboard.press("z")
    assert str(tab.evaluate("document.activeElement.ariaLabel")).startswith("Zebra finch")
    tab.keyboard.press("ArrowLeft")
    assert root.evaluate("item => item === document.activeElement")
    tab.keyboard.press("ArrowLeft")
    assert items(tab).count() == 1
    assert tab.locator("[role=treeitem][tabindex='0']").count() == 1


@pytest.mark.slow
def test_a_closed_branch_takes_the_selection_with_it(tab: Tab) -> None:
    tab.get_by_label("Search").fill("n00011165")
    tab.keyboard.press("Enter")
    tab.get_by_role("button", name="Collapse all").click()
    assert items(tab).count() == 1
    assert items(tab).first.get_attribute("aria-selected") == "true"


@pytest.mark.slow
def test_an_address_leads_to_its_category(tab: Tab, large: str) -> None:
    tab.goto(f"{large}#n00000321")
    assert tab.locator("#detail h3").inner_text() == "category 321"
    tab.locator("#detail dd a").last.click()
    above = random_tree(N_PUBLISHED).categories[321].parent
    assert tab.locator("#detail dl a").first.inner_text() == f"n{above:08d}"
    tab.go_back()
    assert tab.locator("#detail h3").inner_text() == "category 321"


@pytest.mark.slow
def test_the_order_of_a_branch_can_be_chosen(tab: Tab) -> None:
    images = statistics(N_PUBLISHED, 1).images_of_class
    level_two = tab.locator("[role=treeitem][aria-level='2']")
    shown = [int(str(index)) for index in level_two.evaluate_all("all => all.map(one => one.dataset.index)")]
    assert [images[i] for i in shown] == sorted((images[i] for i in shown), reverse=True)
    tab.get_by_label("Order").select_option("name")
    names = [label.split("\n")[0] for label in level_two.locator(".label").all_inner_texts()]
    assert names[-1].startswith("Zebra finch")
    assert level_two.count() == len(shown)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(
    chromium: Browser, mini_vocabulary: Vocabulary, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # noqa: PLC0415 - only here

    write_report(mini_vocabulary, pairs_of(mini_vocabulary), manifest_of(mini_vocabulary), tmp_path)
    with chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        tab = context.new_page()
        tab.goto((tmp_path / "report.html").as_uri())
        tab.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        found = Axe().run(tab)
        assert found.violations_count == 0, found.generate_report()
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        ground, letters = tab.evaluate(
            "[document.body, document.querySelector('svg.figure text')].map((one, at) =>"
            " getComputedStyle(one)[at ? 'fill' : 'backgroundColor'])"
        )
        assert contrast(hexadecimal(ground), hexadecimal(letters)) >= 4.5
        assert (luminance(hexadecimal(ground)) < 0.05) == (scheme == "dark")


def hexadecimal(rgb: str) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", rgb))


@pytest.mark.slow
def test_hostile_names_do_nothing_in_a_browser(chromium: Browser, tmp_path: Path) -> None:
    vocabulary = random_tree(3, names=["root", HOSTILE])
    write_report(vocabulary, [], Manifest(), tmp_path)
    with chromium.new_context() as context:
        tab = context.new_page()
        tab.goto((tmp_path / "report.html").as_uri() + "#n00000001")
        assert tab.locator("#detail").inner_text().startswith(HOSTILE.split(", ", maxsplit=1)[0])
        tab.get_by_label("Search").fill("script")
        assert hits(tab).count() == 1
        assert tab.evaluate("[typeof window.broken, document.images.length]") == ["undefined", 0]
