"""Training: one run from its data to its record, with checkpoints and data parallelism."""
