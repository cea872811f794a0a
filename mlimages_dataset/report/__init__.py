"""The page that tells of a build."""
