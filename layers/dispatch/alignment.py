"""Re-aligning rows with padding anywhere, for kernels that support it only at the end."""

from typing import Any

from keras import ops

from ..typing import Tensor


class Alignment:
    """Moves the valid steps of every row to the front, in order, and back.

    A kernel that supports only right-padded rows, or no padding at all, can then run any mask:

        mask   0 1 0 1 1       row   a b c d e
        align                        b d e a c
        restore                      (b) b b d e      each step: the last valid one up to it

    Args:
        mask: (batch, time), true at valid steps.
    """

    def __init__(self, mask: Tensor):
        self.time = ops.shape(mask)[1]
        self.mask = mask
        steps = ops.arange(self.time, dtype="int32")
        self.order = ops.argsort(ops.where(mask, steps, steps + self.time), axis=1)
        self.valid_so_far = ops.cumsum(ops.cast(mask, "int32"), axis=1)
        self.count = self.valid_so_far[:, -1]

    def _take(self, x, indices):
        """Returns x[b, indices[b, t]] for x (batch, time, features)."""
        batch = ops.shape(x)[0]
        offsets = ops.expand_dims(ops.arange(batch, dtype="int32") * self.time, 1)
        flat = ops.reshape(offsets + ops.cast(indices, "int32"), (-1,))
        features = x.shape[-1]
        taken = ops.take(ops.reshape(x, (-1, features)), flat, axis=0)
        return ops.reshape(taken, (-1, self.time, features))

    def align(self, x: Tensor) -> Tensor:
        """Returns x with the valid steps first."""
        return self._take(x, self.order)

    def restore(self, aligned: Tensor) -> Tensor:
        """Returns the unaligned rows, where each step holds the last valid one up to it."""
        return self._take(aligned, ops.maximum(self.valid_so_far - 1, 0))

    def last(self, aligned: Tensor) -> Tensor:
        """Returns the last valid step of every aligned row, (batch, features)."""
        indices = ops.expand_dims(ops.maximum(self.count - 1, 0), 1)
        batch = ops.shape(aligned)[0]
        offsets = ops.expand_dims(ops.arange(batch, dtype="int32") * self.time, 1)
        flat = ops.reshape(offsets + indices, (-1,))
        return ops.take(ops.reshape(aligned, (-1, aligned.shape[-1])), flat, axis=0)

    def padding(self, dtype: Any) -> Tensor:
        """Returns (batch, time, 1): 1 at the padded steps of an aligned row, else 0."""
        steps = ops.expand_dims(ops.arange(self.time, dtype="int32"), 0)
        return ops.cast(ops.expand_dims(steps >= ops.expand_dims(self.count, 1), -1), dtype)
