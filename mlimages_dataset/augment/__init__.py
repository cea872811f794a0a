"""Augmented label tables: annotations, ancestors, co-occurrence, splits, statistics, audits.

The package can be called: it is also the public function `mlimages_dataset.augment`, whose name it occupies.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


class _Augment(ModuleType):
    def __call__(self, *arguments: object, **options: object) -> object:
        """Add ancestors and strongly co-occurring categories to annotations; see `api.labels.augment`."""
        return importlib.import_module("mlimages_dataset.api.labels").augment(*arguments, **options)


sys.modules[__name__].__class__ = _Augment
