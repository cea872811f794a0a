"""Whole builds: from class lists to the report, in one TOML file."""
