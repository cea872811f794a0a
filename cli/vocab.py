"""`mlimages-build vocab`: class lists to a vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlimages_dataset.core.decimals import is_whole
from mlimages_dataset.core.errors import UsageError

from .options import (
    FILE,
    LOCAL_FOLDER,
    json_option,
    out_option,
    overwrite_option,
    place,
    show,
    standard_input,
    tell_start,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.core.locations import Location


@click.command()
@click.option("--imagenet", type=FILE, help="ImageNet synset list, one wnid per line.")
@click.option("--open-images", type=FILE, help="Open Images class list, V1 or V2-V7.")
@click.option("--finer", type=FILE, help="Synset list from which descendants of kept categories are added.")
@click.option(
    "--classes",
    multiple=True,
    metavar="NAME=FILE",
    help="A class list of your own: columns id and name, and wnid or parent where you know them, or "
    "annotations (COCO, CVAT, VOC, LabelMe, YOLO, Hugging Face Parquet); repeatable.",
)
@click.option(
    "--image-counts",
    type=FILE,
    multiple=True,
    help="Images per class (mlimages-build tally, or ReleaseStatus.xml); repeatable.",
)
@click.option(
    "--min-images",
    multiple=True,
    metavar="NAME=N",
    help="Drop a source's classes with fewer images, if counts are given.  [default: open-images=650]",
)
@click.option("--box-hierarchy", type=FILE, help="Open Images' bbox_labels_600_hierarchy.json.")
@click.option(
    "--ancestors",
    type=click.Choice(["all", "listed"]),
    help="Which ancestors that WordNet has between a class and its root are categories too: those of all classes, or "
    "none that no list has.  [default: those of --classes]",
)
@click.option(
    "--attach",
    is_flag=True,
    help="Keep a class that is no noun of WordNet under what other collections take it for a kind of, else under its "
    "head word: my mug under mug.",
)
@click.option(
    "--narrower",
    is_flag=True,
    help="Make a class that WordNet has no noun for a category of its own below its nearest parent (stop sign below "
    "street sign), where it would be kept as that parent.",
)
@click.option("--reviewed", type=FILE, help="Reviewed decisions (TOML), which win over the packaged ones.")
@click.option("--reviewed-only", is_flag=True, help="Leave out the packaged decisions.")
@click.option("--wordnet", type=LOCAL_FOLDER, help="A WordNet 3.0 folder instead of the packaged nouns.")
@click.option("--tencent-dictionary", type=FILE, help="Use the published vocabulary and tree unchanged.")
@out_option
@overwrite_option
@json_option
def vocab(
    *,
    imagenet: Location | None,
    open_images: Location | None,
    finer: Location | None,
    classes: tuple[str, ...],
    image_counts: tuple[Location, ...],
    min_images: tuple[str, ...],
    box_hierarchy: Location | None,
    ancestors: str | None,
    attach: bool,
    narrower: bool,
    reviewed: Location | None,
    reviewed_only: bool,
    wordnet: Path | None,
    tencent_dictionary: Location | None,
    out: Location,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Merge class lists into one vocabulary of WordNet synsets under the four roots.

    Writes categories.parquet (the vocabulary and its hierarchy) and mapping.parquet (what became of each class, and
    why), and prints how many classes were kept, merged and dropped. A class list may be - for standard input.

    \b
    Examples:
      mlimages-build vocab --imagenet synsets.txt --open-images dict.csv --out vocabulary
      mlimages-build vocab --imagenet synsets.txt --open-images dict.csv \\
          --image-counts counts.csv --image-counts ReleaseStatus.xml --out vocabulary
      mlimages-build vocab --classes birds=my_classes.csv --out vocabulary
      mlimages-build vocab --tencent-dictionary dictionary_and_semantic_hierarchy.txt --out vocabulary
    """  # noqa: D301 - click wants the backspace itself
    given_lists = (imagenet, open_images, finer, tencent_dictionary, *(path for _, path in map(_pair, classes)))
    tell_start(*given_lists, into=out, quiet=as_json)
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.pipeline.folder import OutputFolder  # noqa: PLC0415
    from mlimages_dataset.pipeline.stage import run  # noqa: PLC0415
    from mlimages_dataset.vocab.stage import (  # noqa: PLC0415
        VocabularyFiles,
        published_vocabulary_stage,
        vocabulary_stage,
    )
    from mlimages_dataset.vocab.vocabulary import IMAGENET, OPEN_IMAGES, Ancestors, refuse_names  # noqa: PLC0415

    lists = (imagenet, open_images, finer, *classes)
    if tencent_dictionary is not None and any(lists):
        raise UsageError("--tencent-dictionary cannot be combined with class lists", remedy="drop one of them")
    if tencent_dictionary is None and not (imagenet or open_images or classes):
        raise UsageError("no class list is given", remedy="pass --imagenet, --open-images or --classes")
    published = [name for name, given in ((IMAGENET, imagenet), (OPEN_IMAGES, open_images)) if given]
    stated = {name: _number(text) for name, text in map(_pair, min_images)}
    refuse_names(published, [name for name, _ in map(_pair, classes)], stated, numbers="--min-images")
    minimum = dict(VocabularyFiles().minimum_images) | stated
    with standard_input() as file_of:
        given = VocabularyFiles(
            imagenet=None if imagenet is None else file_of(imagenet),
            open_images=None if open_images is None else file_of(open_images),
            finer=None if finer is None else file_of(finer),
            classes=tuple((name, file_of(place(text))) for name, text in map(_pair, classes)),
            image_counts=image_counts,
            box_hierarchy=box_hierarchy,
            reviewed=reviewed,
            reviewed_only=reviewed_only,
            ancestors=None if ancestors is None else Ancestors(ancestors),
            attach=attach,
            narrower=narrower,
            wordnet=wordnet,
            minimum_images=tuple(minimum.items()),
        )
        stage = (
            vocabulary_stage(given) if tencent_dictionary is None else published_vocabulary_stage(tencent_dictionary)
        )
        show(run(stage, OutputFolder(out, overwrite=overwrite)), out, as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise UsageError(f"{text!r} is not NAME=VALUE", remedy="write for example open-images=650")
    return name, value


def _number(text: str) -> int:
    if not is_whole(text):
        raise UsageError(f"{text!r} is not a number of images", remedy="write for example open-images=650")
    return int(text)
