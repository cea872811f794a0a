"""One multi-label data set, grounded in WordNet, from several labelled image collections."""

__version__ = "0.1.0"
