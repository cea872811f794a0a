"""Each format's parser: what it accepts, and the sentence with file and line for what it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.api.vocabularies import class_columns
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.class_lists import (
    TencentRow,
    classes_of_table,
    parse_box_hierarchy,
    parse_class_table,
    parse_imagenet_synsets,
    parse_open_images_classes,
    parse_release_status,
    parse_tencent_dictionary,
)
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.tables.files import read_lines
from mlimages_dataset.vocab.hierarchy import longest_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TENCENT_HEADER = "category_index\tcategory_id\tindex_of_parent_category\tcategory name"
PARSERS: dict[str, Callable[[Sequence[str], str], Sequence[SourceClass | TencentRow]]] = {
    "imagenet": parse_imagenet_synsets,
    "open images": parse_open_images_classes,
    "table": parse_class_table,
    "tencent": parse_tencent_dictionary,
}
WELL_FORMED = {
    "imagenet": "n01440764\ttench, Tinca tinca\nn02084071\tdog\n",
    "open images": 'LabelName,DisplayName\n/m/01yrx,Cat\n/m/0bt9lr,"Dog, friend"\n',
    "table": "id,name\n1,caf\u00e9\n2,dog\n",
    "tencent": f"{TENCENT_HEADER}\n0\tn00002452\t-1\tthing\n1\tn09328904\t0\tlake\n",
}


def lines(text: str) -> list[str]:
    return text.split("\n")


def in_every_dress(text: str) -> list[bytes]:
    """Return a text's bytes as differing editors save it."""
    return [
        text.encode(),
        text.encode("utf-8-sig"),
        text.replace("\n", "\r\n").encode(),
        text.replace("\n", "\r").encode(),
        text.rstrip("\n").encode(),
        text.replace("\n", "\n\n").encode(),
        ("\n" + text + "\n \n").encode(),
        text.encode("latin-1"),
    ]


@pytest.mark.parametrize("form", PARSERS)
def test_marks_line_ends_blank_lines_and_latin_1_change_nothing(form: str, tmp_path: Path) -> None:
    parse = PARSERS[form]
    file = tmp_path / "list"
    expected = parse(lines(WELL_FORMED[form]), "list")
    assert len(expected) == 2
    for content in in_every_dress(WELL_FORMED[form]):
        file.write_bytes(content)
        assert parse(read_lines(file), "list") == expected


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("rows", "line", "byte"),
    [
        (b"id,name\n1,caf\xc3\xa9\n\xefle,x\n", 3, "ef"),
        (b"id,name\n1,caf\xe9\n2,\xc3\xa9t\xc3\xa9\n", 2, "e9"),
        (b"\xe4\r\n\xc3\xa4\r\n", 1, "e4"),
    ],
)
def test_two_encodings_in_one_list_are_refused_with_the_place(
    tmp_path: Path, mark: bytes, rows: bytes, line: int, byte: str
) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(mark + rows)
    with pytest.raises(DataError, match=f"line {line}: its byte {byte} is not UTF-8, as other lines are") as error:
        read_lines(file)
    assert error.value.line == line


@pytest.mark.parametrize("form", PARSERS)
@pytest.mark.parametrize("text", ["", "\n \n\t\n"])
def test_an_empty_list_is_refused(form: str, text: str) -> None:
    with pytest.raises(DataError, match=r"^list"):
        PARSERS[form](lines(text), "list")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("open images", "LabelName,DisplayName\n"),
        ("table", "id,name\n"),
    ],
)
def test_a_list_of_a_header_alone_is_refused(form: str, text: str) -> None:
    with pytest.raises(DataError, match="list: holds no classes; name a class list"):
        PARSERS[form](lines(text), "list")


