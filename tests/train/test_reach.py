"""What a run file can ask for beside the plain recipe: each is trained, cut, resumed, and refused where it is bad."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from mlimages_dataset.loaders import Batch, MLImages, StreamedImages, collate, train_transform
from mlimages_dataset.loaders.streaming import batch_sizes, given_after
from mlimages_dataset.tables.parquet import read_table, table_parts, write_table
from mlimages_dataset.tables.schemas import CATEGORIES, PAIR_COUNTS, PREDICTIONS
from mlimages_dataset.train.checkpoint import checkpoint_path, newest_checkpoint, read_checkpoint
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.feed import make_feed
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.losses.concurrent_softmax import concurrent_log_odds, concurrent_probabilities
from mlimages_dataset.train.losses.pair_rates import rates_of_state
from mlimages_dataset.train.run_files import read_run
from mlimages_dataset.train.stage import initial_model
from mlimages_dataset.train.tasks.registry import task_of_run
from mlimages_dataset.vocab.folder import CATEGORIES_FILE, read_vocabulary, vocabulary_digests
from tests.loaders.test_dataset import data_set
from tests.train.processes import on_ranks
from tests.train.test_main import RUN, applied, called, files, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.train.config import Run
    from tests.train.conftest import Photographs


def run_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """Return the path of a run file that is `RUN` with some lines changed."""
    text = RUN
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


# Concurrent softmax


@pytest.fixture(name="pair_counts", scope="module")
def _pair_counts(photographs: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of pairs over the photographs' vocabulary, related ones among them."""
    closure = read_vocabulary(photographs.vocabulary).closure.toarray()
    n_classes = len(closure)
    rng = np.random.default_rng(4)
    left, right = np.nonzero((rng.random((n_classes, n_classes)) < 0.3) | (closure & (rng.random(closure.shape) < 0.5)))
    n_left = rng.integers(1, 50, n_classes)[left]
    n_both = rng.integers(0, n_left + 1)
    path = tmp_path_factory.mktemp("pairs") / "pair_counts.parquet"
    table = pa.table(
        {"left": left.astype(np.int32), "right": right.astype(np.int32), "n_left": n_left, "n_both": n_both},
        schema=PAIR_COUNTS.arrow,
    )
    write_table(path, table, PAIR_COUNTS, vocabulary_digests(photographs.vocabulary))
    return path


def dense_rates(pair_counts: Path, photographs: Photographs) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the rates of a table as loops over its rows and the hierarchy's parents have them."""
    parents = read_table(photographs.vocabulary / CATEGORIES_FILE, CATEGORIES)["parents"].to_pylist()

    def ancestors(c: int) -> set[int]:
        return {c}.union(*(ancestors(parent) for parent in parents[c]))

    rates = np.zeros((len(parents), len(parents)))
    for row in read_table(pair_counts, PAIR_COUNTS).to_pylist():
        i, j = row["left"], row["right"]
        if i not in ancestors(j) and j not in ancestors(i):
            rates[i, j] = row["n_both"] / row["n_left"]
    return rates


CONCURRENT = '[loss]\nname = "concurrent-softmax"\npair_counts = "{}"\nprior_bias = false\n[schedule]'


