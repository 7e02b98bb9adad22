"""Recorded runs: schema, storage, comparison, reloaded models."""