@pytest.mark.parametrize(
    ("form", "text", "line", "what"),
    [
        ("imagenet", "n01440764\ntench\n", 2, "'tench' does not begin with a wnid"),
        ("imagenet", "n01440764\n\nn0144076 tench\n", 3, "'n0144076 tench' does not begin"),
        ("imagenet", "n014407641\n", 1, "'n014407641' does not begin"),
        ("open images", "/m/01yrx,Cat\n/m/0bt9lr\n", 2, "'/m/0bt9lr' is not an Open Images id"),
        ("open images", "/m/01yrx,Cat\nn02084071,dog\n", 2, "'n02084071,dog' is not an Open Images id"),
        ("open images", "mid,label\n/m/01yrx,Cat\n", 1, "'mid,label' is not an Open Images id"),
        ("open images", "/m/01yrx,Cat,feline\n", 1, "'/m/01yrx,Cat,feline' is not"),
        ("open images", '/m/01yrx,Cat\n/m/0bt9lr,"Dog\n', 2, "is not CSV there"),
        ("table", "key,name\n1,cat\n", 1, "no column id in its header"),
        ("table", "key value\n1 cat\n", 1, "no column id and name in its header"),
        ("table", "id,name\n1,cat\n2\n", 3, "1 fields where the header has 2"),
        ("table", "id,name\n,cat\n", 2, "the id is empty"),
        ("tencent", "0\tn00002452\t-1\tthing\n", 1, "does not begin with the header"),
        ("tencent", f"{TENCENT_HEADER}\n0 n00002452 -1 thing\n", 2, "is not an index, a wnid"),
        ("tencent", f"{TENCENT_HEADER}\n0\tn00002452\t-2\tthing\n", 2, "is not an index, a wnid"),
        ("tencent", f"{TENCENT_HEADER}\n1\tn00002452\t-1\tthing\n", 2, "index 1 follows -1"),
        ("tencent", f"{TENCENT_HEADER}\n0\tn00002452\t0\tthing\n", 2, "the parent of n00002452, 0, is not another row"),
        ("tencent", f"{TENCENT_HEADER}\n0\tn00002452\t7\tthing\n", 2, "the parent of n00002452, 7, is not another row"),
        (
            "tencent",
            f"{TENCENT_HEADER}\n0\tn00002452\t-1\tthing\n1\tn00002452\t-1\tthing\n",
            3,
            "n00002452 is also in line 2",
        ),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(form: str, text: str, line: int, what: str) -> None:
    with pytest.raises(DataError) as caught:
        PARSERS[form](lines(text), "list")
    assert (caught.value.where, caught.value.line) == ("list", line)
    assert what in caught.value.what


def test_a_long_line_is_quoted_shortened() -> None:
    with pytest.raises(DataError) as caught:
        parse_imagenet_synsets(["x" * 1000], "list")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("separator", ["\t", " ", "   ", ",", ", "])
def test_a_synset_list_may_have_words_behind_the_id(separator: str) -> None:
    found = parse_imagenet_synsets([f"n01440764{separator}tench, Tinca tinca", "n02084071"], "list")
    assert found == [SourceClass("n01440764", "tench, Tinca tinca"), SourceClass("n02084071", "")]


def test_open_images_lists_are_read_with_and_without_header() -> None:
    rows = ['"/m/01yrx","Cat"', '/m/012,"Salt, pepper"', "/m/013,", "/t/014, Tabs "]
    expected = [
        SourceClass("/m/01yrx", "Cat"),
        SourceClass("/m/012", "Salt, pepper"),
        SourceClass("/m/013", ""),
        SourceClass("/t/014", "Tabs"),
    ]
    assert parse_open_images_classes(rows, "list") == expected
    assert parse_open_images_classes(["LabelName,DisplayName", *rows], "list") == expected


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_a_users_table_has_its_columns_in_any_order_and_case_and_more_of_them(delimiter: str) -> None:
    rows = [delimiter.join(cells) for cells in (["Name", "size", "ID"], ["cat", "1", "c"], ["dog", "2", "d"])]
    assert parse_class_table(rows, "list") == [SourceClass("c", "cat"), SourceClass("d", "dog")]


@pytest.mark.parametrize("form", ["imagenet", "open images", "table"])
def test_repeated_classes_are_passed_on(form: str) -> None:
    text = WELL_FORMED[form] + WELL_FORMED[form].splitlines()[-1]
    found = PARSERS[form](lines(text), "list")
    assert found[-1] == found[-2]
    assert len(found) == 3


@given(st.lists(st.tuples(st.from_regex(r"\A/[mgt]/[0-9a-z_]{1,7}\Z"), st.text(st.characters(categories=["L"])))))
def test_open_images_round_trip(rows: list[tuple[str, str]]) -> None:
    text = ["LabelName,DisplayName", *(f'{mid},"{name}"' for mid, name in rows)]
    if rows:
        assert [(c.source_id, c.name) for c in parse_open_images_classes(text, "list")] == rows


def test_release_status() -> None:
    text = (
        '<?xml version="1.0" encoding="utf-8"?><ReleaseStatus><images>'
        '<synset wnid="n01440764" numImages="2" released="1"/><synset wnid="n02084071" numImages="0"/>'
        "</images></ReleaseStatus>"
    )
    assert parse_release_status(text, "x.xml") == {"n01440764": 2, "n02084071": 0}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<ReleaseStatus>", "is not ImageNet's release status"),
        ("", "is not ImageNet's release status"),
        ('<a><synset wnid="n1"/></a>', "is not ImageNet's release status ('numImages')"),
        ('<a><synset wnid="n1" numImages="many"/></a>', "is not ImageNet's release status"),
        ("<a/>", "lists no synset"),
    ],
)
def test_another_xml_file_is_refused(text: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_release_status(text, "x.xml")
    assert what in caught.value.what


def test_box_hierarchy_gives_every_parent_once_and_no_parts() -> None:
    eye = {"LabelName": "/m/eye"}
    cat = {"LabelName": "/m/cat", "Part": [eye]}
    tree = {
        "LabelName": "/m/all",
        "Subcategory": [
            {"LabelName": "/m/pet", "Subcategory": [cat]},
            {"LabelName": "/m/animal", "Subcategory": [cat, {"LabelName": "/m/dog"}]},
            {"LabelName": "/m/animal", "Subcategory": [cat]},
        ],
    }
    parents = parse_box_hierarchy(json.dumps(tree), "x.json")
    assert {child: set(above) for child, above in parents.items()} == {
        "/m/pet": {"/m/all"},
        "/m/animal": {"/m/all"},
        "/m/cat": {"/m/pet", "/m/animal"},
        "/m/dog": {"/m/animal"},
    }
    assert all(len(above) == len(set(above)) for above in parents.values())


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"LabelName": "/m/a", "Subcategory": {}}', '{"LabelName": "a", "Subcategory": [{}]}'],
)
def test_another_json_file_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"x\.json: is not Open Images' box hierarchy"):
        parse_box_hierarchy(text, "x.json")