@pytest.mark.slow
def test_concurrent_softmax_trains_resumes_evaluates_and_predicts(
    photographs: Photographs, pair_counts: Path, tmp_path: Path
) -> None:
    changes = (("[schedule]", CONCURRENT.format(pair_counts)), ("every_steps = 0", "every_steps = 1"))
    run_toml = run_file(tmp_path, *changes)
    out = tmp_path / "out"
    trained = called("pretrain", run_toml, *files(photographs), "--validation-labels", photographs.labels, "--out", out)
    assert trained.exit_code == 0, trained.output
    rates = dense_rates(pair_counts, photographs)
    assert (rates > 0).sum() > 100
    checkpoint = read_checkpoint(checkpoint_path(out, 2))
    np.testing.assert_allclose(rates_of_state(checkpoint.loss, len(rates)).to_dense().numpy(), rates, rtol=1e-6)

    # The first step's loss is equation 3, of an untrained network in training mode.
    told = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in told if line["kind"] == "train"]
    assert losses[0] == pytest.approx(_loss_of_first_step(read_run(run_toml), photographs, rates), rel=1e-4)

    # Cut after its first step, it goes on to the same weights, also where the table lies elsewhere by then.
    checkpoint_path(out, 2).unlink()
    moved = tmp_path / "moved.parquet"
    moved.write_bytes(pair_counts.read_bytes())
    again = run_file(tmp_path, ("[schedule]", CONCURRENT.format(moved.name)), changes[1])
    assert called("pretrain", again, *files(photographs), "--out", out).exit_code == 0
    resumed = read_checkpoint(checkpoint_path(out, 2)).model
    assert all(torch.equal(value, resumed[name]) for name, value in checkpoint.model.items())

    predicted = called(
        "predict", out, *applied(photographs), "--above", "0", "--raw", "--out", tmp_path / "predictions"
    )
    assert predicted.exit_code == 0, predicted.output
    rows = [row for part in table_parts(tmp_path / "predictions") for row in read_table(part, PREDICTIONS).to_pylist()]
    for row in rows:
        found = np.zeros(len(rates))
        for label in row["labels"]:
            found[label["class_index"]] = label["confidence"]
        # z follows from sigma: sigma_i sum_j (1 - r_ij) e^{z_j} = e^{z_i} is linear in e^z.
        system = found[:, None] * (1 - rates) - np.eye(len(rates))
        residual = np.linalg.svd(system, compute_uv=False)
        assert residual[-1] < 1e-4 * residual[0], "some logits have these scores by equation 5"
    measured = called("evaluate", out, *applied(photographs), "--labels", photographs.labels)
    assert measured.exit_code == 0, measured.output


