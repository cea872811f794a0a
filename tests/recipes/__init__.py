"""Tests of `mlimages_dataset.recipes`."""
