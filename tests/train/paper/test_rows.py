"""The paper's figures, and the command that prints them."""

from __future__ import annotations

import pytest

from mlimages_dataset.train.paper.rows import ROWS, Collection, row_named
from mlimages_dataset.train.paper.stage import Transferred
from mlimages_dataset.train.run_files import packaged_recipes, read_run, run_file
from mlimages_dataset.train.tasks.registry import task_of_run
from tests.train.test_main import called, refusal

TABLES_3_TO_6 = {
    "imagenet-1": [(224, 77.8), (224, 93.9), (299, 79.0), (299, 94.5)],  # table 3, our ckpt-1
    "imagenet-2": [(224, 74.7), (224, 92.6)],  # our ckpt-2
    "imagenet-3": [(224, 78.8), (224, 94.5), (299, 79.5), (299, 94.9)],  # our ckpt-3
    "imagenet-4": [(224, 78.3), (224, 94.2), (299, 80.73), (299, 95.5)],  # our ckpt-4
    "imagenet-5": [(224, 75.8), (224, 92.7), (299, 79.6), (299, 94.6)],  # our ckpt-5
    "caltech-256": [(0, 86.0), (0, 83.6), (0, 86.5)],  # table 4
    "voc-detection": [(0, 80.1), (0, 81.5)],  # table 5, our ckpt-1 and 2
    "voc-segmentation": [(0, 74.0), (0, 76.3)],  # table 6, our ckpt-1 and 2
}


def test_the_rows_have_the_papers_figures() -> None:
    found = {row.name: [(one.image_size, one.percent) for one in row.figures] for row in ROWS}
    assert found == TABLES_3_TO_6
    assert row_named("voc-detection").images == 16_551  # section 5.3
    assert row_named("voc-detection").measured_on == 4_952  # section 5.3
    assert row_named("voc-segmentation").images == 10_582  # section 5.4
    assert row_named("voc-segmentation").measured_on == 1_449  # VOC 2012; section 5.4 has 1,149


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.collection is not Collection.CALTECH], ids=lambda row: row.name
)
def test_each_row_has_a_recipe_whose_evaluation_measures_what_the_paper_does(row: object) -> None:
    assert row in ROWS
    row = next(one for one in ROWS if one is row)
    assert row.recipe.removeprefix("packaged:") in packaged_recipes()
    run = read_run(run_file(row.recipe))
    names = task_of_run(run).measure_names(run.model.classes)
    assert {one.measure for one in row.figures} <= set(names)
    assert run.checkpoints.best in names


def test_the_list_has_every_figure() -> None:
    told = called("transfer", "--list").output
    for name, figures in TABLES_3_TO_6.items():
        assert name in told
        for size, percent in figures:
            assert any(f"{percent:g} %" in line and (not size or f"at {size}" in line) for line in told.splitlines())


def test_a_result_has_the_papers_figures_beside_its_own() -> None:
    row = row_named("imagenet-3")
    measures = {224: {"top1": 0.5, "top5": 0.75}, 299: {"top1": 0.25, "top5": 1.0}}
    lines = Transferred(row, 12, 34, measures, ("a note",)).lines()
    assert lines[0] == "imagenet-3: learnt from 12 images (the paper: 1,281,167), measured on 34 (the paper: 50,000)"
    assert lines[1] == "a note"
    assert [line.split()[:2] for line in lines[3:]] == [
        ["50.00", "78.80"],
        ["75.00", "94.50"],
        ["25.00", "79.50"],
        ["100.00", "94.90"],
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no row is named; name one of those that --list prints"),
        (("imagenet-6",), "there is no row 'imagenet-6'; use one of imagenet-1, imagenet-2, "),
        (("imagenet-1",), "no --data and no --out; pass --data and --out"),
        (("imagenet-1", "--sbd", "sbd"), "imagenet-1 has no use for --sbd; leave it out"),
        (("caltech-256", "--plan"), "caltech-256 trains no network; leave out --run and --plan; "),
        (("caltech-256", "--data", "d", "--out", "o"), "caltech-256 measures a checkpoint; name it with --weights"),
        (("voc-detection", "--data", "d", "--out", "o"), "voc-detection starts from trained weights; "),
        (("imagenet-1", "--run", "nothing.toml", "--plan"), "nothing.toml: cannot be read"),
    ],
)
def test_wrong_use_is_a_sentence(arguments: tuple[str, ...], told: str) -> None:
    assert refusal(2, "transfer", *arguments).startswith(told)
