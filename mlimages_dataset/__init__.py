"""One multi-label data set, grounded in WordNet, from several labelled image collections.

>>> import mlimages_dataset as ml
>>> vocabulary = ml.build_vocabulary(imagenet="packaged:imagenet11k.txt")
>>> len(vocabulary)
10961

Each name is imported on first use, so `import mlimages_dataset` itself is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mlimages_dataset.version import __version__ as __version__

if TYPE_CHECKING:
    from mlimages_dataset.api.annotations import Annotations, Predictions, annotate
    from mlimages_dataset.api.builds import Build, run
    from mlimages_dataset.api.image_ids import image_id, image_ids
    from mlimages_dataset.api.labels import Labels, augment
    from mlimages_dataset.api.pairs import Pairs, cooccurrence
    from mlimages_dataset.api.regions import Regions, regions
    from mlimages_dataset.api.rules import Rules, learn_rules
    from mlimages_dataset.api.show import show
    from mlimages_dataset.api.shown import Shown
    from mlimages_dataset.api.start import start
    from mlimages_dataset.api.vocabularies import build_vocabulary, read_vocabulary, write_vocabulary
    from mlimages_dataset.core.errors import MLImagesError
    from mlimages_dataset.tables.schemas import Origin
    from mlimages_dataset.vocab.vocabulary import Vocabulary

__all__ = [
    "Annotations",
    "Build",
    "Labels",
    "MLImagesError",
    "Origin",
    "Pairs",
    "Predictions",
    "Regions",
    "Rules",
    "Shown",
    "Vocabulary",
    "annotate",
    "augment",
    "build_vocabulary",
    "cooccurrence",
    "image_id",
    "image_ids",
    "learn_rules",
    "read_vocabulary",
    "regions",
    "run",
    "show",
    "start",
    "write_vocabulary",
]

_MODULES = {
    "Annotations": "api.annotations",
    "Build": "api.builds",
    "Labels": "api.labels",
    "MLImagesError": "core.errors",
    "Origin": "tables.schemas",
    "Pairs": "api.pairs",
    "Predictions": "api.annotations",
    "Regions": "api.regions",
    "Rules": "api.rules",
    "Shown": "api.shown",
    "Vocabulary": "vocab.vocabulary",
    "annotate": "api.annotations",
    "build_vocabulary": "api.vocabularies",
    "cooccurrence": "api.pairs",
    "image_id": "api.image_ids",
    "image_ids": "api.image_ids",
    "learn_rules": "api.rules",
    "read_vocabulary": "api.vocabularies",
    "regions": "api.regions",
    "run": "api.builds",
    "show": "api.show",
    "start": "api.start",
    "write_vocabulary": "api.vocabularies",
}


if not TYPE_CHECKING:  # otherwise type checkers would accept any name

    def __getattr__(name: str) -> object:
        if name == "augment":  # a package that is also the function
            return importlib.import_module(f"{__name__}.augment")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
