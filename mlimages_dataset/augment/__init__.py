"""Augmented label tables: annotations, ancestors, co-occurrence, splits, statistics, audits."""
