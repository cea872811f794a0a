"""Does the recipe learn? Every loss, over learning rates, on real photographs at the true number of classes."""