def _loss_of_first_step(
    run: Run, photographs: Photographs, rates: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> float:
    """Return equation 3 of a run's first batch, by loops over classes."""
    classes = read_classes(photographs.vocabulary)
    data = MLImages(
        photographs.images,
        photographs.labels,
        split=None,
        transform=train_transform(32),
        seed=run.seed,
        n_classes=len(classes),
    )
    with computing(run.execution, run.seed) as device:
        model = initial_model(run, classes).train()
        (batch,) = next(make_feed(run, task_of_run(run), data, device).steps(0, 0))
        assert isinstance(batch, Batch)
        logits = model(data.finish(batch.images)).detach().double().numpy()
    targets = batch.targets.numpy().astype(float)
    total = 0.0
    for z, y in zip(logits, targets, strict=True):
        present = {i for i in range(len(y)) if y[i] >= np.float32(0.7)}
        for i in present:
            rivals = sum((1 - rates[i, j]) * math.exp(z[j]) for j in range(len(y)) if j not in present)
            total -= y[i] * math.log(math.exp(z[i]) / (rivals + math.exp(z[i])))
    return total / len(logits)


@pytest.mark.parametrize("seed", range(3))
def test_log_odds_are_those_of_the_probabilities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((4, 7)) * 6
    rates = np.where(rng.random((7, 7)) < 0.4, rng.random((7, 7)), 0)
    np.fill_diagonal(rates, 0)
    rates[0, 1] = 1
    sigma = np.array([[math.exp(row[i]) / sum((1 - rates[i]) * np.exp(row)) for i in range(7)] for row in z])
    got = concurrent_probabilities(torch.tensor(z), torch.tensor(rates))
    np.testing.assert_allclose(got.numpy(), sigma, rtol=1e-5)
    rest = np.array(
        [[sum((1 - rates[i, j]) * math.exp(row[j]) for j in range(7) if j != i) for i in range(7)] for row in z]
    )
    odds = concurrent_log_odds(torch.tensor(z), torch.tensor(rates).to_sparse_coo())
    np.testing.assert_allclose(odds.numpy(), z - np.log(rest), rtol=1e-5, atol=1e-5)


def test_other_rates_are_refused_on_resuming(photographs: Photographs, pair_counts: Path, tmp_path: Path) -> None:
    run_toml = run_file(tmp_path, ("[schedule]", CONCURRENT.format(pair_counts)))
    out = tmp_path / "out"
    assert called("pretrain", run_toml, *files(photographs), "--out", out).exit_code == 0
    table = read_table(pair_counts, PAIR_COUNTS)
    write_table(tmp_path / "fewer.parquet", table.slice(7), PAIR_COUNTS, vocabulary_digests(photographs.vocabulary))
    again = run_file(tmp_path, ("[schedule]", CONCURRENT.format("fewer.parquet")))
    told = refusal(2, "pretrain", again, *files(photographs), "--out", out)
    assert told.endswith(
        "its concurrent rates come from another pair_counts table; use the same loss.pair_counts as before, or another "
        "--out"
    )


def _with(table: pa.Table, **columns: object) -> pa.Table:
    changed = {name: columns.get(name, table[name]) for name in table.schema.names}
    return pa.table(changed, schema=table.schema)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("missing", "nowhere.parquet: there is no such file"),
        ("other vocabulary", "it was made with another vocabulary than the one given"),
        ("other classes", "names class 85, but the vocabulary has the classes 0 to "),
        ("twice", "holds a pair twice"),
        ("too many", "counts more images with both classes than with the first, or fewer than none"),
        ("other table", "schema is labels/1, but pair_counts/1 is needed"),
        ("folder", "is a folder"),
    ],
)
def test_bad_pair_counts_are_refused_in_one_sentence(
    photographs: Photographs, pair_counts: Path, tmp_path: Path, what: str, told: str
) -> None:
    path, digests = tmp_path / "given.parquet", vocabulary_digests(photographs.vocabulary)
    table = read_table(pair_counts, PAIR_COUNTS)
    match what:
        case "missing":
            path = tmp_path / "nowhere.parquet"
        case "other vocabulary":
            write_table(path, table, PAIR_COUNTS, dict.fromkeys(digests, "0" * 64))
        case "other classes":
            columns = pa.array([85] * len(table), pa.int32())
            write_table(path, _with(table, right=columns), PAIR_COUNTS, digests)
        case "twice":
            write_table(path, pa.concat_tables([table, table.slice(0, 1)]), PAIR_COUNTS, digests)
        case "too many":
            write_table(path, _with(table, n_both=table["n_left"].to_numpy() + 1), PAIR_COUNTS, digests)
        case "other table":
            path = photographs.labels / "part-00000.parquet"
        case _:
            path = tmp_path
    run_toml = run_file(tmp_path, ("[schedule]", CONCURRENT.format(path)))
    code = 2 if what in {"missing", "other vocabulary", "folder"} else 1
    assert told in refusal(code, "pretrain", run_toml, *files(photographs), "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Keys that do nothing where they stand


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('[loss]\nname = "concurrent-softmax"\n', "loss.pair_counts is missing: concurrent-softmax takes its rates"),
        ('[loss]\npair_counts = "x.parquet"\n', "loss.pair_counts has no effect on the loss "),
        (
            '[loss]\nabsent_unless_listed = ["a"]\n',
            'loss.absent_unless_listed has no effect: write unknown = "ignored"',
        ),
    ],
)
def test_keys_without_effect_are_refused(photographs: Photographs, tmp_path: Path, change: str, told: str) -> None:
    run_toml = run_file(tmp_path, ("[schedule]", f"{change}[schedule]"))
    assert told in refusal(2, "pretrain", run_toml, *files(photographs), "--out", tmp_path / "out")


# Sources that list all their classes


def known_of_first_batch(run: Run, photographs: Photographs) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what is known and what is listed in a run's first batch, as the trainer gets it."""
    classes = read_classes(photographs.vocabulary)
    placed = dataclasses.replace(
        run,
        data=dataclasses.replace(
            run.data, images=photographs.images, labels=photographs.labels, vocabulary=photographs.vocabulary
        ),
    )
    task = task_of_run(placed)
    data = task.data(placed, classes, training=True)
    (batch,) = next(make_feed(placed, task, data, torch.device("cpu")).steps(0, 0))
    assert isinstance(batch, Batch)
    listed = torch.zeros_like(batch.known)
    listed[batch.sample_index, batch.class_index] = True
    return batch.known, listed


