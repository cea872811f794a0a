"""Running of stages: their records and journal, output folders, engines."""
