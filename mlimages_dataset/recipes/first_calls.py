"""The compiled loops of a build, compiled in another process while this one makes the vocabulary.

Numba compiles a loop when it is first called, and keeps the machine code for later runs. On a new installation that
takes seconds, in which a second core has nothing to do.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER, AnnotatedFiles, annotate
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, LabelOptions, label
from mlimages_dataset.core.compiled import are_kept
from mlimages_dataset.core.locations import location
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Rule, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.core.locations import Location

_LOOPS = {"augment": ("ancestors", "annotations", "audit", "merged", "splits", "statistics"), "tables": ("pages",)}
_MODULES = tuple(f"mlimages_dataset.{room}.{name}" for room, names in _LOOPS.items() for name in names)
CODE = "from mlimages_dataset.recipes.first_calls import call_loops; call_loops()"


@contextlib.contextmanager
def compiled_meanwhile() -> Iterator[Callable[[str], None]]:
    """Compile the loops of a build in another process, unless that was done.

    Yields what waits until the loops of a stage, given by its name, are ready. If the process fails, they are compiled
    at their first call as ever.
    """
    if are_kept(_MODULES):
        yield _wait_for_nothing
        return
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-P", "-c", CODE],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # an interpreter that is part of another program
        yield _wait_for_nothing
        return
    assert process.stdout is not None
    first_line, to_the_end = functools.cache(process.stdout.readline), functools.cache(process.stdout.read)

    def wait(stage: str) -> None:
        if stage.startswith(f"{ANNOTATIONS_FOLDER}/"):
            first_line()
        elif stage == LABELS_STAGE:
            to_the_end()

    with process:
        try:
            yield wait
        finally:
            process.kill()


def _wait_for_nothing(stage: str) -> None:
    """Return at once."""


def call_loops(into: Location | None = None) -> None:
    """Annotate and label two images, so that each compiled loop of a build is called once; print what is done.

    Args:
        into: the folder to write into; None for one that is removed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = location(folder) if into is None else into
        out.mkdir(parents=True, exist_ok=True)
        stated = out / "stated.csv"
        stated.write_text("image_id,label\none,n2\ntwo,n2\n", "utf-8")
        vocabulary, given = two_categories(), AnnotatedFiles(name="two", format="csv", files=(stated,))
        annotate(vocabulary, given, Workplace(out / given.name))
        print(ANNOTATIONS_FOLDER, flush=True)  # noqa: T201 - for the process that waits
        label(vocabulary, [out / given.name], Workplace(out), options=LabelOptions(validation_images=1))


def two_categories() -> Vocabulary:
    """Return a vocabulary of a category and its parent."""
    wnids = ("n1", "n2")
    categories = tuple(
        Category(
            wnid=wnid,
            name=wnid,
            root=0,
            parent=depth - 1,
            parents=tuple(range(depth)),
            depth=depth,
            sources=(),
            mids=(),
            images=0,
        )
        for depth, wnid in enumerate(wnids)
    )
    mapping = tuple(MappingRow("two", wnid, wnid, index, wnid, Rule.WNID.value, "") for index, wnid in enumerate(wnids))
    return Vocabulary(categories, mapping)
