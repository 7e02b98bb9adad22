"""Recurrent cells: one time step each, one file per cell."""
