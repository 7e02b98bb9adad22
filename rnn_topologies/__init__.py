"""Five ways in which a recurrent network maps sequences to sequences, and their layers."""

__version__ = "0.1.0"
