"""Tests of annotations, their augmentation, splits and statistics."""
