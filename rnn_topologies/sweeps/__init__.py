"""Sweeps: many runs over settings, cells, tasks and seeds, run by Ray Tune.

Every run is an ordinary run folder whose name follows from the sweep and the run's settings. The
folders alone tell which runs are finished, so an interrupted sweep can be resumed without Ray's
help.
"""
