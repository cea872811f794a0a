"""Tests of weights in and out."""
