"""Every source keeps the contract, ours and those of other packages, and the contract finds those that do not."""

from __future__ import annotations

import json
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.sources import registry
from mlimages_dataset.sources.contract import BrokenContractError, check_regions, check_source, read_statements
from mlimages_dataset.sources.pieces import cut_lines
from mlimages_dataset.sources.registry import names, source_named
from mlimages_dataset.sources.source import BatchSource, statements
from tests.images.foreign_folders import class_label, features, image_table, write_parquet
from tests.images.test_archives import tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog

ROWS = range(60)
TEXTS = {
    "imagenet": "".join(f"n02084071/n02084071_{n}.JPEG\n" for n in ROWS),
    "open-images": "ImageID,Note,Source,LabelName,Confidence\n"
    + "".join(f'{n:04},"v,""w""",machine,/m/1,0.5\n' for n in ROWS),
    "cvat": "<annotations>"
    + "".join(
        f'<image name="{n}.jpg" width="9" height="8"><box label="dog" xtl="1" ytl="2" xbr="9" ybr="4.5"/></image>'
        for n in ROWS
    )
    + "</annotations>",
    "tencent": "".join(f"http://a/{n}\t1:1\t2:0.5\n" for n in ROWS),
    "boxes of open-images": "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsInside\n"
    + "".join(f'{n:04},"v,""w""",/m/1,1,0.25,0.5,0,1,0,1,-1\n' for n in ROWS),
    "csv": "image_id,label,confidence,location\n" + "".join(f'"{n}",dog,0.25,"a\n{n}"\n' for n in ROWS),
    "jsonl": "".join(f'{{"image_id": {n}, "label": ["dog", "cat"], "confidence": [0.25, 1]}}\n' for n in ROWS),
    "coco": json.dumps(
        {
            "annotations": [{"id": n, "image_id": n, "category_id": 3, "bbox": [1.5, 2, 3, 4]} for n in ROWS],
            "images": [
                {"id": n, "file_name": f"{n:012}.jpg", "width": 9, "height": 8, "neg_category_ids": [7]} for n in ROWS
            ],
            "categories": [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}],
        }
    ),
}
VOC = (
    "<annotation><filename>{0}.jpg</filename><size><width>9</width><height>8</height></size>"
    "<object><name>dog</name><difficult>1</difficult>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>4.5</ymax></bndbox></object></annotation>"
)
LABELME = (
    '{{"imagePath": "{0}.jpg", "imageWidth": 9, "imageHeight": 8, "shapes": '
    '[{{"label": "dog", "points": [[5, 2], [1, 8]], "shape_type": "rectangle"}}]}}'
)
OF_A_FILE_EACH = {
    "voc": ("Annotations/{0:03}.xml", VOC),
    "labelme": ("{0:03}.json", LABELME),
    "yolo": ("labels/{0:03}.txt", "0 0.5 0.5 1 0.25\n1 0.5 0.5 0.25 1 0.75\n"),
}
"""Of formats of one file a picture, its path in a folder and its text."""


def sample(name: str, folder: Path) -> list[Path]:
    """Return well-formed files of a format."""
    path = folder / f"sample.{name}"
    if name == "parquet":
        table = pa.table({"image_id": [str(n) for n in ROWS], "label": ["dog"] * len(ROWS)})
        pq.write_table(table, path, row_group_size=7)
    elif name == "boxes":
        box: dict[str, list[Any]] = {"xmin": [0.0], "ymin": [0.5], "xmax": [1], "ymax": [0.75], "occluded": [True]}
        rows = {"image_id": [str(n) for n in ROWS], "label": ["dog"] * len(ROWS)}
        columns = {key: values * len(ROWS) for key, values in box.items()}
        pq.write_table(pa.table({**rows, **columns}), path, row_group_size=7)
    elif name in OF_A_FILE_EACH:
        file, text = OF_A_FILE_EACH[name]
        for n in ROWS:
            place = path / file.format(n)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text.format(f"{n:03}"))
        if name == "yolo":
            (path / "classes.txt").write_text("dog\ncat\n")
        return [path, *sorted(place.parent.glob("*1*"))[:1]]
    elif name == "huggingface":
        table = image_table([{"bytes": b"1", "path": f"{n}.jpg"} for n in ROWS], label=[n % 2 for n in ROWS])
        write_parquet(path, table, metadata=features(label=class_label("dog", "cat")), row_group_size=7)
    elif name == "boxes of huggingface":
        objects = [{"bbox": [[1.0, 2, 3, 4], [0, 0, 9, 8]], "category": [n % 2, 1]} for n in ROWS]
        sides = {"width": [9] * len(ROWS), "height": [8] * len(ROWS)}
        images = [{"bytes": b"1", "path": f"{n}.jpg"} for n in ROWS]
        named = features(objects={"category": [class_label("dog", "cat")]})
        path = folder / "sample.parquet"
        write_parquet(path, image_table(images, objects=objects, **sides), metadata=named, row_group_size=7)
    elif name == "webdataset":
        members = {f"{n:05}{suffix}": content for n in ROWS for suffix, content in ((".jpg", b"1"), (".cls", b"3"))}
        path.write_bytes(tar_of(dict(members)))
    else:
        path.write_text(TEXTS[name])
    return [path]


