"""Tests of losses, models, metrics and the trainer."""
