"""Tests of `mlimages_dataset.exports`."""
