"""Data sets that TFDS lacks, one folder each, and `store`, which keeps them on disk."""
