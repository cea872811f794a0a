"""What a run minimises: one file a loss, and what they share."""
