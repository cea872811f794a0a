"""Folders of images and pictures for tests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from mlimages_dataset.images.check import Inspection, inspect
from mlimages_dataset.images.parts import part_writer
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from upath import UPath

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.tables.files import Receipt

Place = TypeVar("Place", bound="Path | UPath")


def image_folder(folder: Place, parts: Sequence[Mapping[str, bytes | None]], *, overwrite: bool = False) -> Place:
    """Return a folder whose parts hold the given bytes by image id, pictures or not; None is for one not saved."""

    def work(out: Location) -> StageResult[Any]:
        receipts: list[Receipt] = []
        for number, part in enumerate(parts):
            with part_writer(out, number, {}) as writer:
                for image_id, content in part.items():
                    if content is None:
                        writer.refuse(image_id, Inspection(Status.TIMEOUT, "read"))
                    else:
                        found = inspect(content)
                        if found.status is not Status.SAVED:
                            found = Inspection(Status.SAVED, "", 1, 1, ".jpg")
                        writer.save(image_id, content, found)
            receipts += writer.written.receipts
        return StageResult(tuple(receipts))

    content = {"parts": [list(part) for part in parts]}
    OutputFolder(folder, overwrite=overwrite).run("ingest", parameters=content, inputs={}, work=work)
    return folder


def picture(
    seed: int, width: int = 64, height: int = 48, *, form: str = "JPEG", mode: str = "RGB", quality: int = 90
) -> bytes:
    """Return an encoded picture of soft random shapes, another one for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    content = io.BytesIO()
    image = coarse.resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    image.save(content, form, **({"quality": quality} if form in {"JPEG", "WEBP"} else {}))
    return content.getvalue()
