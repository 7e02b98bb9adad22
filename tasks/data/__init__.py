"""Data sets, user files and batches: sources, vocabularies, images, splits and batching."""
