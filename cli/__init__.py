"""The command `mlimages-build` (imported as `mlimages_dataset.cli`)."""
