"""Cells that are linear in the state, for all time steps at once."""

from typing import Any

import keras
from keras import ops

from ..typing import Tensor

BLOCK = 16  # steps taken one by one, in all blocks at once; 8 and 32 were slower


def run_parallel(
    layer: Any, sequences: Tensor, states: list[Tensor], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs all steps of a `LinearCell` at once: a padded step keeps everything and adds nothing."""
    coefficients = layer.cell.coefficients(sequences, training)
    keep, add = coefficients["keep"], coefficients["add"]
    if mask is not None:
        valid = ops.expand_dims(mask, -1)
        keep = ops.where(valid, keep, ops.ones_like(keep))
        add = ops.where(valid, add, ops.zeros_like(add))
    outputs = linear_recurrence(keep, add, states[0])
    last = outputs[:, -1]
    return last, outputs, [last]


def linear_recurrence(keep: Tensor, add: Tensor, initial_state: Tensor | None = None) -> Tensor:
    """Returns all states of h_t = keep_t * h_{t-1} + add_t, in parallel over time.

    Two consecutive steps combine into one of the same kind,

        (a, b) then (a', b')  =  (a' a,  a' b + b'),

    and this is associative: the steps of a block can be combined, then the blocks, and so on. The
    number of dependent operations grows with the logarithm of time instead of time. On JAX this is
    `keras.ops.associative_scan`; on TensorFlow and PyTorch, blocks of 16 steps, which are about
    five times as fast there. A product of `keep` that underflows becomes 0, which is also what it
    contributes to a sum: with `keep` in [0, 1] there is no need for logarithms, and no step
    divides.

    Args:
        keep: (batch, time, units), how much of the old state is kept.
        add: (batch, time, units), what is added.
        initial_state: (batch, units), the state before the first step; zeros if None.

    Returns:
        (batch, time, units). `time` may be unknown.

    Raises:
        ValueError: the shapes differ.

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
            "`keep` and `add` must have the same shape, (batch, time, units), got "
            f"{tuple(keep.shape)} and {tuple(add.shape)}."
        )
    if keras.backend.backend() == "jax":
        keep, add = ops.associative_scan(_combine, (keep, add), axis=1)
    else:
        keep, add = _prefixes(keep, add)
    return add if initial_state is None else add + keep * ops.expand_dims(initial_state, 1)


def _combine(first, second):
    """Combines two consecutive steps into one."""
    return second[0] * first[0], second[0] * first[1] + second[1]


def _prefixes(keep, add, level=0):
    """Returns (keep, add) of the first t steps combined, for every t."""
    time = keep.shape[1] if isinstance(keep.shape[1], int) else None  # a symbol, on JAX
    if time is not None and time <= BLOCK:
        inner = _sequential_prefixes(
            ops.unstack(keep, time, axis=1), ops.unstack(add, time, axis=1)
        )
        return [ops.stack(parts, axis=1) for parts in zip(*inner, strict=True)]
    if time is None and level == 1:  # one step per block is left, an unknown number
        return _doubling_prefixes(keep, add)
    length = ops.shape(keep)[1]
    blocks = (length + BLOCK - 1) // BLOCK
    keep, add = _split_into_blocks(keep, 1, blocks), _split_into_blocks(add, 0, blocks)
    inner = _sequential_prefixes(keep, add)
    last_keep, last_add = inner[-1]
    block_keep, block_add = _prefixes(last_keep, last_add, level + 1)
    previous = _shift(block_keep, 1), _shift(block_add, 0)
    combined = zip(*(_combine(previous, step) for step in inner), strict=True)
    stacked = [ops.stack(parts, axis=2) for parts in combined]
    return [ops.reshape(x, (-1, blocks * BLOCK, x.shape[-1]))[:, :length] for x in stacked]


def _split_into_blocks(x, fill_value, blocks):
    """Returns BLOCK tensors (batch, blocks, units): the first steps of all blocks, and so on."""
    missing = blocks * BLOCK - ops.shape(x)[1]
    padding = ops.full((ops.shape(x)[0], missing, x.shape[-1]), fill_value, dtype=x.dtype)
    x = ops.reshape(ops.concatenate([x, padding], axis=1), (-1, blocks, BLOCK, x.shape[-1]))
    return ops.unstack(x, BLOCK, axis=2)


def _sequential_prefixes(keep, add):
    prefixes = []
    for step in zip(keep, add, strict=True):
        prefixes.append(_combine(prefixes[-1], step) if prefixes else step)
    return prefixes


def _shift(x, first):
    return ops.concatenate([ops.full_like(x[:, :1], first), x[:, :-1]], axis=1)


def _doubling_prefixes(keep, add):
    """Combines every step with the one 1, 2, 4, ... before it: more work, but for any length."""
    length = ops.shape(keep)[1]

    def combine(distance, keep, add):
        indices = ops.maximum(ops.arange(length) - distance, 0)
        inside = ops.reshape(ops.arange(length) >= distance, (1, -1, 1))
        previous = (
            ops.where(inside, ops.take(keep, indices, axis=1), ops.ones_like(keep)),
            ops.where(inside, ops.take(add, indices, axis=1), ops.zeros_like(add)),
        )
        return distance * 2, *_combine(previous, (keep, add))

    start = (ops.convert_to_tensor(1, dtype="int32"), keep, add)
    _, keep, add = ops.while_loop(lambda distance, *_: distance < length, combine, start)
    return keep, add
