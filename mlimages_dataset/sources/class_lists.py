"""Parsers of class lists: from lines, rows or trees to classes.

Every parser takes the text of a file, and its name for messages. It skips blank lines, and refuses a line that violates
the format, with the line's number. Repeated classes are returned too; the vocabulary counts them.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.classes import OWN_WNID, SourceClass
from mlimages_dataset.sources.folders import is_wnid
from mlimages_dataset.sources.lines import refuse_line_of_excel
from mlimages_dataset.sources.rows import plain, text_column

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

TENCENT_HEADER = ("category_index", "category_id", "index_of_parent_category", "category name")
"""The first line of the published dictionary, separated by tabs."""
_SYNSET_LINE = re.compile(r"(n\d{8})(?:[\s,]+(.*))?")
_MID = re.compile(r"/[mgt]/\w+")
_OPEN_IMAGES_HEADER = ("LabelName", "DisplayName")
CLASS_COLUMNS = ("id", "name")
MEANING_COLUMNS = ("wnid", "parent", "synset")
"""Columns of a class list that say what a class means; each may be missing, and cells may be empty."""
_DELIMITERS = (",", "\t", ";", "|")
_NEAR = 0.8
_SYNSET_NAME = re.compile(r"\S.*\.[nvasr]\.\d+")
_TENCENT_CELLS = re.compile(r"\d+\tn\d{8}\t(-1|\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class TencentRow:
    """One row of the published dictionary; `parent` is -1 at a root."""

    class_index: int
    wnid: str
    parent: int
    name: str


def parse_imagenet_synsets(lines: Iterable[str], where: str) -> list[SourceClass]:
    """Return the classes of an ImageNet synset list: one wnid per line, optionally followed by words.

    Raises:
        DataError: a line does not begin with a wnid, or the list is empty.
    """

    def parse(line: str, number: int) -> SourceClass:
        match = _SYNSET_LINE.fullmatch(line.strip())
        if match is None:
            raise DataError(
                f"{_shown(line)} does not begin with a wnid such as n01440764",
                where=where,
                line=number,
                remedy="write one synset per line",
            )
        return SourceClass(match[1], (match[2] or "").strip())

    return _at_least_one((parse(line, n) for n, line in _numbered(lines)), where)


def parse_open_images_classes(lines: Iterable[str], where: str) -> list[SourceClass]:
    """Return the classes of an Open Images list, V1 (no header) or V2-V7 (``LabelName,DisplayName`` or none).

    Raises:
        DataError: a row is not a mid and a name, or the list is empty.
    """
    rows = list(_csv_rows(lines, where))
    if rows and tuple(rows[0][1]) == _OPEN_IMAGES_HEADER:
        rows = rows[1:]

    def parse(row: Sequence[str], number: int) -> SourceClass:
        if len(row) != len(_OPEN_IMAGES_HEADER) or not _MID.fullmatch(row[0]):
            raise DataError(
                f"{_shown(','.join(row))} is not an Open Images id such as /m/01yrx and a name",
                where=where,
                line=number,
                remedy="name a class list (dict.csv, class-descriptions.csv, oidv6-class-descriptions.csv)",
            )
        return SourceClass(row[0], row[1].strip())

    return _at_least_one((parse(row, n) for n, row in rows), where)


def parse_class_table(lines: Iterable[str], where: str) -> list[SourceClass]:
    """Return the classes of a table with the columns `id` and `name`, separated by commas, tabs, semicolons or bars.

    The columns `wnid`, `parent` and `synset` are read where there are such; others are ignored.

    Raises:
        DataError: there is no such header, or a column twice; a row is short, an id is empty, or a wnid is none; or
            there is no row.
    """
    content = list(lines)
    refuse_line_of_excel("".join(content[:1]), where)
    delimiter = next((one for one in _DELIMITERS if content and _has_columns(content[0], one)), ",")
    rows = list(_csv_rows(content, where, delimiter))
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    _check_header(header, where, line=1)

    def parse(row: Sequence[str], number: int) -> SourceClass:
        if len(row) != len(header):
            raise DataError(
                f"{len(row)} fields where the header has {len(header)}", where=where, line=number, remedy="correct it"
            )
        return _class_of(dict(zip(header, row, strict=True)), where, line=number)

    classes = _at_least_one((parse(row, n) for n, row in rows[1:]), where)
    cells = zip(*(row for _, row in rows[1:]), strict=True)
    refuse_misspelled(dict(zip(header, cells, strict=True)), where, line=1)
    return classes


def _has_columns(header: str, delimiter: str) -> bool:
    return set(CLASS_COLUMNS) <= {cell.strip().strip('"').lower() for cell in header.split(delimiter)}


def classes_of_table(table: pa.Table, where: str) -> list[SourceClass]:
    """Return the classes of a table with the columns that `parse_class_table` reads.

    Raises:
        DataError: a column is missing or holds what is not text, a row holds no id or no name, a wnid is none, or there
            is no row.
    """
    table = table.rename_columns([name.strip().lower() for name in table.column_names])
    _check_header(table.column_names, where)
    columns = [column for column in (*CLASS_COLUMNS, *MEANING_COLUMNS) if column in table.column_names]

    def parse(row: Mapping[str, object], number: int) -> SourceClass:
        if None in (row["id"], row["name"]):
            raise DataError(f"row {number} holds a null", where=where, remedy="give every class an id and a name")
        cells = {name: "" if cell is None else str(cell) for name, cell in row.items()}
        return _class_of(cells, where, row=number)

    refuse_misspelled(misspelled_texts(zip(table.column_names, table.columns, strict=True)), where)
    texts = {name: _texts(table[name], name, where) for name in columns}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*texts.values(), strict=True))
    return _at_least_one((parse(row, number) for number, row in enumerate(rows, 1)), where)


def may_be_read(column: str) -> bool:
    """Return whether a column, in lower case, is one that is read, or is spelled like one."""
    return column in {*CLASS_COLUMNS, *MEANING_COLUMNS} or any(_is_spelled_like(column, one) for one in MEANING_COLUMNS)


def misspelled_texts(columns: Iterable[tuple[str, pa.Array | pa.ChunkedArray]]) -> dict[str, list[str | None]]:
    """Return the texts of the columns that `refuse_misspelled` looks at; none of a column that holds no text."""
    found: dict[str, list[str | None]] = {}
    for name, column in columns:
        if may_be_read(name):
            chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
            found[name] = []
            with contextlib.suppress(DataError):
                found[name] = [cell for chunk in chunks for cell in text_column(plain(chunk), name, "").to_pylist()]
    return found


def refuse_misspelled(columns: Mapping[str, Sequence[str | None]], where: str, line: int | None = None) -> None:
    """Refuse a column that is spelled like `wnid`, `parent` or `synset`, which the list lacks, and holds what it would.

    Other such columns may say anything (`patent`, `apparent`), and are passed over.

    Args:
        columns: the cells of each column, by its name in lower case.
        where: the list, in messages.
        line: the line of its header.

    Raises:
        DataError: there is such a column.
    """
    known = {cell.strip().casefold() for name in CLASS_COLUMNS for cell in columns.get(name, ()) if cell}
    for name, cells in columns.items():
        alike = [one for one in MEANING_COLUMNS if _is_spelled_like(name, one)]
        held = _held([cell.strip() for cell in cells if cell and cell.strip()], name, known) if alike else ""
        meant = "parent" if held and "parent" in alike else held
        if meant in MEANING_COLUMNS and meant not in columns:
            what = f"has a column {name}, which is not read, and no column {meant}"
            raise DataError(what, where=where, line=line, remedy=f"rename it to {meant}, or to something else")


def _is_spelled_like(name: str, column: str) -> bool:
    if name in MEANING_COLUMNS:
        return False
    near = difflib.get_close_matches(column, [name], n=1, cutoff=_NEAR)
    return bool(near) or column in name.replace("_", "")


def _held(cells: Sequence[str], name: str, known: Collection[str]) -> str:
    """Return what most of the cells of a column are: `wnid`, `synset`, or `id` of a class of the list; empty if none.

    Numbers are ids only where the word itself stands in the name of the column (`parent_id`): `patent` may count.
    """
    numbers_are_ids = not {"parent", "parents"}.isdisjoint(re.split(r"[^a-z]+", name))

    def kind(cell: str) -> str:
        if is_wnid(cell):
            return "wnid"
        if _SYNSET_NAME.fullmatch(cell):
            return "synset"
        return "id" if cell.casefold() in known and (numbers_are_ids or not is_whole(cell)) else ""

    most, n = Counter(map(kind, cells)).most_common(1)[0] if cells else ("", 0)
    return most if n > len(cells) / 2 else ""


def _texts(column: pa.ChunkedArray, name: str, where: str) -> list[str | None]:
    return [cell for chunk in column.chunks for cell in text_column(plain(chunk), name, where).to_pylist()]


def _class_of(cells: Mapping[str, str], where: str, *, line: int | None = None, row: int | None = None) -> SourceClass:
    """Return the class that a row's cells state, by column; `line` or `row` says which one, in messages."""
    of = "" if row is None else f" of row {row}"
    stated = (cells.get(column, "").strip() for column in (*CLASS_COLUMNS, *MEANING_COLUMNS))
    source_id, name, wnid, parent, synset = stated
    if not source_id:
        raise DataError(f"the id{of} is empty", where=where, line=line, remedy="give every class an id")
    if wnid and not (is_wnid(wnid) or OWN_WNID.fullmatch(wnid)):
        raise DataError(
            f"the wnid{of} is {_shown(wnid)}",
            where=where,
            line=line,
            remedy="write one such as n02099601, or leave it empty",
        )
    return SourceClass(source_id, name, wnid, parent, synset, f"line {line}" if row is None else f"row {row}")


