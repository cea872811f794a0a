"""Tests of `mlimages_dataset.sources`."""
