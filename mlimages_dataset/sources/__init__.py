"""Readers of collections' files: class lists, annotations, publishers' files."""
