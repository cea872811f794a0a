"""Tests of `mlimages_dataset.pipeline`."""
