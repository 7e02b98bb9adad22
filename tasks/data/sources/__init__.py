"""Named data sets: generated ones, our TFDS builders, and any data set in TFDS."""
