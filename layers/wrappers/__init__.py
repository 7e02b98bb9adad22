"""Wrappers for any cell: zoneout, residual connections, recurrent dropout and more."""
