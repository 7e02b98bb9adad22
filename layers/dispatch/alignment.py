"""Rows with padding anywhere, for kernels that take it only at the end."""

from keras import ops


class Alignment:
    """Moves the valid steps of every row to its beginning, in their order, and back.

    A kernel that takes only right-padded rows, or none with padding, can then run any mask:

        mask   0 1 0 1 1       row   a b c d e
        align                        b d e a c
        restore                      (b) b b d e      each step: the last valid one up to it

    Args:
        mask: (batch, time), true at valid steps.
    """

    def __init__(self, mask):
        self.time = ops.shape(mask)[1]
        self.mask = mask
        places = ops.arange(self.time, dtype="int32")
        self.order = ops.argsort(ops.where(mask, places, places + self.time), axis=1)
        self.sofar = ops.cumsum(ops.cast(mask, "int32"), axis=1)
        self.count = self.sofar[:, -1]

    def _take(self, x, places):
        """Returns x[b, places[b, t]] for x (batch, time, width)."""
        rows = ops.shape(x)[0]
        first = ops.expand_dims(ops.arange(rows, dtype="int32") * self.time, 1)
        flat = ops.reshape(first + ops.cast(places, "int32"), (-1,))
        width = x.shape[-1]
        found = ops.take(ops.reshape(x, (-1, width)), flat, axis=0)
        return ops.reshape(found, (-1, self.time, width))

    def align(self, x):
        """Returns x with the valid steps first."""
        return self._take(x, self.order)

    def restore(self, aligned):
        """Returns, at every step of the unaligned row, the last valid one up to it."""
        return self._take(aligned, ops.maximum(self.sofar - 1, 0))

    def hold(self, x):
        """Returns x with, at every step, the last valid one up to it."""
        return self.restore(self.align(x))

    def last(self, aligned):
        """Returns the last valid step of every aligned row."""
        places = ops.expand_dims(ops.maximum(self.count - 1, 0), 1)
        rows = ops.shape(aligned)[0]
        first = ops.expand_dims(ops.arange(rows, dtype="int32") * self.time, 1)
        flat = ops.reshape(first + places, (-1,))
        return ops.take(ops.reshape(aligned, (-1, aligned.shape[-1])), flat, axis=0)

    def padding(self, dtype):
        """Returns (batch, time, 1): 1 at the padded steps of an aligned row, else 0."""
        places = ops.expand_dims(ops.arange(self.time, dtype="int32"), 0)
        return ops.cast(ops.expand_dims(places >= ops.expand_dims(self.count, 1), -1), dtype)
