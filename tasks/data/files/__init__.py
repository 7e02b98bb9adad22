"""The user's own files, in common formats."""
