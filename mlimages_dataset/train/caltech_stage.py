"""Features of a folder with one sub-folder of pictures per class, kept as a table, and the SVM's result beside them."""

from __future__ import annotations

import collections
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.images.registry import open_store
from mlimages_dataset.tables.files import file_digest, write_bytes
from mlimages_dataset.train.apply import extract
from mlimages_dataset.train.caltech import (
    Collection,
    Protocol,
    TransferResult,
    check_sizes,
    finite,
    is_clutter,
    measure,
    without_clutter,
)
from mlimages_dataset.train.checkpoint import found_checkpoint, read_checkpoint
from mlimages_dataset.train.distributed import chosen_device
from mlimages_dataset.train.extract import read_features
from mlimages_dataset.train.logs import json_text
from mlimages_dataset.train.pictures import location_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.loaders.views import EvaluationView
    from mlimages_dataset.train.apply import Application, AppliedSummary

FEATURES = "features"
"""The sub-folder with the table of features."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A measured checkpoint.

    Attributes:
        checkpoint_digest: SHA-256 of its file.
        view: the part of a picture that the network saw.
        image_size: side of what it saw, in pixels.
        result: what was measured.
        applied: the pictures whose features were computed.
        features_computed: they were computed now; else they stood there.
        elsewhere: pictures that are not directly in a class's folder, which are not used.
        path: the file that holds all of this.
    """

    checkpoint_digest: str
    view: EvaluationView
    image_size: int
    result: TransferResult
    applied: AppliedSummary
    features_computed: bool
    elsewhere: int
    path: Location

    def to_json(self) -> dict[str, Json]:
        """Return the result with its counts."""
        return {
            "checkpoint_sha256": self.checkpoint_digest,
            "view": self.view.value,
            "image_size": self.image_size,
            "images": self.applied.images,
            "images_that_cannot_be_used": self.applied.unreadable,
            "images_in_no_class": self.elsewhere,
            **self.result.to_json(),
        }

    def lines(self) -> list[str]:
        """Return the result as lines."""
        counts = [f"{self.applied.images:,} images, and {self.applied.unreadable:,} that cannot be used"]
        if self.elsewhere:
            counts.append(f"{self.elsewhere:,} pictures are not directly in a folder of a class, and not used")
        return [*counts, *self.result.lines(), f"written to {self.path}"]


def measure_transfer(
    application: Application,
    protocol: Protocol,
    out: Location,
    *,
    overwrite: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Transfer | None:
    """Measure a checkpoint's features by a linear SVM, and return the result on rank 0.

    `out/features` holds the features, which later calls with the same checkpoint and pictures read. Each set of
    parameters has its own file `out/caltech-*.json`.

    Args:
        application: the network and the folder of classes.
        protocol: the parameters of the measurement.
        out: the folder to write into.
        overwrite: replace the features of another checkpoint or of other pictures.
        tell: is called with sentences on the way.

    Raises:
        UsageError: as `apply.extract`.
        DataError: as `apply.extract`; or there are no classes, a class has too few images, or features that are not
            finite.
    """
    classes, elsewhere = classes_of_pictures(application.images)
    check_sizes(_sizes(classes.values(), protocol), protocol, where=application.images)
    outcome = extract(application, out / FEATURES, overwrite=overwrite)
    if outcome is None:
        return None
    if tell is not None:
        told = "computed" if outcome.fresh else "as computed before"
        tell(f"features of {outcome.summary.images:,} images in {out / FEATURES}, {told}")
    collection = _collection(*read_features(out / FEATURES), classes, where=out / FEATURES)
    if not protocol.clutter:
        collection = without_clutter(collection)
    sizes = {name: int((collection.classes == number).sum()) for number, name in enumerate(collection.names)}
    few = check_sizes(sizes, protocol, where=application.images)
    device = chosen_device(application.execution.device)
    result = measure(collection, protocol, few=few, device=device, tell=tell)
    checkpoint = found_checkpoint(application.checkpoint)
    parameters = json.dumps(result.to_json()["parameters"], sort_keys=True)
    path = out / f"caltech-{hashlib.sha256(parameters.encode()).hexdigest()[:8]}.json"
    transfer = Transfer(
        checkpoint_digest=file_digest(checkpoint),
        view=application.chosen_view,
        image_size=application.image_size or read_checkpoint(checkpoint).image_size,
        result=result,
        applied=outcome.summary,
        features_computed=outcome.fresh,
        elsewhere=elsewhere,
        path=path,
    )
    write_bytes(path, (json_text(transfer.to_json(), indent=2) + "\n").encode())
    return transfer


def classes_of_pictures(images: Location) -> tuple[dict[str, str], int]:
    """Return the class of each picture by its id, and the number of pictures that are not directly in a class's folder.

    A class is a folder directly below `images`. For pictures in shards, the ids are such paths.

    Raises:
        UsageError: there is no such folder.
    """
    store = open_store(images)
    found, elsewhere = {}, 0
    for number in range(len(store)):
        image_id = store.image_id(number)
        folders = (location_in(store, number) or image_id).split("/")[:-1]
        if len(folders) == 1:
            found[image_id] = folders[0]
        else:
            elsewhere += 1
    return found, elsewhere


def _sizes(classes: Iterable[str], protocol: Protocol) -> dict[str, int]:
    counted = collections.Counter(classes)
    return {name: counted[name] for name in sorted(counted) if protocol.clutter or not is_clutter(name)}


def _collection(ids: list[str], features: np.ndarray, classes: Mapping[str, str], *, where: Location) -> Collection:
    """Return the images that have a class, in the order of their ids, so that no order of files changes a draw."""
    rows = sorted((number for number, one in enumerate(ids) if one in classes), key=ids.__getitem__)
    names = sorted({classes[ids[number]] for number in rows})
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place[classes[ids[number]]] for number in rows], np.int64)
    return Collection(tuple(names), labels, finite(features[rows], [ids[number] for number in rows], where=where))
