"""Quality of labels: from arrays to counts."""
