"""Check the import contracts of setup.cfg in a checkout: python scripts/contracts.py.

The checkout maps `cli/` to `mlimages_dataset.cli`, which import-linter cannot see: it is shown a folder in which the
package is whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Return the exit status of import-linter."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "mlimages_dataset"
        package.mkdir()
        for child in (ROOT / "mlimages_dataset").iterdir():
            (package / child.name).symlink_to(child)
        (package / "cli").symlink_to(ROOT / "cli")
        command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
        command += [str(ROOT / "setup.cfg"), "--no-cache"]
        environment = {**os.environ, "PYTHONPATH": folder}
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode  # noqa: S603 - our own


if __name__ == "__main__":
    sys.exit(main())
