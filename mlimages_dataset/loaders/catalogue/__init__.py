"""The catalogue: which pictures have labels and what they are, joined once and kept on mapped memory.

A label table and image stores meet by image id. The result is a folder of this machine's cache, named by a digest of
what it was made from: Arrow files that open at once and that all processes share. A row is a labelled picture that can
be read. Rows stand in the order of the stores, so neighbouring rows lie together on the disk, and the order does not
depend on which process made the catalogue or on how the labels were built.
"""

from __future__ import annotations

from mlimages_dataset.loaders.catalogue.layout import Facts
from mlimages_dataset.loaders.catalogue.opening import open_catalogue, split_folder
from mlimages_dataset.loaders.catalogue.read import Catalogue

__all__ = ["Catalogue", "Facts", "open_catalogue", "split_folder"]
