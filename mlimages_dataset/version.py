"""The version: in a module of its own, because the package itself leads to everything."""

__version__ = "0.1.0"
