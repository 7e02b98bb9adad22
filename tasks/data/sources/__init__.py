"""Named data sets: generated ones, TFDS builders, and any set in TFDS."""
