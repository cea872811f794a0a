"""The command and its server: it starts, ends quietly, and says in a sentence why it does not start."""

from __future__ import annotations

import importlib.metadata
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mlimages_dataset.serve.server import address_of, listening
from mlimages_dataset.tables.schemas import LABELS, TableSchema
from tests.augment.tables import write_parts
from tests.benchmarks.measurement import COMMAND

if TYPE_CHECKING:
    from pathlib import Path


def refused(*arguments: str | Path) -> str:
    """Return the one sentence with which the command ends."""
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
    ran = CliRunner().invoke(entry.load(), ["serve", *map(str, arguments)], catch_exceptions=False)
    assert ran.exit_code == 2, ran.output
    (line,) = ran.stderr.splitlines()
    return line


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_ends_quietly(build: Path, end: signal.Signals) -> None:
    arguments = [sys.executable, "-c", COMMAND, "serve", str(build), "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())
        assert found is not None
        with urllib.request.urlopen(found[0]) as answer:  # noqa: S310 - our own server
            assert (answer.status, b"<h1>Images</h1>" in answer.read()) == (200, True)
        server.send_signal(end)
        out, err = server.communicate()
    assert (out, err) == ("", "")
    assert server.returncode == (0 if end == signal.SIGINT else -signal.SIGTERM)


def test_a_port_in_use_is_told(build: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert refused(build, "--port", str(port)) == (
            f"Error: port {port} is in use; name another by --port, or 0 for any"
        )


def test_a_host_of_elsewhere_is_told(build: Path) -> None:
    assert "cannot listen on 192.0.2.1" in refused(build, "--host", "192.0.2.1", "--port", "0")
    assert "the host 'no such host' is not known" in refused(build, "--host", "no such host", "--port", "0")


def test_addresses_are_those_of_the_socket() -> None:
    with listening("127.0.0.1", 0) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address_of(server))
    if socket.has_ipv6:
        with listening("::1", 0) as server:
            assert re.fullmatch(r"http://\[::1\]:\d+/", address_of(server))


def test_a_missing_package_is_told_with_what_installs_it(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("mlimages_dataset.serve.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    told = "Error: the package uvicorn is not installed; run: pip install 'mlimages-dataset[serve]'"
    assert refused(build, "--port", "0") == told


def test_what_is_no_build_is_told(build: Path, tmp_path: Path) -> None:
    assert "there is no such folder" in refused(tmp_path / "nothing", "--port", "0")
    assert "there are no labels in it" in refused(tmp_path, "--port", "0")
    assert "there is no such folder" in refused(build, "--port", "0", "--images", tmp_path / "nothing")
    assert "there is no data.noun in it" in refused(build, "--port", "0", "--wordnet", tmp_path)


def test_a_build_of_another_version_is_told(build: Path) -> None:
    older = TableSchema(LABELS.name, LABELS.version + 1, LABELS.arrow)
    write_parts(build / "labels" / "train", [("a", {0: (1.0, 0)})], older)
    told = refused(build, "--port", "0")
    assert "the table's schema is labels/2, but labels/1 is needed" in told
