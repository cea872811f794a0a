"""However many processes or machines work, and whichever of them die, the tables are the same bytes."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlimages_dataset.augment import runs
from mlimages_dataset.augment.annotate import AnnotatedFiles, annotate
from mlimages_dataset.augment.cooccurrence_stage import IMPLICATIONS_FILE, Thresholds, cooccurrence
from mlimages_dataset.augment.label_audit import audit
from mlimages_dataset.augment.labels_stage import LabelOptions, label
from mlimages_dataset.augment.tally import tally
from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.core.locations import relative
from mlimages_dataset.evaluation import label_quality as quality
from mlimages_dataset.exports.export import export
from mlimages_dataset.exports.registry import FORMATS
from mlimages_dataset.pipeline.engine import dask, local
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.sources import pieces
from mlimages_dataset.tables.files import file_digest, write_bytes
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMPLICATIONS, PREDICTIONS
from tests.augment.tables import write_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.tables.files import Receipt
    from mlimages_dataset.vocab.vocabulary import Vocabulary
    from tests.augment.strategies import Row

N_IMAGES = 600
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """Yield a Dask cluster of processes with one thread each, on a port of this machine that is free."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as started:
        yield started


@pytest.fixture(name="two_dask_workers", scope="module")
def _two_dask_workers() -> Iterator[Any]:
    """Return a Dask cluster of two processes."""
    with cluster(2) as started:
        yield started


def build(vocabulary: Vocabulary, folder: Path, mapper: Mapper) -> dict[str, str]:
    """Return the digests of what both stages write about the same six parts of annotations."""
    rng = np.random.default_rng(3)
    identities = [f"image{number:04d}" for number in range(N_IMAGES)]
    annotated: list[Row] = [
        {int(c): (float(rng.choice([0, 0.5, 1])), 0) for c in rng.choice(len(vocabulary), 3, replace=False)}
        for _ in identities
    ]
    predicted: list[Row] = [{int(c): (1.0, 3) for c in rng.choice(4, 2, replace=False)} for _ in identities]
    annotations = write_parts(
        folder / "annotations", list(zip(identities, annotated, strict=True)), ANNOTATIONS, [100, 0, 150, 50, 200]
    )
    predictions = write_parts(folder / "predictions", list(zip(identities, predicted, strict=True)), PREDICTIONS, [170])
    engine = Engine(mapper=mapper)
    at = Workplace(folder / "pairs", engine=engine)
    pairs = cooccurrence(vocabulary, annotations, predictions, at, Thresholds(strength=0.3))
    labels = label(
        vocabulary,
        [annotations],
        Workplace(folder / "labels", engine=engine),
        implications=folder / "pairs" / IMPLICATIONS_FILE,
        options=LabelOptions(validation_images=30),
    )
    receipts = pairs.receipts + labels.receipts + read_and_exported(vocabulary, folder, annotations, mapper)
    assert all(file_digest(receipt.path) == receipt.sha256 for receipt in receipts)
    return {relative(receipt.path, folder): receipt.sha256 for receipt in receipts}


def read_and_exported(vocabulary: Vocabulary, folder: Path, annotations: Path, mapper: Mapper) -> tuple[Receipt, ...]:
    """Return the receipts of what the commands write that read files in pieces, or tables in parts."""
    raw = folder / "labels.csv"
    raw.write_text(
        "ImageID,Source,LabelName,Confidence\n"
        + "".join(f"{n % 211:04d},human,{name},1\n" for n in range(400) for name in ("/m/0bt9lr", "/m/0k4j", "/m/9"))
    )
    with pytest.MonkeyPatch.context() as patched:  # where jobs are made: the workers need not know
        patched.setattr(pieces, "PIECE_BYTES", 4000)
        patched.setattr(runs, "PART_IMAGES", 50)
        given = AnnotatedFiles(name="s", format="open-images", files=(raw,))
        read = annotate(vocabulary, given, Workplace(folder / "read", engine=Engine(mapper=mapper)))
        tallied = tally("open-images", [raw], "s", folder / "tally.csv", overwrite=True, mapper=mapper).receipt
    assert len(read.receipts) == 5
    exported = [
        receipt
        for form in FORMATS
        for receipt in export(
            vocabulary, annotations, form, Workplace(folder / form, engine=Engine(mapper=mapper))
        ).receipts
    ]
    # Neither has a file of its own.
    judged = quality.evaluate_labels(vocabulary, annotations, thresholds=(0.5,), mapper=mapper)
    audited = audit(vocabulary, [annotations], mapper=mapper)
    found = write_bytes(
        folder / "found.txt",
        f"{judged.counts.added.tolist()} {judged.learned_from} {audited.repeated_images} "
        f"{audited.counts.closed} {audited.counts.missing.tolist()}".encode(),
    )
    return (*read.receipts, tallied, *exported, found)


