"""A stated confidence is read by its digits, by one rule in every format; Python's decimals are the oracle."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.usual_rows import COMPILED_BYTES
from mlimages_dataset.tables.confidences import LEAST, MOST
from tests.core.test_decimals import exact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BETWEEN = (
    *("0.5", ".25", "5e-1", "+0.5", "0.00000001", "0.8732948732984732", "5.0E-2", "00.5"),
    *("0.99999999", "0.9999999999999999", "0.99999999999999999999", "9.9999999999999999999e-1"),
    *("999999999999999999999999e-24", "0." + "9" * 500),
    *("1e-45", "1e-46", "1E-50", "1e-323", "1e-324", "1e-400", "1E-400", "1e-000400", "1e-99999999999"),
    *("0." + "0" * 250 + "1e-99", "0." + "0" * 400 + "1", "9999999999999999e-999", "0." + "0" * 224 + "1e-99"),
)
ENDS = ("0", "1", "0.0", "1.0", "1.", "0e5", "0e-999", "10e-1", "0.1e1", "1e0", "0.000", "001", "100e-2", "-0", "+1")
ABOVE = (
    *("1.00000000000000000001", "1.0000000000000001", "10000000000000000000001e-22", "0.100000000000000000000001e1"),
    *("1.0000000000000002", "1.1", "1.5"),
)
BELOW = ("-1e-400", "-0.1", "-1", "-1e-50", "-0." + "0" * 400 + "1")
NO_NUMBERS = (
    *("0_1", "1_0e-1", "1.0_0", "0.9_5", "5_0e-2", "0.99999_99999_99999_99999", "1_000", "1_0", "_1", "1_"),
    *("\u0661", "\uff11", "\u0660.\u0665", "0x1", "1e", "nan", "inf", "x", "+-1", "+-0", "1 0"),
)
TEXTS = (*BETWEEN, *ENDS, *ABOVE, *BELOW, *NO_NUMBERS)


def truth(text: str) -> float | None:
    """Return the float32 that a confidence must become, by exact arithmetic; None where it is none from 0 to 1."""
    value = exact(text)
    if value is None or not 0 <= value <= 1:
        return None
    return float(value) if value in {Decimal(0), Decimal(1)} else float(np.clip(np.float32(float(value)), LEAST, MOST))


def is_json_number(text: str) -> bool:
    """Return whether JSON may have a text as a number."""
    try:
        json.loads(text, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return False
    return True


def csv(folder: Path, texts: Sequence[str], delimiter: str = ",", quote: str = "") -> Path:
    """Return a table of a confidence for each image."""
    path = folder / "t.csv"
    cells = [text.replace(".", ",") if delimiter == ";" else text for text in texts]
    rows = (delimiter.join((f"i{k}", "a", f"{quote}{cell}{quote}")) for k, cell in enumerate(cells))
    path.write_text("\n".join((delimiter.join(("image_id", "label", "confidence")), *rows)) + "\n")
    return path


def large_csv(folder: Path, texts: Sequence[str]) -> Path:
    """Return a table that compiled loops read where rows are usual."""
    path = csv(folder, texts)
    path.write_text(path.read_text() + "z,a,0.5\n" * (COMPILED_BYTES // 8 + 1))
    return path


def open_images(folder: Path, texts: Sequence[str], more: str = "", cells: str = "", name: str = "Confidence") -> Path:
    """Return Open Images' labels, or with further columns their boxes."""
    path = folder / "o.csv"
    rows = (f"i{k},/m/1,{text}{cells}" for k, text in enumerate(texts))
    path.write_text("\n".join((f"ImageID,LabelName,{name}{more}", *rows)) + "\n")
    return path


def jsonl(folder: Path, texts: Sequence[str], quote: str = "") -> Path:
    """Return JSON lines."""
    path = folder / "t.jsonl"
    rows = (f'{{"image_id": "i{k}", "label": "a", "confidence": {quote}{t}{quote}}}' for k, t in enumerate(texts))
    path.write_text("\n".join(rows) + "\n")
    return path


def parquet(folder: Path, texts: Sequence[str]) -> Path:
    """Return a table of Parquet whose confidences are texts."""
    path = folder / "t.parquet"
    columns = {"image_id": [f"i{k}" for k in range(len(texts))], "label": ["a"] * len(texts)}
    pq.write_table(pa.table({**columns, "confidence": list(texts)}), path)
    return path


def coco(folder: Path, texts: Sequence[str], quote: str = "", key: str = "score") -> Path:
    """Return COCO's form."""
    path = folder / "c.json"
    images = ",".join(f'{{"id":{k},"file_name":"i{k}.jpg","width":100,"height":100}}' for k in range(len(texts)))
    found = ",".join(
        f'{{"id":{k},"image_id":{k},"category_id":1,"bbox":[1,1,50,50],"{key}":{quote}{text}{quote}}}'
        for k, text in enumerate(texts)
    )
    path.write_text(f'{{"images":[{images}],"categories":[{{"id":1,"name":"a"}}],"annotations":[{found}]}}')
    return path


def labelme(folder: Path, texts: Sequence[str], quote: str = "") -> Path:
    """Return a folder of LabelMe's files."""
    for k, text in enumerate(texts):
        (folder / f"i{k}.json").write_text(
            f'{{"imagePath":"i{k}.jpg","imageWidth":100,"imageHeight":100,"shapes":[{{"label":"a","shape_type":'
            f'"rectangle","points":[[1,1],[50,50]],"score":{quote}{text}{quote}}}]}}'
        )
    return folder


