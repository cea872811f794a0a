"""A whole build with pictures, and a client of its pages."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from mlimages_dataset.recipes.build import build_recipe
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.serve.app import application
from mlimages_dataset.serve.build import open_build
from mlimages_dataset.serve.index import open_index
from tests.golden.inputs_and_tables import write_inputs
from tests.images.folders import picture

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ADDRESS = "http://127.0.0.1:8000"


def client_of(
    folder: Path, images: Sequence[Path] = (), *, host: str = "127.0.0.1", wordnet: Path | None = None
) -> TestClient:
    """Return a client of the pages of a build."""
    build = open_build(folder, images)
    return TestClient(
        application(build, open_index(build), host=host, wordnet=wordnet), ADDRESS, raise_server_exceptions=True
    )


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a whole golden build; copy it before changing it."""
    folder = tmp_path_factory.mktemp("golden")
    recipe = write_inputs(folder / "inputs")
    build_recipe(read_recipe(recipe), folder / "build", ended=lambda stage, outcome: None)  # noqa: ARG005
    return folder / "build"


@pytest.fixture
def build(golden: Path, tmp_path: Path) -> Path:
    """Return a copy of the golden build with some pictures."""
    folder = tmp_path / "build"
    shutil.copytree(golden, folder)
    return folder


@pytest.fixture
def client(build: Path) -> TestClient:
    """Return a client of the pages of the golden build."""
    return client_of(build)


def pictures_of(folder: Path, ids: Sequence[str]) -> Path:
    """Write a picture for each id, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(ids):
        (folder / f"{name}.jpg").write_bytes(picture(number, 640, 480))
    return folder
