"""Tests of `mlimages_dataset.report`."""
