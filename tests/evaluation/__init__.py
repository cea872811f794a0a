"""Tests of `mlimages_dataset.evaluation`."""
