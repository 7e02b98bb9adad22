"""Training a run: experiment, loop, checkpoints, strategy, environment."""
