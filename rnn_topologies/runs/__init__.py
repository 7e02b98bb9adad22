"""Recorded runs: schema, storage, tables, comparison, trained models."""
