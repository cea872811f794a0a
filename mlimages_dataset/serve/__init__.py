"""A local page over a build: pictures, their labels and why, categories, and what was found; read-only."""