@pytest.mark.parametrize("sources", ["", "photographs"])
@pytest.mark.slow
def test_a_source_that_lists_all_its_classes_makes_the_others_known(
    photographs: Photographs, tmp_path: Path, sources: str
) -> None:
    listed = f"absent_unless_listed = {json.dumps([sources] if sources else [])}"
    loss = f'[loss]\nname = "binary-cross-entropy"\nprior_bias = false\nunknown = "ignored"\n{listed}\n[schedule]'
    run_toml = run_file(tmp_path, ("[schedule]", loss))
    known, listed_classes = known_of_first_batch(read_run(run_toml), photographs)
    assert 0 < listed_classes.float().mean() < 0.5
    assert torch.equal(known, torch.ones_like(known) if sources else listed_classes)
    out = tmp_path / "out"
    ran = called("pretrain", run_toml, *files(photographs), "--validation-labels", photographs.labels, "--out", out)
    assert ran.exit_code == 0, ran.output
    first = next(json.loads(line) for line in (out / "log.jsonl").read_text().splitlines() if '"train"' in line)
    # Binary cross-entropy of logits near 0 is log 2 for each entry that is known.
    share = 1.0 if sources else listed_classes.float().mean().item()
    assert first["loss"] == pytest.approx(share * math.log(2), rel=0.35)
    results = [
        json.loads(
            called("evaluate", out, *applied(photographs), "--labels", photographs.labels, "--json", *more).stdout
        )
        for more in ((), ("--unknown", "absent"))
    ]
    same = results[0]["mean_average_precision"] == results[1]["mean_average_precision"]
    assert same == bool(sources), "evaluation knows of it as training did"


def test_a_source_that_the_labels_have_not_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    loss = '[loss]\nunknown = "ignored"\nprior_bias = false\nabsent_unless_listed = ["imagenet"]\n[schedule]'
    run_toml = run_file(tmp_path, ("[schedule]", loss))
    told = refusal(2, "pretrain", run_toml, *files(photographs), "--out", tmp_path / "out")
    assert told == "no source is called 'imagenet'; use some of photographs"


# Blocks and streams


# An epoch's last pass may have one image: of 32 pixels that would be too few to normalise.
BLOCKS = ("image_size = 32\n", 'image_size = 64\nsampler = "blocks"\nblock_images = 3\nblocks_of_window = 2\n')


