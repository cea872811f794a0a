"""A folder that we wrote is read again as what it holds: the same ids, pictures, masks, labels and captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.documents import written_csv
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.check import Limits
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.ingest import Form, ids_of, members_of
from mlimages_dataset.images.members import Member, held
from mlimages_dataset.pipeline.records import Manifest, StageRecord
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parts import MANIFEST_NAME
from tests.images.folders import image_folder, picture
from tests.images.test_ingest import CATS, ingested, labels, pictures_of, rows
from tests.images.test_masks import FILES

if TYPE_CHECKING:
    from pathlib import Path

IDS = ["a", "cat/0", "狗/猫 1", "x%2Fy", "a.b/c~d", "k" * 200, "n01440764_7", "train/1", "..hidden"]


def test_what_a_folder_holds_is_ingested_again_as_it_is(tmp_path: Path) -> None:
    files = {**FILES, "cat/1.jpg": CATS[0], "cat/1.txt": b"a cat, asleep", "dog/2.jpg": CATS[1], "dog/2.cls": b"7"}
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    ingested(tmp_path / "once", tmp_path / "in", part_images=2)
    ingested(tmp_path / "twice", tmp_path / "once", part_images=2)
    for name in ("labels.csv", "captions.csv"):
        assert (tmp_path / "twice" / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    assert pictures_of(tmp_path / "twice") == pictures_of(tmp_path / "once")
    before, after = (ImageIndex.open(tmp_path / name) for name in ("once", "twice"))
    assert [before.masks(k) for k in range(len(before))] == [after.masks(k) for k in range(len(after))]
    assert any(before.masks(k) for k in range(len(before)))


def test_a_folder_without_a_file_of_labels_is_read_under_its_ids(tmp_path: Path) -> None:
    given = {image_id: picture(k) for k, image_id in enumerate(IDS)}
    image_folder(tmp_path / "in", [{**given, "failed": None}])
    ingested(tmp_path / "out", tmp_path / "in")
    assert pictures_of(tmp_path / "out") == given
    assert [row["image_id"] for row in rows(tmp_path / "out")] == IDS
    assert ("cat/0", "cat", "1") in labels(tmp_path / "out")
    found = list(members_of(tmp_path / "in", Form.AUTO, Limits(bytes=10)))
    assert {member.content().status for member in found} == {"too_large"}  # type: ignore[union-attr]


def test_a_folder_of_ours_within_another_is_read_below_its_name(tmp_path: Path) -> None:
    image_folder(tmp_path / "in" / "ours", [{"cat/0": CATS[0], "x.y": CATS[1]}])
    (tmp_path / "in" / "dog.jpg").write_bytes(CATS[2])
    ingested(tmp_path / "out", tmp_path / "in")
    assert pictures_of(tmp_path / "out") == {"dog": CATS[2], "ours/cat/0": CATS[0], "ours/x.y": CATS[1]}


def test_a_folder_of_ours_that_is_none_of_pictures_is_refused_with_where_they_are(tmp_path: Path) -> None:
    stage = StageRecord(parameters={}, inputs={}, outputs=(), summary={}, seconds=0.0)
    for name in ("labels", "build"):
        (tmp_path / name / "figures").mkdir(parents=True)
        (tmp_path / name / "figures" / "chart.png").write_bytes(picture(1, form="PNG"))
        write_bytes(tmp_path / name / MANIFEST_NAME, Manifest(stages={"labels": stage}).to_json())
    image_folder(tmp_path / "build" / "images", [{"cat/0": CATS[0]}])
    for name, told in (("labels", "holds no pictures, but what mlimages-build wrote: labels"), ("build", "is a build")):
        with pytest.raises(UsageError, match=told) as caught:
            list(members_of(tmp_path / name, Form.AUTO, Limits()))
        assert (f"name {tmp_path / 'build' / 'images'}" in caught.value.remedy) == (name == "build")
    ingested(tmp_path / "out", tmp_path / "build" / "images")
    assert pictures_of(tmp_path / "out") == {"cat/0": CATS[0]}
    write_bytes(tmp_path / "labels" / MANIFEST_NAME, b'{"a manifest": "of others"}')
    assert next(one.path for one in members_of(tmp_path / "labels", Form.AUTO, Limits())) == "figures/chart.png"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_an_id_is_the_id_of_itself(text: str) -> None:
    (once,) = ids_of([Member(text, held(b""))])
    assert ids_of([Member(once, held(b""))]) == [once] or not once


LINES = 'image_id,label,confidence\na,dog,1\nb,"cat, asleep",0.5\na,café,0.25\n'
STATED = {"a": (("dog", 1.0), ("café", 0.25)), "b": (("cat, asleep", 0.5),), "c": ()}
EDITED = {
    "as it is": LINES,
    "no last line end": LINES[:-1],
    "blank lines": LINES.replace("\n", "\n\n"),
    "empty cells": LINES + ",,\n",
    "as Excel saves UTF-8": "\ufeff" + LINES.replace("\n", "\r\n"),
    "as Excel saves CSV": LINES.replace("\n", "\r\n").encode("cp1252"),
    "semicolons": LINES.replace(", a", "~").replace(",", ";").replace("~", ", a").replace("0.", "0,"),
    "tabs": LINES.replace(", a", "~").replace(",", "\t").replace("~", ", a"),
    "all quoted": 'image_id,label,confidence\n"a","dog","1"\n"b","cat, asleep","0.5"\n"a","café","0.25"\n',
    "padded": 'image_id, label, confidence\na, dog, 1\na, café, 0.25\nb,"cat, asleep", 0.5\n',
    "another order, one more": ('note,confidence,label,image_id\n,1,dog,a\nsleeps,0.5,"cat, asleep",b\n,0.25,café,a\n'),
    "lines of other pictures": LINES + "z,dog,1\n,dog,much\n",
}


@pytest.mark.parametrize("content", EDITED.values(), ids=EDITED)
def test_labels_may_have_been_edited(tmp_path: Path, content: str | bytes) -> None:
    image_folder(tmp_path / "in", [dict(zip("abc", CATS[:3], strict=True))])
    (tmp_path / "in" / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = list(members_of(tmp_path / "in", Form.AUTO, Limits()))
    assert {member.path: member.labels for member in found} == STATED
    assert not any(member.note for member in found)


def test_only_a_header_states_nothing(tmp_path: Path) -> None:
    image_folder(tmp_path / "in", [{"a": CATS[0]}])
    (tmp_path / "in" / "labels.csv").write_text("image_id,label,confidence\n")
    assert [member.labels for member in members_of(tmp_path / "in", Form.AUTO, Limits())] == [()]


def test_without_confidences_each_label_is_sure(tmp_path: Path) -> None:
    image_folder(tmp_path / "in", [{"a": CATS[0]}])
    (tmp_path / "in" / "labels.csv").write_text("image_id,label\na,dog\n")
    assert [member.labels for member in members_of(tmp_path / "in", Form.AUTO, Limits())] == [(("dog", 1.0),)]


@pytest.mark.parametrize("written", ["", "much", "2", "-1", "nan", "97%"])
def test_a_confidence_that_is_none_is_told_of_its_picture(tmp_path: Path, written: str) -> None:
    image_folder(tmp_path / "in", [{"a": CATS[0], "b": CATS[1]}])
    (tmp_path / "in" / "labels.csv").write_text(f"image_id,label,confidence\na,dog,{written}\na,cat,1\nb,dog,1\n")
    ingested(tmp_path / "out", tmp_path / "in")
    assert labels(tmp_path / "out") == [("a", "cat", "1"), ("b", "dog", "1")]
    assert [row["detail"] for row in rows(tmp_path / "out")] == [
        "a confidence in labels.csv is no number from 0 to 1",
        "",
    ]


@given(
    lines=st.lists(st.tuples(st.sampled_from("abx"), st.text(st.characters(codec="utf-8", exclude_characters="\0")))),
)
def test_what_is_written_of_a_picture_is_read_of_it_in_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]
) -> None:
    folder = image_folder(tmp_path_factory.mktemp("in") / "in", [{"a": CATS[0], "b": CATS[1]}])
    (folder / "captions.csv").write_bytes(written_csv([("image_id", "caption"), *lines]).encode())
    for member in members_of(folder, Form.AUTO, Limits()):
        assert list(member.captions) == [text for image_id, text in lines if image_id == member.path]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"image_id,class\na,b\n", "has no column label"),
        (b"image_id,label,confidence\na,b\n", "cannot be read to its end as CSV"),
        (b'image_id,label,confidence\na,"b,1\n', "cannot be read to its end as CSV"),
        (b"\xff\n", "has no column image_id"),
        (b"", "is empty"),
    ],
)
def test_damaged_labels_are_told(tmp_path: Path, content: bytes, told: str) -> None:
    image_folder(tmp_path / "in", [{"a": CATS[0]}])
    (tmp_path / "in" / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=told):
        list(members_of(tmp_path / "in", Form.AUTO, Limits()))