def parse_release_status(text: str, where: str) -> dict[str, int]:
    """Return the images of each synset in ImageNet's ``ReleaseStatus.xml``.

    Raises:
        DataError: it is not such a file.
    """
    try:
        synsets = ET.fromstring(text).iter("synset")  # noqa: S314 - expat has bounded entity expansion since 2.4.1
        counts = {synset.attrib["wnid"]: _n_images(synset.attrib["numImages"]) for synset in synsets}
    except (ET.ParseError, KeyError, ValueError) as error:
        raise DataError(
            f"is not ImageNet's release status ({error})", where=where, remedy="obtain ReleaseStatus.xml again"
        ) from error
    if not counts:
        raise DataError("lists no synset", where=where, remedy="obtain ReleaseStatus.xml again")
    return counts


def _n_images(text: str) -> int:
    if not is_whole(text.strip()):
        raise ValueError(f"{text[:20]!r} is no number of images")
    return int(text)


def parse_box_hierarchy(text: str, where: str) -> dict[str, tuple[str, ...]]:
    """Return the parents of each class in Open Images' hierarchy of box classes (``Subcategory``, not ``Part``).

    Raises:
        DataError: it is not such a file.
    """
    parents: dict[str, list[str]] = {}
    with _hierarchy_errors(where):
        for parent, child in _subcategories(parse_json(text)):
            above = parents.setdefault(child, [])
            if parent not in above:
                above.append(parent)
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle = " > ".join(map(str, reversed(error.args[1])))
        raise _no_hierarchy(f"a class is below itself: {circle}", where) from error
    return {child: tuple(above) for child, above in parents.items()}


