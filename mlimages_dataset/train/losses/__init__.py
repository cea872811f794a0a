"""What a run minimises: one file per loss, and what they share."""
