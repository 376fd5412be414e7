"""Labels that others publish, as records for training."""
