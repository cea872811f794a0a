"""A small world with the faults of Open Images' boxes, in which detectors are trained and compared."""
