"""Tests of `mlimages_dataset.core`."""
