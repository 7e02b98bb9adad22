"""Trivial and classical baselines that every recurrent model is compared with."""
