"""The input of every format's writer: tables by split, the output folder, and workers for the parts.

A format is one file with a function from an `Export` to receipts and counts, and one line in `registry.py`. Tables are
read in batches and written as they come, so memory does not grow with the rows; the same tables give the same bytes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.exports.counts import ExportCounts, summed
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, whole_file
from mlimages_dataset.tables.parquet import schema_of, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, CATEGORIES, LABELS, MAPPING, REGIONS
from mlimages_dataset.vocab.folder import CATEGORIES_FILE, MAPPING_FILE
from mlimages_dataset.vocab.tables import categories_table, mapping_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.exports.publication import Publication
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.vocab.vocabulary import Vocabulary

IMAGE_SET = "test"
"""What Pascal VOC's files of results call the images, unless a user says it."""
BLOCK_BYTES = 1 << 24
UNSAYABLE = r"[\x00-\x20\x7f\x{85}\x{feff}\p{Z}]"
"""Characters that end a word, or are trimmed from a line, where a format that blanks divide is read."""
Job: TypeAlias = "tuple[Location, Location]"
"""A part of a table, and the file to write."""
PartWritten: TypeAlias = "tuple[Receipt, ExportCounts]"
Written: TypeAlias = "tuple[list[Receipt], ExportCounts]"
_AnyJob = TypeVar("_AnyJob")


def region_parts(export: Export) -> Sequence[Location]:
    """Return the parts of an export of regions.

    Raises:
        UsageError: they are no regions.
    """
    parts = [part for of_split in export.splits.values() for part in of_split]
    if other := next((part for part in parts if schema_of(part, (REGIONS, LABELS, ANNOTATIONS)) is not REGIONS), None):
        what = "holds labels, and this format is for boxes"
        raise UsageError(
            what, where=other.parent, remedy="name a folder that regions or predict wrote, or choose tencent or csv"
        )
    if set(export.splits) != {"train"}:
        raise UsageError("has regions in folders of splits", where=parts[0].parent.parent, remedy="name one of these")
    return export.splits["train"]


@dataclass(frozen=True, slots=True)
class Export:
    """One export of label tables.

    Attributes:
        vocabulary: vocabulary of the tables.
        splits: the parts of each split, `train` or `val`.
        at: where to write.
        publication: the publisher's facts about the data set.
        images: the folder of the tables of its pictures; None where none is named.
        image_set: what Pascal VOC's files of results call the images.
    """

    vocabulary: Vocabulary
    splits: Mapping[str, Sequence[Location]]
    at: Workplace
    publication: Publication
    images: Location | None = None
    image_set: str = IMAGE_SET

    @property
    def wnids(self) -> list[str]:
        """The wnid of each category, by class index."""
        return [category.wnid for category in self.vocabulary.categories]

    def done(self, work: Callable[[_AnyJob], PartWritten], jobs: Sequence[_AnyJob]) -> Iterator[PartWritten]:
        """Yield the output of jobs, in their order."""
        for receipt, counts in self.at.engine.mapper(work, jobs):
            yield receipt, counts
            self.at.engine.progress(counts.seen)

    def joined(self, work: Callable[[Job], PartWritten], name: str, head: bytes) -> Written:
        """Let jobs write the text of each part, and join them to one file per split.

        Args:
            work: writes the text of a part.
            name: name of the files; `{}` stands for the split.
            head: beginning of each file.
        """
        receipts, found = [], []
        for split, parts in self.splits.items():
            path = self.at.out / name.format(split)
            jobs = [(part, self.at.out / f"{PARTIAL_PREFIX}{split}-{number:05d}") for number, part in enumerate(parts)]
            with whole_file(path) as sink:
                sink.write(head)
                for text, counts in self.done(work, jobs):
                    with text.path.open("rb") as stream:
                        shutil.copyfileobj(stream, sink, BLOCK_BYTES)
                    text.path.unlink()
                    found.append(counts)
            receipts.append(Receipt(path, -1, sink.size, sink.digest.hexdigest(), ""))
        return receipts, summed(found)

    def vocabulary_tables(self) -> tuple[Receipt, Receipt]:
        """Write the vocabulary's tables, so that the folder can also be read as a vocabulary."""
        return (
            write_table(self.at.out / CATEGORIES_FILE, categories_table(self.vocabulary), CATEGORIES, self.at.inputs),
            write_table(self.at.out / MAPPING_FILE, mapping_table(self.vocabulary), MAPPING, self.at.inputs),
        )
