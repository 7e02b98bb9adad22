"""Metrics, computed from predictions and decoded text."""