def yolo(folder: Path, texts: Sequence[str]) -> Path:
    """Return a folder of YOLO's files."""
    (folder / "classes.txt").write_text("a\n")
    for k, text in enumerate(texts):
        (folder / f"i{k}.txt").write_text(f"0 0.5 0.5 0.2 0.2 {text}\n")
        Image.new("RGB", (10, 10)).save(folder / f"i{k}.jpg")
    return folder


def tencent(folder: Path, texts: Sequence[str]) -> Path:
    """Return a label list."""
    path = folder / "t.txt"
    path.write_text("".join(f"i{k}\t7:{text}\n" for k, text in enumerate(texts)))
    return path


_BOX = (",XMin,XMax,YMin,YMax", ",0.1,0.5,0.1,0.5")
FORMS: dict[str, tuple[str, Callable[[Path, Sequence[str]], Path]]] = {
    "csv": ("csv", csv),
    "csv in quotes": ("csv", lambda folder, texts: csv(folder, texts, quote='"')),
    "csv with bars": ("csv", lambda folder, texts: csv(folder, texts, "|")),
    "csv with decimal commas": ("csv", lambda folder, texts: csv(folder, texts, ";")),
    "csv read by loops": ("csv", large_csv),
    "labels of Open Images": ("open-images", open_images),
    "boxes of Open Images": ("open-images", lambda folder, texts: open_images(folder, texts, *_BOX)),
    "scores of Open Images": ("open-images", lambda folder, texts: open_images(folder, texts, *_BOX, name="Score")),
    "json lines": ("jsonl", jsonl),
    "json lines of texts": ("jsonl", lambda folder, texts: jsonl(folder, texts, '"')),
    "parquet": ("parquet", parquet),
    "coco": ("coco", coco),
    "coco of texts": ("coco", lambda folder, texts: coco(folder, texts, '"')),
    "coco of escaped keys": ("coco", lambda folder, texts: coco(folder, texts, key="\\u0073core")),
    "labelme": ("labelme", labelme),
    "labelme of texts": ("labelme", lambda folder, texts: labelme(folder, texts, '"')),
    "yolo": ("yolo", yolo),
    "tencent": ("tencent", tencent),
}
OF_NUMBERS = {"json lines", "coco", "coco of escaped keys", "labelme"}
"""Forms whose grammar has no other texts than JSON's numbers."""


def texts_of(name: str) -> list[str]:
    """Return the texts that a form can hold."""
    if name in OF_NUMBERS:
        return [text for text in TEXTS if is_json_number(text)]
    if name == "tencent":
        return [text for text in TEXTS if text[0] not in "+-"]  # its lines have no signs: such a line is a reject
    return [text for text in TEXTS if name != "yolo" or " " not in text]


def check(found: pa.Table, texts: Sequence[str], *, above: float = -1.0) -> None:
    """Check that each image has the confidence of its text, if that is greater than `above`, and no other has any."""
    stated = {
        image: value
        for image, value in zip(found["image_id"].to_pylist(), found["confidence"].to_pylist(), strict=True)
        if value is not None and image != "z"
    }
    wanted = {f"i{k}": value for k, text in enumerate(texts) if (value := truth(text)) is not None and value > above}
    told = {image.removesuffix(".jpg"): value for image, value in stated.items() if not math.isnan(value)}
    of_image = {f"i{k}": text for k, text in enumerate(texts)}
    differing = {
        of_image[one]: (told.get(one), wanted.get(one)) for one in of_image if told.get(one) != wanted.get(one)
    }
    assert not differing


@pytest.mark.parametrize("name", FORMS)
def test_every_format_reads_a_confidence_as_exact_arithmetic_does(tmp_path: Path, name: str) -> None:
    form, written = FORMS[name]
    texts = texts_of(name)
    found, log = read_statements(form, [written(tmp_path, texts)])
    if form in {"coco", "labelme", "yolo"}:
        assert log.count == sum(truth(text) is None for text in texts)
        found = found.filter(pc.is_in(found["class_id"], pa.array(["a", "1"])))
    check(found, texts)


@pytest.mark.parametrize(
    "name",
    ["coco", "coco of texts", "labelme", "labelme of texts", "yolo", "boxes of Open Images", "scores of Open Images"],
)
def test_regions_read_a_confidence_as_exact_arithmetic_does(tmp_path: Path, name: str) -> None:
    form, written = FORMS[name]
    texts = texts_of(name)
    found, log = read_regions(form, [written(tmp_path, texts)])
    check(found, texts, above=0.0)
    assert log.count == sum(not truth(text) for text in texts)


def test_a_separator_changes_no_number(tmp_path: Path) -> None:
    texts = [text for text in TEXTS if " " not in text]
    found, _ = read_statements("csv", [csv(tmp_path, texts)], Layout(separator=" "))
    check(found, texts)


@pytest.mark.parametrize("text", ["1_000", "1_0", "0_1"])
def test_a_number_with_digit_separators_is_of_no_other_scale(tmp_path: Path, text: str) -> None:
    found, _ = read_statements("csv", [csv(tmp_path, [text, "0.5"])])
    assert found["confidence"].to_pylist() == [None, 0.5]


@pytest.mark.parametrize("text", ["0_1", "1_0e-1", "\u0660.1", "+-0"])
def test_a_side_of_a_box_is_read_by_the_same_rule(tmp_path: Path, text: str) -> None:
    path = tmp_path / "o.csv"
    path.write_text(f"ImageID,LabelName,XMin,XMax,YMin,YMax\ni,/m/1,{text},1,0,1\nk,/m/1,0.1,1,0,1\n")
    found, log = read_regions("open-images", [path])
    assert (found["image_id"].to_pylist(), log.count) == (["k"], 1)
    assert "a side of its box is no finite number" in log.first[0].what