@pytest.fixture(name="shards", scope="module")
def _shards(photographs: Photographs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the photographs as a folder of shards."""
    from mlimages_dataset.images.stage import IngestOptions, ingest_stage  # noqa: PLC0415
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import run  # noqa: PLC0415

    out = tmp_path_factory.mktemp("shards") / "images"
    run(ingest_stage([photographs.images], IngestOptions(part_images=10), out), OutputFolder(out))
    return out


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    newest = newest_checkpoint(out)
    assert newest is not None
    return read_checkpoint(newest).model


@pytest.mark.slow
@pytest.mark.parametrize(("streamed", "workers"), [("false", 0), ("true", 0), ("true", 2)])
def test_a_run_in_blocks_resumes_bit_for_bit_within_an_epoch(
    photographs: Photographs, shards: Path, tmp_path: Path, streamed: str, workers: int
) -> None:
    data = f"[data]\nworkers = {workers}\nstreamed = {streamed}\n"
    changes = (
        BLOCKS,
        ("batch_size = 17", "batch_size = 8"),
        ("[data]\nworkers = 0\n", data),
        ("every_steps = 0", "every_steps = 3\nkeep = 9"),
        ("epochs = 1", "epochs = 2"),
        ('precision = "float32"\n', 'precision = "float32"\nimages_per_pass = 4\n'),
    )
    run_toml = run_file(tmp_path, *changes)
    named = (*files(photographs), "--images", shards)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    ran = called("pretrain", run_toml, *named, "--out", whole)
    assert ran.exit_code == 0, ran.output
    steps = len([line for line in (whole / "log.jsonl").read_text().splitlines() if '"train"' in line])
    assert steps == 10, "2 epochs of 34 images in steps of 8"
    assert called("pretrain", run_toml, *named, "--out", cut).exit_code == 0
    for path in (cut / "checkpoints").glob("step-*.pt"):
        if path != checkpoint_path(cut, 3):
            path.unlink()
    if not checkpoint_path(cut, 3).exists():
        pytest.fail("no checkpoint within the epoch")
    again = called("pretrain", run_toml, *named, "--out", cut)
    assert again.exit_code == 0, again.output
    before, after = weights_of(whole), weights_of(cut)
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more workers than cores
@pytest.mark.slow
def test_a_stream_goes_on_with_as_many_workers_only(photographs: Photographs, shards: Path, tmp_path: Path) -> None:
    streamed = "[data]\nstreamed = true\nworkers = {}\n"
    changes = (BLOCKS, ("batch_size = 17", "batch_size = 8"), ("every_steps = 0", "every_steps = 3\nkeep = 9"))
    named = (*files(photographs), "--images", shards, "--out", tmp_path / "out")
    assert (
        called(
            "pretrain", run_file(tmp_path, *changes, ("[data]\nworkers = 0\n", streamed.format(2))), *named
        ).exit_code
        == 0
    )
    for later in range(4, 7):  # 17 images a worker in passes of 8 are 3 passes each
        checkpoint_path(tmp_path / "out", later).unlink(missing_ok=True)
    other = run_file(tmp_path, *changes, ("[data]\nworkers = 0\n", streamed.format(3)))
    told = refusal(2, "pretrain", other, *named)
    order = "34 rows shuffled in windows of 2 blocks of 3, seed 0, streamed by 1 x {} workers in passes of 8 images"
    assert f"it was saved within an epoch of {order.format(2)}, but the run now has {order.format(3)}; " in told
    assert "the same ranks and workers" in told


def test_a_stream_in_another_order_than_blocks_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    run_toml = run_file(tmp_path, ("[data]\n", "[data]\nstreamed = true\n"))
    told = refusal(2, "pretrain", run_toml, *files(photographs), "--out", tmp_path / "out")
    assert 'data.streamed needs sampler = "blocks" in every phase, but one is shuffled' in told


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # more workers than cores
@pytest.mark.parametrize("workers", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("n", [7, 30])
def test_what_is_said_of_a_streams_batches_is_what_the_loader_gives(tmp_path: Path, workers: int, n: int) -> None:
    data = data_set(tmp_path, n, transform=train_transform(16))

    def stream() -> StreamedImages:
        return StreamedImages(data, block_rows=4, blocks_of_window=2, world=1, rank=0)

    def rows(one: StreamedImages) -> list[list[int]]:
        loader = DataLoader(one, batch_size=4, num_workers=workers, collate_fn=collate)
        return [batch.rows.tolist() for batch in loader]

    whole = rows(stream())
    assert sorted(itertools.chain(*whole)) == list(range(n))
    assert [len(batch) for batch in whole] == batch_sizes(n, 4, max(workers, 1))
    for batches in (0, 1, len(whole) - 1):
        going_on = stream()
        going_on.go_on_after(batches, batch_size=4, workers=workers)
        assert rows(going_on) == whole[batches:], batches
        later = stream()
        for one in (going_on, later):
            one.set_epoch(1)
        assert rows(going_on) == rows(later), "the epochs after a cut one are whole"
    assert sum(given_after(n, len(whole), 4, max(workers, 1))[0]) == n


def test_workers_that_persist_give_whole_epochs_after_a_cut_one(tmp_path: Path) -> None:
    data = data_set(tmp_path, 30, transform=train_transform(16))
    cut, whole = (StreamedImages(data, block_rows=4, blocks_of_window=2, world=1, rank=0) for _ in range(2))
    cut.go_on_after(3, batch_size=4, workers=2)
    loaders = [
        DataLoader(one, batch_size=4, num_workers=2, collate_fn=collate, persistent_workers=True)
        for one in (cut, whole)
    ]
    for epoch in range(3):
        given = []
        for one, loader in zip((cut, whole), loaders, strict=True):
            one.set_epoch(epoch)
            given.append([batch.rows.tolist() for batch in loader])
        assert given[0] == given[1][3 if epoch == 0 else 0 :], epoch


@pytest.mark.slow
def test_ranks_stream_equally_many_batches_of_other_images(
    photographs: Photographs, shards: Path, tmp_path: Path
) -> None:
    changes = (
        BLOCKS,
        ("[data]\n", "[data]\nstreamed = true\n"),
        ("batch_size = 17", "batch_size = 8"),
    )
    run_toml = run_file(tmp_path, *changes)
    named = [str(word) for word in (*files(photographs), "--images", shards, "--out", tmp_path / "out")]
    ranks = on_ranks(2, "-m", "mlimages_dataset.train", "pretrain", str(run_toml), *named)
    assert [done.code for done in ranks] == [0, 0], ranks[0].err
    assert newest_checkpoint(tmp_path / "out") == checkpoint_path(tmp_path / "out", 5), "17 images a rank by 4"
