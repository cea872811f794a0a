"""Whatever is killed at any moment, nothing unfinished counts, and the next run finishes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adversary.kills import NAMES

pytestmark = pytest.mark.slow

KILLS = os.environ.get("MLIMAGES_KILLS", "5")


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_command_is_finished_by_the_next(name: str) -> None:
    """`MLIMAGES_KILLS` says how often each is killed."""
    command = [sys.executable, "-m", "tests.adversary.kills", "--kills", KILLS, "--name", name]
    ran = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"{KILLS} kills" in ran.stdout
