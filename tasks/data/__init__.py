"""From files and data sets to batches: sources, vocabularies, images, splits."""
