"""A first build from pictures alone, in one call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlimages_dataset.api import folders
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.builds import built
from mlimages_dataset.api.frames import listed, place
from mlimages_dataset.api.given import files_of_classes
from mlimages_dataset.core.arguments import check
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.recipes.decisions import unused_labels
from mlimages_dataset.recipes.pictures import stated_labels
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.recipes.starting import (
    beside_pictures,
    listed_ids,
    pictures_in,
    recipe_of,
    said_by,
    stated_folders,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlimages_dataset.api.builds import Build
    from mlimages_dataset.api.frames import PathLike
    from mlimages_dataset.api.given import Classes
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.records import StageOutcome


_TABLES = {"csv", "parquet"}
"""Formats of tables beside pictures that are not the pictures' own."""


def start(
    photos: PathLike | Sequence[PathLike],
    *,
    classes: Classes | None = None,
    attach: bool = False,
    out: PathLike = "build",
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
    began: Callable[[str], None] = lambda stage: None,  # noqa: ARG005 - as it is called
    ended: Callable[[str, StageOutcome[Any]], None] = lambda stage, outcome: None,  # noqa: ARG005 - as it is called
) -> Build:
    """Build labels from pictures: shards, vocabulary, annotations, labels and report.

    Finished stages are not run again. Without `classes`, the folders of pictures are their classes, found in WordNet by
    name (`golden retriever/7.jpg`), and files beside pictures (`.cls`, `.json`, `.txt`) and tables in the folder itself
    are read. The recipe is kept as `recipe.toml`; `Build.decisions` says what needs a decision.

    Args:
        photos: a folder of pictures, flat or of folders, an archive, or shards; or several of these.
        classes: a file or a frame, or several. With the columns id and name (and wnid or parent, if known) it lists
            classes, by the names of the folders; with image_id and label it says what pictures show; annotations do
            both. Or a list of the folders' names, or a mapping from them to names of classes. For an id that several
            have, class lists win over annotations, the last of them over those before, and frames over files.
        attach: keep a class that is no noun of WordNet under what other collections take it for a kind of, else
            under its head word (my mug under mug).
        out: the output folder: new, empty, or of this build, finished or interrupted.
        overwrite: replace what was built from other pictures or files.
        mapper: runs parts; see `pipeline.engine.local`.
        progress: is called with numbers of images that were read or written, several times an image.
        began: is called with each stage's name before its work.
        ended: is called with each stage's name and outcome.

    Raises:
        MLImagesError: there is no picture, a file says nothing of the pictures, or the folder cannot be used.
    """
    check(ARGUMENTS, {**locals(), "classes": None})  # here they are other things than elsewhere
    sources = [place(one, what="photos").absolute() for one in listed(photos, what="photos")]
    folder = place(out, what="out").absolute()
    engine = Engine(mapper=mapper, progress=progress)
    given = files_of_classes(classes, folder, overwrite=overwrite)
    said = [said_by(path) for path in given]
    if not any(one.form for one in said):  # a class list alone does not say what the pictures show
        said += [one for one in beside_pictures(sources) if one.form or not given]
    text = recipe_of(
        sources,
        said,
        attach=attach,
        in_order=bool(given),
        class_folders=stated_folders(said, listed_ids(said)),
        without=pictures_in(sources, said),
    )
    own = folders.scratch()
    try:
        (own / "recipe.toml").write_text(text, encoding="utf-8")
        recipe = read_recipe(own / "recipe.toml")
    finally:
        folders.discard(own)
    build = built(recipe, folder, text=text, overwrite=overwrite, engine=engine, began=began, ended=ended)
    tables = [one.path.name for one in said if one.path not in given and one.form in _TABLES]
    unused = stated_labels(folder) if tables else 0
    return replace(build, decisions=(unused_labels(unused, tables), *build.decisions)) if unused else build
