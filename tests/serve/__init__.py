"""Tests of `mlimages_dataset.serve`."""
