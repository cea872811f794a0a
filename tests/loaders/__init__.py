"""Tests of data sets, samplers, transforms and loaders."""
