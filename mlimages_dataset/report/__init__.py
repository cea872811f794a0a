"""The HTML page that describes a build."""