@pytest.mark.parametrize("name", names())
def test_every_source_keeps_the_contract(name: str, tmp_path: Path) -> None:
    check_source(name, sample(name, tmp_path))


def boxes_sample(name: str, folder: Path) -> list[Path]:
    """Return well-formed files of a format that state boxes."""
    return sample(f"boxes of {name}" if name in {"open-images", "huggingface"} else name, folder)


@pytest.mark.parametrize("name", [name for name in names() if source_named(name).has_regions])
def test_every_source_of_boxes_keeps_the_contract(name: str, tmp_path: Path) -> None:
    check_regions(name, boxes_sample(name, tmp_path))


class Colons(BatchSource):
    """A format of another package: `image:class` a line."""

    name = "colons"

    def cut(self, piece: Piece) -> list[Piece]:
        """Cut at line ends."""
        return cut_lines(piece)

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """Read lines."""
        from mlimages_dataset.sources.lines import line_blocks  # noqa: PLC0415 - as another package would

        for _, lines in line_blocks(piece, log):
            pairs = [line.split(":") for line in lines.to_pylist() if line]
            images, classes = (pa.array([pair[at] for pair in pairs], pa.string()) for at in (0, 1))
            yield statements(images, classes, pa.array([""] * len(pairs), pa.string()))


class Careless(Colons):
    """The same, whose author forgot that files can be cut."""

    name = "careless"

    def cut(self, piece: Piece) -> list[Piece]:
        """Forget that a piece is read once."""
        return [piece, piece]


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add formats as another package does."""
    points = [
        metadata.EntryPoint(name, f"tests.sources.test_contract:{kind}", registry.GROUP)
        for name, kind in (("colons", "Colons"), ("careless", "Careless"), ("gone", "Nobody"))
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == registry.GROUP else [])
    registry.source_named.cache_clear()
    registry.entry_points.cache_clear()
    yield
    monkeypatch.undo()
    registry.source_named.cache_clear()
    registry.entry_points.cache_clear()


@pytest.mark.usefixtures("added")
def test_a_format_of_another_package_is_found_by_its_name(tmp_path: Path) -> None:
    assert {"colons", "csv"} <= set(names())
    path = tmp_path / "a.txt"
    path.write_text("1:dog\n2:cat\n")
    found, _ = read_statements("colons", [path])
    assert found["class_id"].to_pylist() == ["dog", "cat"]


@pytest.mark.usefixtures("added")
def test_a_source_that_breaks_the_contract_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"a-long-name-of-an-image-{n}:dog\n" for n in range(5)))
    with pytest.raises(BrokenContractError, match=r"a\.txt ends in IndexError"):  # a line without a colon, once cut
        check_source("colons", [path])
    with pytest.raises(BrokenContractError, match=r"a\.txt ends in"):
        check_source("careless", [path])


@pytest.mark.usefixtures("added")
def test_a_package_that_cannot_be_loaded_is_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"the format 'gone' cannot be loaded .*repair the package that adds it"):
        source_named("gone")
    with pytest.raises(UsageError, match=r"there is no format 'unheard'; use one of imagenet, open-images"):
        source_named("unheard")
