"""The compiled loops of a build, compiled in other processes while this one makes the vocabulary.

Numba compiles a loop when it is first called, and keeps the machine code for later runs. On a new installation that
takes 25 seconds of one core.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER, AnnotatedFiles, annotate
from mlimages_dataset.augment.cooccurrence_stage import COOCCURRENCE, cooccurrence
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, LabelOptions, label
from mlimages_dataset.core.compiled import are_kept
from mlimages_dataset.core.locations import location
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.tables.arrays import texts
from mlimages_dataset.tables.label_columns import LabelColumns, array_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Rule, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location

_LOOPS = {
    ANNOTATIONS_FOLDER: (
        "augment.annotations",
        "augment.merged",
        "sources.quotes",
        "tables.text_numbers",
        "tables.texts",
    ),
    COOCCURRENCE: ("augment.pair_counting", "augment.same_images"),
    LABELS_STAGE: ("augment.ancestors", "augment.audit", "augment.splits", "augment.statistics", "tables.pages"),
}
"""The modules that have the loops of a stage."""
STAGES = tuple(_LOOPS)
"""The stages of a build that have loops of their own."""
_PROCESSES = ((ANNOTATIONS_FOLDER,), (COOCCURRENCE, LABELS_STAGE))
"""The stages whose loops a process compiles, in the order of a build: half of the work for each of two cores."""
CODE = """
import gc, sys
gc.disable()  # little of what compilation makes is garbage, and collecting it takes a twentieth of the time
from mlimages_dataset.recipes.first_calls import call_loops
call_loops(*sys.argv[1:])
"""


def without_machine_code(stages: Iterable[str]) -> list[str]:
    """Return those of some stages that have a loop whose machine code is not kept."""
    return [stage for stage in stages if not are_kept([f"mlimages_dataset.{name}" for name in _LOOPS[stage]])]


@contextlib.contextmanager
def compiled_meanwhile(stages: Collection[str]) -> Iterator[Callable[[str], None]]:
    """Compile the loops of a build in other processes, unless that was done.

    Yields what waits until the loops of a stage, given by its name, are ready. If a process fails, they are compiled
    at their first call as ever.

    Args:
        stages: those of `STAGES` that the build has.
    """
    with contextlib.ExitStack() as until_the_end:
        compilers = {}
        for together in _PROCESSES:
            if names := without_machine_code(stage for stage in together if stage in stages):
                folder = until_the_end.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
                compiler = _Compiler(folder, names)
                until_the_end.callback(compiler.stop)
                compilers.update(dict.fromkeys(names, compiler))

        def wait(stage: str) -> None:
            name = stage.partition("/")[0]
            if name in compilers:
                compilers[name].wait(name)

        yield wait


class _Compiler:
    """A process that compiles the loops of some stages, one stage after the other, and writes into a folder."""

    def __init__(self, folder: str, stages: Sequence[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._ready: set[str] = set()
        self._process: subprocess.Popen[str] | None = None
        with contextlib.suppress(OSError):  # raised where the interpreter is part of another program
            self._process = subprocess.Popen(  # noqa: S603 - our own code
                [sys.executable, "-P", "-c", CODE, folder, *stages],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def wait(self, stage: str) -> None:
        """Return when the loops of a stage are compiled, or the process has ended."""
        if self._process is None:
            return
        assert self._process.stdout is not None
        while stage not in self._ready and (line := self._process.stdout.readline()):
            self._ready.add(line.strip())

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def call_loops(folder: str, *stages: str) -> None:
    """Call the loops of some of `STAGES`, so that they are compiled, and print each stage that is done.

    Args:
        folder: an empty one to write into.
        stages: their names.
    """
    for stage in stages:
        out = location(folder) / stage
        out.mkdir()
        _CALLS[stage](out)
        print(stage, flush=True)  # noqa: T201 - for the process that waits


def _annotate(out: Location) -> None:
    stated = out / "stated.csv"
    stated.write_text('image_id,label,location\n"one",n2,one.jpg\ntwo,n2,two.jpg\n', "utf-8")
    given = AnnotatedFiles(name="two", format="csv", files=(stated,))
    annotate(two_categories(), given, Workplace(out / given.name))


def _count_pairs(out: Location) -> None:
    annotated = two_images(out / "annotated")
    cooccurrence(two_categories(), annotated, annotated, Workplace(out))


def _label(out: Location) -> None:
    annotated = two_images(out / "annotated")
    label(two_categories(), [annotated], Workplace(out), options=LabelOptions(validation_images=1))


_CALLS = {ANNOTATIONS_FOLDER: _annotate, COOCCURRENCE: _count_pairs, LABELS_STAGE: _label}


def two_images(folder: Location) -> Location:
    """Write a table of two images with a label each into a new folder, and return that."""
    folder.mkdir()
    labels = LabelColumns(
        np.arange(3, dtype=np.int32), np.ones(2, np.int32), np.ones(2, np.float32), np.zeros(2, np.uint8)
    )
    ids, no_text = texts(["one", "two"]), texts(["", ""])
    rows = {"image_id": ids, "source": no_text, "location": no_text, "labels": array_of(labels)}
    write_table(folder / "part-00000.parquet", pa.table(rows, ANNOTATIONS.arrow), ANNOTATIONS, {})
    return folder


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
