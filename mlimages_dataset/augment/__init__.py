"""Augmented label tables: annotations, ancestors, co-occurrence, splits, statistics, audits.

The package can be called: it is also the public function `mlimages_dataset.augment`, whose name it occupies.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class _Augment(ModuleType):
    def __call__(self, *arguments: object, **options: object) -> object:
        """Add ancestors and strongly co-occurring categories to annotations; see `api.labels.augment`."""
        return _function()(*arguments, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the function, for `inspect` and editors."""
        return inspect.signature(_function())


def _function() -> Callable[..., object]:
    found: Callable[..., object] = importlib.import_module("mlimages_dataset.api.labels").augment
    return found


sys.modules[__name__].__class__ = _Augment
