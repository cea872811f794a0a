"""Every command and all code of the how-to pages runs, on small inputs of the form that the page asks for."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import DOCS, blocks, run_page
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

BY_OTHER_TESTS = {"how-to/open-images.md"}
"""Its commands need archives as they are published: see `test_real_collections`."""
PAGES = sorted({str(page.relative_to(DOCS)) for page in (DOCS / "how-to").glob("*.md")} - BY_OTHER_TESTS | {"json.md"})
KAGGLE_CLASSES = "n02099601 golden retriever\nn02123045 tabby, tabby cat\nn04409515 tennis ball\n"
KAGGLE_IMAGES = (
    "ImageId,PredictionString\n"
    "n02099601_3004,n02099601 111 108 441 193\n"
    "n02123045_15,n02123045 10 20 300 400 n04409515 1 2 30 40\n"
)


@pytest.fixture(name="quickstart", scope="module")
def _quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the quickstart was followed."""
    folder = tmp_path_factory.mktemp("quickstart")
    run_page("quickstart.md", folder)
    return folder


def coco_instances() -> str:
    """Return a small file of COCO's form: 60 images with a racket and a person, 60 with a dog alone."""
    categories = [{"id": k, "name": name} for k, name in ((1, "person"), (18, "dog"), (43, "tennis racket"))]
    shown = [(number, name) for number in range(60) for name in (1, 43)] + [(number, 18) for number in range(60, 120)]
    return json.dumps(
        {
            "images": [
                {"id": k, "file_name": f"{k:012}.jpg", "width": 64, "height": 48, "coco_url": f"http://x.org/{k}.jpg"}
                for k in range(120)
            ],
            "categories": categories,
            "annotations": [
                {"id": k, "image_id": image, "category_id": name, "bbox": [4, 4, 20, 20], "iscrowd": 0}
                for k, (image, name) in enumerate(shown)
            ],
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_can_be_done(page: str, quickstart: Path, tmp_path: Path, object_store: str) -> None:
    for folder in ("build", "images"):
        shutil.copytree(quickstart / folder, tmp_path / folder)
    (tmp_path / "LOC_synset_mapping.txt").write_text(KAGGLE_CLASSES)
    (tmp_path / "LOC_train_solution.csv").write_text(KAGGLE_IMAGES)
    (tmp_path / "instances_train2017.json").write_text(coco_instances())
    run_page(page, tmp_path, bucket=object_store)


@pytest.mark.slow
def test_what_the_page_on_own_folders_says_can_be_done(tmp_path: Path) -> None:
    for number, name in enumerate(("cat/tom", "mug/a", "goldn retreiver/rex")):
        (tmp_path / "my_photos" / name).parent.mkdir(parents=True)
        (tmp_path / "my_photos" / f"{name}.jpg").write_bytes(picture(number))
    rows = "cat,cat,,\nmug,mug,,\ngoldn retreiver,golden retriever,n02099601,\n"
    (tmp_path / "my_classes.csv").write_text(f"id,name,wnid,parent\n{rows}", "utf-8")
    run_page("start.md", tmp_path)


def test_each_how_to_has_something_to_do() -> None:
    assert [page for page in PAGES if not any(block.language in {"bash", "python"} for block in blocks(page))] == []


def test_a_block_that_is_not_run_says_why() -> None:
    marks = [block.mark for page in PAGES for block in blocks(page) if block.mark]
    assert [mark for mark in marks if not mark.startswith(("not run: ", "file: "))] == []
