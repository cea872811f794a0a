"""Tests of images: downloads, shards, ingestion, subsets, duplicates."""