def parse_box_ancestors(text: str, where: str) -> dict[str, frozenset[str]]:
    """Return the classes above each class of Open Images' hierarchy on its paths from the top, without the root.

    A class may stand at several places with different classes below it: only its own paths count, as in the challenge.

    Raises:
        DataError: it is not such a file.
    """
    if not parse_box_hierarchy(text, where):
        raise _no_hierarchy("it has no Subcategory", where)
    above: dict[str, set[str]] = {}
    with _hierarchy_errors(where):
        pending: list[tuple[Mapping[str, Any], tuple[str, ...]]]
        pending = [(node, ()) for node in parse_json(text)["Subcategory"]]
        while pending:
            node, path = pending.pop()
            above.setdefault(node["LabelName"], set()).update(path)
            pending += [(child, (*path, node["LabelName"])) for child in node.get("Subcategory", [])]
    return {name: frozenset(path) - {name} for name, path in above.items()}


def parse_tencent_dictionary(lines: Iterable[str], where: str) -> list[TencentRow]:
    """Return the rows of the published dictionary, in order.

    Raises:
        DataError: the header or a row is malformed, the indices do not count up from 0, a wnid repeats, or a parent is
            not among the rows.
    """
    numbered = list(_numbered(lines))
    if not numbered or tuple(cell.strip() for cell in numbered[0][1].split("\t")) != TENCENT_HEADER:
        raise DataError(
            "does not begin with the header " + ", ".join(TENCENT_HEADER),
            where=where,
            line=1,
            remedy="name Tencent ML-Images' dictionary_and_semantic_hierarchy.txt",
        )
    rows: list[TencentRow] = []
    line_of: dict[str, int] = {}
    for number, line in numbered[1:]:
        cells = line.split("\t")
        if len(cells) != len(TENCENT_HEADER) or not _TENCENT_CELLS.fullmatch("\t".join(cells[:3])):
            raise DataError(
                f"{_shown(line)} is not an index, a wnid, a parent's index and names, separated by tabs",
                where=where,
                line=number,
                remedy="obtain the file again",
            )
        row = TencentRow(int(cells[0]), cells[1], int(cells[2]), cells[3].strip())
        if row.class_index != len(rows):
            raise DataError(
                f"index {row.class_index} follows {len(rows) - 1}", where=where, line=number, remedy="restore the rows"
            )
        if row.wnid in line_of:
            raise DataError(f"{row.wnid} is also in line {line_of[row.wnid]}", where=where, line=number)
        line_of[row.wnid] = number
        rows.append(row)
    for row in rows:
        if row.parent >= len(rows) or row.parent == row.class_index:
            raise DataError(
                f"the parent of {row.wnid}, {row.parent}, is not another row",
                where=where,
                line=line_of[row.wnid],
                remedy="obtain the complete file",
            )
    return rows


