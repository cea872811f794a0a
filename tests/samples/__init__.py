"""Tests of the packaged facts and photographs."""
