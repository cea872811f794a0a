"""One section in this process: `python -m tests.gpu.work SECTION JOB ROWS`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.gpu.sections import SECTIONS
from tests.gpu.trials import Job, rows_of


def main() -> None:
    """Append the row of each trial to the file as soon as it ends."""
    name, job, rows = sys.argv[1:]
    section = next(section for section in SECTIONS if section.name == name)
    with Path(rows).open("a", encoding="utf-8") as stream:
        for row in rows_of(section, Job.from_json(job)):
            stream.write(row.to_json() + "\n")
            stream.flush()


if __name__ == "__main__":
    main()