@contextlib.contextmanager
def _hierarchy_errors(where: str) -> Iterator[None]:
    """Turn what reading something else as a hierarchy raises into `DataError`."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_hierarchy(str(error), where) from error


def _no_hierarchy(why: str, where: str) -> DataError:
    return DataError(
        f"is not Open Images' box hierarchy ({why})",
        where=where,
        remedy="obtain bbox_labels_600_hierarchy.json again",
    )


def _subcategories(node: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (parent, child) of a tree, from the top."""
    pending = [node]
    while pending:
        parent = pending.pop()
        children = parent.get("Subcategory", []) if isinstance(parent, dict) else None
        if not isinstance(children, list):
            raise TypeError("it is no object with a list Subcategory")
        for child in children:
            if not all(isinstance(node, dict) and "LabelName" in node for node in (parent, child)):
                raise TypeError("a class has no LabelName")
            yield str(parent["LabelName"]), str(child["LabelName"])
            pending.append(child)


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _csv_rows(lines: Iterable[str], where: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    # A line end in quotes is part of a field.
    ended = (line if line.endswith(("\n", "\r")) else f"{line}\n" for line in lines)
    reader = csv.reader(ended, delimiter=delimiter, skipinitialspace=True, strict=True)
    start = 1  # the line where the row begins: an open quote takes in all lines to the end
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"is not CSV there ({error})", where=where, line=start, remedy="correct the quotes") from error


def _check_header(found: Sequence[str], where: str, line: int | None = None) -> None:
    """Refuse a table that lacks a column, or has one that is read twice."""
    missing = [column for column in CLASS_COLUMNS if column not in found]
    if missing:
        what = f"no column {' and '.join(missing)} in its header ({_shown(','.join(found))})"
        raise DataError(what, where=where, line=line, remedy="give the columns id and name")
    repeated = [column for column in (*CLASS_COLUMNS, *MEANING_COLUMNS) if list(found).count(column) > 1]
    if repeated:
        raise DataError(f"has two columns {repeated[0]}", where=where, line=line, remedy="name each differently")


def _at_least_one(classes: Iterable[SourceClass], where: str) -> list[SourceClass]:
    found = list(classes)
    if not found:
        raise DataError("holds no classes", where=where, remedy="name a class list")
    return found


def _shown(text: str) -> str:
    """Return a line shortened for a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")  # noqa: PLR2004 - as much as fits in a sentence
