"""Tasks, one file per task."""