def test_a_table_says_what_classes_mean_by_wnid_parent_or_synset() -> None:
    (row,) = parse_class_table(["id;name;Synset;parent;wnid", "1;tabby;cat.n.01;2;"], "list")
    assert row == SourceClass("1", "tabby", parent="2", synset="cat.n.01")
    for header in ("id,name,name", "id,name,ID", "id,name,wnid,wnid", "id,name,synset,synset", "id,name,parent,parent"):
        with pytest.raises(DataError, match="has two columns"):
            parse_class_table([header, "1,dog,cat,cow"], "list")


def test_tencent_rows() -> None:
    rows = parse_tencent_dictionary(lines(WELL_FORMED["tencent"]), "list")
    assert rows == [TencentRow(0, "n00002452", -1, "thing"), TencentRow(1, "n09328904", 0, "lake")]


def test_a_tencent_parent_may_come_after_its_child() -> None:
    text = f"{TENCENT_HEADER}\n0\tn09328904\t1\tlake\n1\tn00002452\t-1\tthing\n"
    assert [row.parent for row in parse_tencent_dictionary(lines(text), "list")] == [1, -1]


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("parse", "file", "n_classes"),
    [
        (parse_open_images_classes, "open_images/dict_v1.csv", 7_881),
        (parse_open_images_classes, "open_images/class_descriptions_v6.csv", 19_994),
        (parse_tencent_dictionary, "tencent/dictionary_first_9418.txt", 9_418),
    ],
)
def test_published_lists_are_read_whole(
    shared_data: Path, parse: Callable[[Sequence[str], str], Sequence[object]], file: str, n_classes: int
) -> None:
    assert len(parse(read_lines(shared_data / file), file)) == n_classes


@pytest.mark.shared_data
def test_published_image_counts_are_read_whole(shared_data: Path) -> None:
    counts = parse_release_status("\n".join(read_lines(shared_data / "imagenet/ReleaseStatus.xml")), "x.xml")
    assert len(counts) == 21_845  # 1,000 of them listed twice, 4 not in the list of Fall 2011
    assert sum(images > 500 for images in counts.values()) == 11_221


