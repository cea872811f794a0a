"""One tokeniser reads ImageNet's lists as people have them, and makes no image of what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.contract import read_statements

if TYPE_CHECKING:
    from pathlib import Path

FISH, DOG = "n01440764", "n02084071"
URL = "http://farm4.example/a/b,c;d.jpg?x=1"


def said(folder: Path, content: bytes | str) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return (image, class, place) of each statement, and what is said of the rejects."""
    path = folder / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found, rejects = read_statements("imagenet", [path])
    rows = [(row["image_id"], row["class_id"], row["location"]) for row in found.to_pylist()]
    return rows, [reject.what for reject in rejects.first]


@pytest.mark.parametrize(
    ("line", "image", "wnid", "place"),
    [
        (f"/data/My Pictures/{FISH}/{FISH}_10026.JPEG", None, FISH, None),
        (f"/data/My, other; Pictures/{FISH}/{FISH}_1 (copy).JPEG", None, FISH, None),
        (f"C:\\My Pictures\\{FISH}\\{FISH}_10026.JPEG", None, FISH, None),
        (f"{FISH}/{FISH}_10026", None, FISH, None),
        (f"{FISH}_10026", None, FISH, None),
        (f"{FISH}/it's a fish.png", None, FISH, None),
        (f'{FISH}/5" fish.png', None, FISH, None),
        (f"{FISH}_10026\t{URL}", f"{FISH}_10026", FISH, URL),
        (f"{FISH}_10026 {URL}", f"{FISH}_10026", FISH, URL),
        (f"{FISH}_10026 http://example/{DOG}.jpg", f"{FISH}_10026", FISH, f"http://example/{DOG}.jpg"),
        (f"{FISH}_10026\tfolder of mine/x y.jpg", f"{FISH}_10026", FISH, "folder of mine/x y.jpg"),
        (f"my photos/a fish.jpg {FISH}", "my photos/a fish.jpg", FISH, "my photos/a fish.jpg"),
        (f"my photos/a fish.jpg\t{FISH}", "my photos/a fish.jpg", FISH, "my photos/a fish.jpg"),
        (f"{FISH} my photos/a fish.jpg", "my photos/a fish.jpg", FISH, "my photos/a fish.jpg"),
        (f"{FISH}\tfish.JPG", "fish.JPG", FISH, "fish.JPG"),
        (f"{FISH}/{FISH}_10026 1", f"{FISH}/{FISH}_10026", FISH, f"{FISH}/{FISH}_10026"),
        (f"{FISH}/{FISH}_10026.JPEG 0", f"{FISH}/{FISH}_10026.JPEG", FISH, f"{FISH}/{FISH}_10026.JPEG"),
        (f"{FISH}_10026,{FISH} 13 22 298 294 ", f"{FISH}_10026", FISH, f"{FISH}_10026"),
        (f"ILSVRC2012_val_00048981,{DOG} 85 1 499 272", "ILSVRC2012_val_00048981", DOG, "ILSVRC2012_val_00048981"),
        (f"ILSVRC2012_val_00048981_{DOG}.JPEG", None, DOG, None),
        (f'"{FISH}/a fish.jpg"', f"{FISH}/a fish.jpg", FISH, f"{FISH}/a fish.jpg"),
        (f"http://host/{FISH}/a,b.jpg", None, FISH, None),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_a_line_is_one_image_with_its_whole_path(
    tmp_path: Path, *, line: str, image: str | None, wnid: str, place: str | None, end: str
) -> None:
    rows, rejects = said(tmp_path, f"{line}{end}")
    assert rows == [(image or line, wnid, place or line)]
    assert rejects == []


TABLE = "a row of a table: give its columns names, and --format csv"
NUMBER = "a number for its class: pass --synsets with synsets.txt or synset_words.txt"
NOTHING = "no wnid such as n01440764"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (f"{FISH}_10026,{URL}", TABLE),
        (f"{FISH}/{FISH}_10026.JPEG,0", TABLE),
        (f"{FISH}/{FISH}_10026.JPEG;tench", TABLE),
        (f"photos/tench.jpg,{FISH}", TABLE),
        (f"photos/tench;{FISH}", TABLE),
        (f'"photos/tench.jpg","{FISH}"', TABLE),
        (f"'{FISH}/a.jpg' 'b'", TABLE),
        (f"{FISH}_1|tench|0.9", TABLE),
        (f"{FISH}_1\thttp://a/b.jpg\ttench", TABLE),
        (f"http://a/b.jpg,{FISH}", TABLE),
        (FISH, NOTHING),
        (f"{FISH} tench, Tinca tinca", NOTHING),
        ("ILSVRC2012_val_00000001.JPEG 65", NUMBER),
        ("ILSVRC2012_val_00000001 65", NUMBER),
        ("photos/tench.jpg\t3", NUMBER),
        ("photos/tench.jpg", NOTHING),
        ("N01440764_1", NOTHING),
    ],
)
def test_what_names_no_image_becomes_none(tmp_path: Path, line: str, what: str) -> None:
    assert said(tmp_path, f"{line}\n{FISH}_1\n") == ([(f"{FISH}_1", FISH, f"{FISH}_1")], [what])


def test_a_header_of_kaggles_is_no_row(tmp_path: Path) -> None:
    rows, rejects = said(tmp_path, f"ImageId,PredictionString\n{FISH}_1,{FISH} 1 2 3 4\n")
    assert (len(rows), rejects) == (1, [])


def test_lines_are_decoded_each_by_itself(tmp_path: Path) -> None:
    lines = [f"{FISH}/é{n}.jpg".encode("utf-8" if n % 2 else "cp1252") for n in range(6)]
    lines.append(f"{FISH}/“x”.jpg".encode("cp1252"))
    rows, _ = said(tmp_path, b"\n".join(lines))
    assert [row[0] for row in rows] == [*(f"{FISH}/é{n}.jpg" for n in range(6)), f"{FISH}/“x”.jpg"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_by_its_name(tmp_path: Path, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    with pytest.raises(DataError, match=r"list\.txt: is UTF-16 text; save it as UTF-8"):
        said(tmp_path, f"{mark}{FISH}_1\n".encode(encoding))


NAMES = st.text(st.characters(exclude_characters="\r\n\0\t", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(names=st.lists(NAMES, min_size=1, max_size=5), end=st.sampled_from(["\n", "\r\n", "\r"]))
@pytest.mark.slow
def test_whatever_a_name_holds_its_line_is_one_image_or_a_reject(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], end: str
) -> None:
    lines = [f"/data/{name}/{FISH}/{FISH}_1.JPEG" for name in names]
    rows, rejects = said(tmp_path_factory.mktemp("names"), end.join(lines))
    assert len(rows) + len(rejects) == len(names)
    assert {row[0] for row in rows} <= set(lines), "never a part of a name"
