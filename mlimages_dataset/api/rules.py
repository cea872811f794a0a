"""Rules that add likely labels, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from mlimages_dataset.api import folders
from mlimages_dataset.api.annotations import annotations_of
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.frames import place
from mlimages_dataset.api.pairs import are_same
from mlimages_dataset.api.tables import Tables, made_by
from mlimages_dataset.api.vocabularies import folder_of, refuse_other
from mlimages_dataset.augment.cooccurrence import PROBABILITY
from mlimages_dataset.augment.hidden_labels import HIDDEN_SHARE
from mlimages_dataset.augment.rules_stage import (
    PRECISION,
    RULES_FILE,
    RULES_STAGE,
    RuleOptions,
    RulesSummary,
    idle_option,
    rules_stage,
)
from mlimages_dataset.core.arguments import check
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from mlimages_dataset.api.annotations import Annotations
    from mlimages_dataset.api.frames import Given, PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False, repr=False)  # no slots, like `Tables`
class Rules(Tables[RulesSummary]):
    """What known labels say together of one that an image does not have: a logistic regression for each category."""

    rows_are: ClassVar[str] = "terms"

    def parts(self) -> list[Location]:
        """Return the file of the rules."""
        return [self.there() / RULES_FILE]

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per term.

        Columns: antecedent (class index; -1 for the intercept, -2 for a teacher's probability of the consequent),
        together_with (a second antecedent, or -1), consequent, weight (of the log-odds), least (the least estimate
        that adds the consequent), score_from and score_to (the teacher's probabilities between which the weight is
        reached), and antecedent_name, together_with_name, consequent_name.
        """
        frame: pd.DataFrame = read_table(self.parts()[0], RULES).to_pandas()
        # The last two are those of -2 and -1.
        names = np.array([*(category.name for category in self.vocabulary.categories), "(predicted)", ""], object)
        for side in ("antecedent", "together_with", "consequent"):
            frame[f"{side}_name"] = names[frame[side]]
        return frame

    def write(self, folder: PathLike) -> None:
        """Copy the table into a new or empty folder; raises as `Annotations.write`."""
        folders.copy(self.there(), (RULES,), RULES_STAGE, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike) -> Self:
        """Return the rules in a folder, or in that of a build.

        Raises:
            UsageError: there are none, or they were made with another vocabulary.
        """
        found = folders.in_build(place(folder, what="folder"), RULES_STAGE, RULES_FILE)
        if found is None:
            raise UsageError("there are no rules in it", where=folder, remedy="name the folder of rules, or a build")
        refuse_other(vocabulary, [found])
        return cls(found.parent, vocabulary)


def learn_rules(
    annotations: Annotations | Given,
    predictions: Annotations | Given,
    vocabulary: Vocabulary | PathLike,
    *,
    rule: Literal["regression", "image"] = "regression",
    precision: float = PRECISION,
    probability: float = PROBABILITY,
    hidden: float = HIDDEN_SHARE,
    ids_of: str | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> Rules:
    """Learn which categories images show beside those that are annotated, from all annotated ones together.

    The rule `image` also reads a teacher's predictions of each image, and makes its probabilities true class by class.
    `augment` needs the predictions of its images then.

    Args:
        annotations: a result of `annotate`, its folder, or a frame that `annotate` takes.
        predictions: a model's predictions for these images, in the same forms; or the annotations themselves (the same
            value or folder), if the collection is complete. With the rule `image`, a teacher's, of a complete
            collection.
        vocabulary: the vocabulary of both, or its folder.
        rule: `regression`, or `image`.
        precision: the share of the added labels that is to be right, in 0..1; measured on images held out.
        probability: with the rule `regression`, a category counts as predicted above it, in 0..1; `image` takes no
            other than the default.
        hidden: for a complete collection, the share of the labels that the images to be augmented lack, in 0..1.
        ids_of: as in `annotate`, for frames.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `pipeline.engine.local`.
        progress: is called with the number of drawn images.

    Raises:
        UsageError, DataError: a table is missing, damaged or of another vocabulary, an image is predicted twice, or
            no annotated image is predicted.
    """
    check(ARGUMENTS, {**locals(), "predictions": True})  # here they are data
    if probability != PROBABILITY and idle_option(rule, ["probability"]):
        raise UsageError(f"probability has no meaning with the rule {rule!r}", remedy="leave it out")
    options = RuleOptions(
        precision=float(precision), probability=float(probability), hidden=float(hidden), pictures=rule == "image"
    )
    left = annotations_of(annotations, vocabulary, ids_of=ids_of)
    same = are_same(annotations, predictions)
    right = left if same else annotations_of(predictions, vocabulary, predictions=True, ids_of=ids_of)
    return made_by(
        lambda: rules_stage(folder_of(vocabulary), left.folder, right.folder, options),
        out,
        lambda folder, outcome: Rules(folder, vocabulary, outcome),
        overwrite=overwrite,
        engine=Engine(mapper=mapper, progress=progress),
        given={"annotations": left.folder, "predictions": right.folder},
    )
