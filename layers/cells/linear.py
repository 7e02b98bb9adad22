"""Recurrences that are linear in the state, for all steps at once instead of one by one."""

import keras
from keras import ops

from .base import Cell

BLOCK = 16  # steps that are taken one by one, in all blocks at once; 8 and 32 were slower


def linear_recurrence(keep, add, initial_state=None):
    """Returns all states of h_t = keep_t * h_{t-1} + add_t, in parallel over time.

    Two steps in a row are one step of the same kind,

        (a, b) then (a', b')  =  (a' a,  a' b + b'),

    so that the steps of a block can be joined, then the blocks, and so on: the number of
    operations that wait for one another grows with the logarithm of time, not with time. On JAX
    `keras.ops.associative_scan` does it; on TensorFlow and PyTorch blocks of 16 steps do, which
    is about five times as fast there. Products
    of `keep` that become too small for floating point become 0, and are 0 also beside what they
    would be added to: with `keep` in [0, 1] nothing need be done in logarithms, and no step
    divides.

    Args:
        keep: (batch, time, units), how much of the old state stays.
        add: (batch, time, units), what comes in.
        initial_state: (batch, units), the state before the first step; zeros if None.

    Returns:
        (batch, time, units). `time` may be unknown.

    Raises:
        ValueError: the shapes do not agree.

    Example:
        >>> halves = np.full((1, 4, 1), 0.5, "float32")
        >>> np.array(linear_recurrence(halves, np.ones_like(halves)))[0, :, 0].tolist()
        [1.0, 1.5, 1.75, 1.875]

    References: Blelloch, 1990, "Prefix sums and their applications"; Martin and Cundy, 2018,
    "Parallelizing linear recurrent neural nets over sequence length".
    """
    keep, add = ops.convert_to_tensor(keep), ops.convert_to_tensor(add)
    if len(keep.shape) != 3 or tuple(keep.shape) != tuple(add.shape):
        raise ValueError(
            "`keep` and `add` must have one shape, (batch, time, units), got "
            f"{tuple(keep.shape)} and {tuple(add.shape)}."
        )
    if keras.backend.backend() == "jax":
        keep, add = ops.associative_scan(_then, (keep, add), axis=1)
    else:
        keep, add = _prefixes(keep, add)
    return add if initial_state is None else add + keep * ops.expand_dims(initial_state, 1)


def _then(first, second):
    """Joins two steps to one."""
    return second[0] * first[0], second[0] * first[1] + second[1]


def _prefixes(keep, add, level=0):
    """Returns (keep, add) of the first t steps joined, for every t."""
    time = keep.shape[1] if isinstance(keep.shape[1], int) else None  # a symbol, on JAX
    if time is not None and time <= BLOCK:
        inner = _one_by_one(ops.unstack(keep, time, axis=1), ops.unstack(add, time, axis=1))
        return [ops.stack(parts, axis=1) for parts in zip(*inner, strict=True)]
    if time is None and level == 1:  # what is left is a step for every 16, of unknown number
        return _doubling(keep, add)
    length = ops.shape(keep)[1]
    blocks = (length + BLOCK - 1) // BLOCK
    keep, add = _in_blocks(keep, 1, blocks), _in_blocks(add, 0, blocks)
    inner = _one_by_one(keep, add)
    kept, added = _prefixes(*inner[-1], level + 1)
    before = _shifted(kept, 1), _shifted(added, 0)
    joined = zip(*(_then(before, step) for step in inner), strict=True)
    whole = [ops.stack(parts, axis=2) for parts in joined]
    return [ops.reshape(x, (-1, blocks * BLOCK, x.shape[-1]))[:, :length] for x in whole]


def _in_blocks(x, rest, blocks):
    """Returns a list of BLOCK tensors (batch, blocks, units): the first steps of all blocks, ..."""
    missing = blocks * BLOCK - ops.shape(x)[1]
    filling = ops.full((ops.shape(x)[0], missing, x.shape[-1]), rest, dtype=x.dtype)
    x = ops.reshape(ops.concatenate([x, filling], axis=1), (-1, blocks, BLOCK, x.shape[-1]))
    return ops.unstack(x, BLOCK, axis=2)


def _one_by_one(keep, add):
    joined = []
    for step in zip(keep, add, strict=True):
        joined.append(_then(joined[-1], step) if joined else step)
    return joined


def _shifted(x, first):
    return ops.concatenate([ops.full_like(x[:, :1], first), x[:, :-1]], axis=1)


def _doubling(keep, add):
    """Joins every step with the one 1, 2, 4, ... before it: more work, but any length."""
    length = ops.shape(keep)[1]

    def join(distance, keep, add):
        kept = ops.maximum(ops.arange(length) - distance, 0)
        inside = ops.reshape(ops.arange(length) >= distance, (1, -1, 1))
        before = (
            ops.where(inside, ops.take(keep, kept, axis=1), ops.ones_like(keep)),
            ops.where(inside, ops.take(add, kept, axis=1), ops.zeros_like(add)),
        )
        return distance * 2, *_then(before, (keep, add))

    start = (ops.convert_to_tensor(1, dtype="int32"), keep, add)
    _, keep, add = ops.while_loop(lambda distance, *_: distance < length, join, start)
    return keep, add


class LinearCell(Cell):
    """A step that is linear in the state, so that a whole sequence can be done at once.

        h' = keep * h + add

    where `keep` and `add` follow from the input alone. `RNN` runs such a cell in parallel over
    time, unless the sequence is very short. A subclass writes `coefficients` in place of `values`.

    Example:
        >>> class Leaky(LinearCell):
        ...     gates = ("h",)
        ...     defaults = {"activation": "linear"}
        ...
        ...     def coefficients(self, inputs, training=False):
        ...         x = self.activation(self.input_product(inputs, training) + self.bias)
        ...         return {"keep": keras.ops.full_like(x, 0.9), "add": 0.1 * x}
        >>> layer = RNN(Leaky(4))
        >>> layer.explain((32, 1000, 3)).kernel, tuple(layer(np.ones((2, 1000, 3))).shape)
        ('parallel over time', (2, 4))
    """

    without = (
        *("recurrent_initializer", "recurrent_regularizer", "recurrent_constraint"),
        "recurrent_dropout",
    )

    @property
    def recurrent_shape(self):
        return None

    def coefficients(self, inputs, training=False) -> dict:
        """Returns `keep`, `add` and whatever else the equations name.

        Args:
            inputs: one step, (batch, features), or a whole sequence, (batch, time, features).
            training: whether dropout is applied.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `coefficients`.")

    def values(self, inputs, states, training=False):
        (h,) = self.unpack(states)
        named = self.coefficients(inputs, training)
        keep, add = named.pop("keep"), named.pop("add")
        return {**named, "h": keep * h + add}
