"""Tests of `mlimages_dataset.tables`."""
