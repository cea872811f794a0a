"""How work is run: stages, their records and journal, output folders, engines."""