@pytest.mark.shared_data
def test_published_box_hierarchy_is_read_whole(shared_data: Path) -> None:
    text = (shared_data / "open_images/bbox_labels_600_hierarchy.json").read_text("utf-8")
    parents = parse_box_hierarchy(text, "x.json")
    assert len(parents) == 601  # all boxable classes: the top, Entity, is none of them


@pytest.mark.shared_data
def test_the_published_trees_longest_path_has_16_edges(shared_data: Path) -> None:
    rows = parse_tencent_dictionary(read_lines(shared_data / "tencent/dictionary_first_9418.txt"), "x.txt")
    assert max(longest_paths([(row.parent,) if row.parent >= 0 else () for row in rows])) == 16
    assert sum(row.parent < 0 for row in rows) == 4


@pytest.mark.parametrize(
    ("column", "near", "cells"),
    [
        ("wnids", "wnid", ("n02084071", "")),
        ("wn_id", "wnid", ("n02084071", "n02084071")),
        ("wnid2", "wnid", ("n02084071", "?")),
        ("parents", "parent", ("n02084071", "n02084071")),
        ("parent_id", "parent", ("2", "")),
        ("parent_name", "parent", ("Animal", "")),
        ("parentName", "parent", ("Animal", "none")),
        ("patent", "parent", ("", "dog")),
        ("Synsets", "synset", ("dog.n.01", "")),
        ("wnids", "synset", ("dog.n.01", "")),
        ("wordnet_synset", "wnid", ("n02084071", "")),
    ],
)
def test_a_column_that_is_spelled_like_one_that_is_read_and_holds_that_is_told(
    column: str, near: str, cells: tuple[str, str]
) -> None:
    told = f"has a column {column.lower()}, which is not read, and no column {near}; rename it to {near}, or to"
    columns = {"id": ["1", "2"], "name": ["dog", "animal"], column: list(cells)}
    rows = [",".join(row) for row in (columns, *zip(*columns.values(), strict=True))]
    if "none" not in cells and "?" not in cells:  # at least most cells
        with pytest.raises(DataError, match=told):
            parse_class_table(rows, "a.csv")
        with pytest.raises(DataError, match=told):
            classes_of_table(pa.table(columns), "a.parquet")
        with pytest.raises(DataError, match=told):
            class_columns(pd.DataFrame(columns), "the frame")
    else:
        assert len(parse_class_table(rows, "a.csv")) == 2
    both = parse_class_table([f"{rows[0]},{near}", *(f"{row}," for row in rows[1:])], "a.csv")
    assert [one.source_id for one in both] == ["1", "2"]


@pytest.mark.parametrize(
    "column", ["parents", "patent", "apparent", "parenting", "transparent", "wnid2", "synset_count"]
)
@pytest.mark.parametrize("cells", [("1", "2"), ("yes", "no"), ("", ""), ("US123", "x.y"), ("ann; bob", "n0208")])
@pytest.mark.filterwarnings("ignore:.*is not read")
def test_a_column_that_is_only_spelled_alike_is_passed_over(column: str, cells: tuple[str, str]) -> None:
    if (column, cells) == ("parents", ("1", "2")):
        return  # these may be ids
    columns = {"id": ["1", "2"], "name": ["dog", "animal"], column: list(cells)}
    rows = [",".join(row) for row in (columns, *zip(*columns.values(), strict=True))]
    expected = [SourceClass("1", "dog"), SourceClass("2", "animal")]
    assert parse_class_table(rows, "a.csv") == expected
    assert classes_of_table(pa.table(columns), "a.parquet") == expected
    assert list(class_columns(pd.DataFrame(columns), "the frame")) == ["id", "name"]


@pytest.mark.parametrize("cells", [[["animal"], []], [True, False], [None, None]])
def test_a_column_that_is_only_spelled_alike_may_hold_no_text(cells: list[object]) -> None:
    table = pa.table({"id": ["1", "2"], "name": ["dog", "animal"], "apparent": cells})
    assert len(classes_of_table(table, "a.parquet")) == 2


def test_other_columns_of_a_class_list_are_left_alone() -> None:
    for column in ("images", "supercategory", "origin", "wordnet", "synonyms", "description"):
        assert parse_class_table([f"id,name,{column}", "1,dog,x"], "a.csv")[0].stated == ("", "", "")
