"""Metrics, computed on decoded outputs."""
