"""Vocabularies grounded in WordNet: sources, matching, merging, hierarchy, validation."""
