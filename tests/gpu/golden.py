"""Write the golden curve anew, from a CPU: `python -m tests.gpu.golden`; look at the difference before keeping it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.gpu.trainer_laws import CURVES, GOLDEN, curve_of


def main() -> None:
    """Train the tiny network with each loss, and write what it lost."""
    with tempfile.TemporaryDirectory() as name:
        curves = {loss: curve_of(Path(name, loss), loss, "cpu") for loss in CURVES}
    GOLDEN.write_text(json.dumps(curves, indent=1) + "\n")


if __name__ == "__main__":
    main()
