"""A manifest that anyone may have edited is read, or refused with one plain sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.tables.parts import FORMAT, MANIFEST_NAME

if TYPE_CHECKING:
    from pathlib import Path

NO_OBJECT = "it holds no object with the keys format, files and stages"
MANY_DIGITS = "it holds a number of more digits than can be read"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        *((text, NO_OBJECT) for text in ("[]", "NaN", "null", "1", '"text"')),
        ("1" * 5000, MANY_DIGITS),
        ('{"format": -' + "1" * 5000 + "}", MANY_DIGITS),
        ("{}", "it has no key format"),
        (f'{{"format": "{FORMAT}"}}', "it has no key files"),
        (f'{{"format": "{FORMAT}", "files": {{}}}}', "it has no key stages"),
        (f'{{"format": "{FORMAT}", "files": [], "stages": {{}}}}', "files is not a table"),
        ("\udcff", "it is no text in UTF-8, from its byte 1 on"),
    ],
)
def test_what_is_no_manifest_is_told_without_pythons_words(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as error:
        read_manifest(tmp_path)
    assert f"is not a complete manifest ({told}); name another folder" in str(error.value)


def test_another_format_is_told_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text('{"format": null, "files": {}, "stages": {}}')
    with pytest.raises(DataError, match=f"its format is null, not '{FORMAT}'; build it again"):
        read_manifest(tmp_path)
