"""The list of published files, packaged or of one's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.sources.publishers import Collection, PublishedFile, read_publishers, select_files

if TYPE_CHECKING:
    from pathlib import Path


def test_the_packaged_table_is_complete() -> None:
    publishers = read_publishers()
    assert {"open-images", "tencent", "wordnet", "imagenet"} <= set(publishers)
    for name, collection in publishers.items():
        assert collection.name == name
        assert select_files(collection)
        for file in collection.files:
            assert all((file.what, file.reader, file.licence, file.page)), file.name
            assert not file.url or re.match(r"https?://[\w.-]+/\S+$", file.url)


def test_a_table_of_ones_own_needs_no_more_than_names_addresses_and_pages(tmp_path: Path) -> None:
    path = tmp_path / "mirror.toml"
    path.write_text("[a]\npage='p'\n[[a.files]]\nname='x'\nwhat='y'\nurl='http://z/x'")
    file = PublishedFile("x", "y", url="http://z/x", page="p")
    assert read_publishers(path) == {"a": Collection("a", "a", "", "p", ("*",), (file,))}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[a", "TOML"),
        ("a = 1", "is not a table"),
        ("[a]\nlicence='x'", "names no file"),
        ("[[a.files]]\nname='x'", "lacks what"),
        ("[[a.files]]\nname='x'\nwhat='y'", "has no page"),
        ("[[a.files]]\nname='x'\nwhat='y'\npage='z'\nurll='u'", "did you mean url"),
        ("[[a.files]]\nname='x'\nwhat=1\npage='z'", "what is 1"),
        ("[[a.files]]\nname='../x'\nwhat='y'\npage='z'", "below the output folder"),
        ("[[a.files]]\nname='x'\nwhat='y'\npage='z'\nurl='file:///etc/passwd'", "http"),
        ("[a]\ndefault='*'\n[[a.files]]\nname='x'\nwhat='y'\npage='z'", "default"),
        ("[[a.files]]\nname='x'\nwhat='y'\npage='z'\n[[a.files]]\nname='x'\nwhat='y'\npage='z'", "twice"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, table: str, told: str) -> None:
    path = tmp_path / "mirror.toml"
    path.write_text(table)
    with pytest.raises(ConfigError, match=told) as caught:
        read_publishers(path)
    assert "mirror.toml" in str(caught.value)
