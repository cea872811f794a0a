"""A run of a few steps on the packaged photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.train.test_main import RUN, called, files

if TYPE_CHECKING:
    from pathlib import Path

    from tests.train.conftest import Photographs


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, photographs: Photographs) -> Path:
    """Return the folder of a run of resnet18, two steps, batch normalisation's epsilon 0.001."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "run.toml").write_text(RUN.replace("learning_rate = 0.001", "learning_rate = 0.0001"), encoding="utf-8")
    validated = ("--validation-labels", photographs.labels)
    result = called("pretrain", folder / "run.toml", *files(photographs), *validated, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run"
