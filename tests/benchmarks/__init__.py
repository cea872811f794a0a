"""Measurements: they print figures beside a named peer and gate nothing."""