@pytest.fixture(name="expected", scope="module")
def _expected(mini_vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests that the built-in `map` makes."""
    folder = tmp_path_factory.mktemp("map")
    digests = build(mini_vocabulary, folder, map)
    assert len([path for path in digests if path.startswith(("pairs/", "labels/"))]) == 2 + 5 * 2, (
        "of each part with rows"
    )
    assert read_table(folder / "pairs" / IMPLICATIONS_FILE, IMPLICATIONS).num_rows
    return digests


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_processes_write_the_same_bytes(
    mini_vocabulary: Vocabulary, tmp_path: Path, expected: dict[str, str], workers: int
) -> None:
    with local(workers) as mapper:
        assert build(mini_vocabulary, tmp_path, mapper) == expected


def test_a_dask_cluster_writes_the_same_bytes(
    mini_vocabulary: Vocabulary, tmp_path: Path, expected: dict[str, str], two_dask_workers: Any
) -> None:
    with dask(two_dask_workers.scheduler_address) as mapper:
        assert build(mini_vocabulary, tmp_path, mapper) == expected


def slowly(job: Any, *, function: Callable[[Any], Any]) -> Any:
    """Do a job so late that others are at work when the first one's result arrives."""
    time.sleep(0.2)
    return function(job)


_DEATHS = 6


def test_a_dask_worker_killed_amid_its_jobs_changes_nothing(
    mini_vocabulary: Vocabulary, tmp_path: Path, expected: dict[str, str]
) -> None:
    killed: list[int] = []
    with cluster(2) as started, dask(started.scheduler_address) as engine:

        def killing(function: Callable[[Any], Any], jobs: Iterable[Any], /) -> Iterator[Any]:
            results = engine(functools.partial(slowly, function=function), jobs)
            yield next(results)
            # One in each of the first passes; a nanny whose worker dies again and again gives up in the end.
            if len(killed) < _DEATHS:
                worker = started.workers[len(killed) % 2]
                killed.append(worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
            yield from results

        assert build(mini_vocabulary, tmp_path, killing) == expected
    assert len(set(killed)) == _DEATHS


def refuse(number: int) -> int:
    if number == 2:
        raise DataError("is damaged", where="part-2", line=7, remedy="build it again")
    return number


def end(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_an_error_comes_home_from_a_cluster_as_it_was_raised(two_dask_workers: Any) -> None:
    told = "^part-2, line 7: is damaged; build it again$"
    with dask(two_dask_workers.scheduler_address) as mapper, pytest.raises(DataError, match=told):
        list(mapper(refuse, range(4)))


def test_a_job_that_ends_every_worker_is_a_sentence() -> None:
    with (
        cluster(1) as started,
        pytest.raises(MLImagesError, match=r"several Dask workers died of the same job.*memory"),
        dask(started.scheduler_address) as mapper,
    ):
        list(mapper(end, range(2)))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "nonsense", "carrier-pigeon://host:1"])
def test_an_address_where_nobody_answers_is_a_sentence(address: str) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    with pytest.raises(UsageError, match=rf"^{address}: no Dask scheduler answers; start one"), dask(address):
        pass


def test_a_worker_is_no_scheduler(two_dask_workers: Any) -> None:
    address = two_dask_workers.workers[0].worker_address
    with pytest.raises(UsageError, match="is a Dask worker; pass the scheduler's address"), dask(address):
        pass


def test_without_dask_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'mlimages-dataset\[cluster\]'"), dask("tcp://127.0.0.1:9"):
        pass
