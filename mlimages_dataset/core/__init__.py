"""The ground floor: errors, places, configurations, image ids, compiled loops."""
