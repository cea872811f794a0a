"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from upath import UPath

from mlimages_dataset.vocab.merging import merged_vocabulary
from mlimages_dataset.vocab.reviewed import Reviewed
from mlimages_dataset.vocab.wordnet import WordNet, load_wordnet
from tests import mini

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from mlimages_dataset.vocab.vocabulary import Vocabulary

# No test depends on seconds: the first example may have to compile, and the machine may be busy.
# `.ci/run` sets CI: what a change is judged by must not be drawn anew each time.
settings.register_profile("untimed", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of published files, which are not part of the project."""
    beside_the_repository = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLIMAGES_SHARED_DATA", beside_the_repository))
    if not folder.is_dir():
        pytest.skip(f"the published files are not in {folder}; name their folder in MLIMAGES_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def wordnet() -> WordNet:
    """Return the packaged WordNet."""
    return load_wordnet()


@pytest.fixture(scope="session")
def mini_wordnet() -> WordNet:
    """Return the WordNet of 33 synsets that `tests.mini` describes."""
    return mini.mini_wordnet()


@pytest.fixture(scope="session")
def mini_vocabulary(mini_wordnet: WordNet) -> Vocabulary:
    """Return the vocabulary of `tests.mini`'s two class lists on the mini WordNet."""
    return merged_vocabulary(
        [mini.IMAGENET_LIST, mini.OPEN_IMAGES_LIST],
        mini_wordnet,
        Reviewed(),
        image_counts={},
        imagenet_all=frozenset(),
        box_parents={},
    )


@pytest.fixture(name="object_store")
def _object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a bucket in an S3-compatible server on this machine."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    store = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{port}"  # moto's buckets outlive its server
    client = UPath(f"s3://{bucket}").fs
    client.clear_instance_cache()
    UPath(f"s3://{bucket}").fs.mkdir(bucket)
    yield f"s3://{bucket}"
    client.clear_instance_cache()
    store.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Yield a headless browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - slow, and only here

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no chromium: install Debian's package chromium")
    with sync_playwright() as playwright:
        # Its sandbox refuses to run as root; the pages are our own.
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=False)
        yield browser
        browser.close()
