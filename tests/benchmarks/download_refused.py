"""Download a list of addresses that all refuse connections, and print how long it takes and in how much memory.

    python -m tests.benchmarks.download_refused --folder DIR [--rows 1000000] [--hosts 1000000] [--retries 1]

The addresses are closed ports of the loopback network 127.0.0.0/8: with as many hosts as rows nothing that is learnt of
one helps with another.
"""

from __future__ import annotations

import json
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

LIMIT_SECONDS = 4 * 3600.0


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--hosts", default=1_000_000, show_default=True, help="At most 16 million.")
@click.option("--retries", default=1, show_default=True)
def main(folder: Path, rows: int, hosts: int, retries: int) -> None:
    """Print what a list of refused connections takes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows_file, out = folder / f"refused-{rows}-{hosts}.parquet", folder / "refused"
    shutil.rmtree(out, ignore_errors=True)
    port = closed_port()
    numbers = ((row, 1 + row % hosts) for row in range(rows))
    urls = (f"http://127.{host >> 16}.{host >> 8 & 255}.{host & 255}:{port}/{row}" for row, host in numbers)
    pq.write_table(pa.table({"image_id": [f"{row:08d}" for row in range(rows)], "url": list(urls)}), rows_file)
    script = Path(sys.executable).with_name("mlimages-build")
    command = [script, "images", "download", rows_file, "--out", out, "--allow-private", "--retries", str(retries)]
    start = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in (*command, "--json")], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True
    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    summary = json.loads(done.stdout)["summary"]
    assert summary["images"] == rows
    print(f"{rows:,} rows of {hosts:,} hosts, {retries} retries: {seconds:.0f} s, {rows / seconds:,.0f} rows/s")
    print(f"largest process {peak:.0f} MiB; {summary['statuses']}")


def closed_port() -> int:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
