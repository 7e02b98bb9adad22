"""Which cells a test of a task tries: all of them, but only three with every setting."""

from rnn_topologies import layers

THOROUGHLY = ("simple_rnn", "lstm", "gru")


def with_each(settings, usual):
    """Returns (cell, setting) for every cell; for most of them with the usual setting alone."""
    return [
        (cell, setting)
        for cell in layers.CELLS
        for setting in settings
        if cell in THOROUGHLY or setting == usual
    ]
