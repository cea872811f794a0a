"""Machine code made ahead: of every loop, and enough for a process that can keep none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlimages_dataset
from mlimages_dataset.core.compiled import runs_common_code

_LOOP = re.compile(r"^@(?:compiled|vectorised)\ndef (\w+)", re.MULTILINE)
_CALLS = """
import sys
from pathlib import Path
from mlimages_dataset.core import compiled
compiled.SHIPPED = Path(sys.argv[1])
from mlimages_dataset.recipes.compile_ahead import call_all_loops
call_all_loops()
print(sorted(loop.py_func.__name__ for loop in compiled._loops if loop.stats.cache_misses))
"""


def loops_of_the_package() -> set[str]:
    """Return the module and the name of each compiled loop."""
    root = Path(mlimages_dataset.__file__).parent
    return {
        f"{'.'.join(path.relative_to(root.parent).with_suffix('').parts)}.{name}"
        for path in root.rglob("*.py")
        for name in _LOOP.findall(path.read_text("utf-8"))
    }


@pytest.mark.slow
def test_each_loop_is_compiled_ahead_and_never_again_also_on_another_processor(tmp_path: Path) -> None:
    code, kept = tmp_path / "code", tmp_path / "kept"
    new = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "first")}
    command = [sys.executable, "-m", "mlimages_dataset.recipes.compile_ahead", str(code)]
    subprocess.run(command, env=new, check=True, stdout=subprocess.DEVNULL)
    shipped = {path.name.partition(".py")[0] for path in code.glob("*.nbi")}
    assert shipped == loops_of_the_package(), "call each in recipes/compile_ahead.py"
    another = {"NUMBA_CPU_NAME": "haswell"} if runs_common_code() else {}  # in place of this one's name
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(kept), **another}
    command = [sys.executable, "-c", _CALLS, str(code)]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert told.strip() == "[]"
    assert not [path for path in kept.rglob("*") if path.is_file()]
