"""Losses: one file per loss, and shared parts."""
