"""The states of any cell: their structure, initial values, and masking."""

from typing import Any

import keras
from keras import ops, tree

from ..typing import Shape, Tensor


def initial_states(cell: Any, batch_size: Any) -> list[Any]:
    """Returns the initial states of a cell as a list, which may contain lists of states.

    They come from the cell's `get_initial_state`; without one they are zeros of `state_size`, where
    an integer is a width, a tuple in the list is a shape, and a list is a group of states. As in
    Keras, integer states are cast to floating point.
    """
    if hasattr(cell, "get_initial_state"):
        states = cell.get_initial_state(batch_size=batch_size)
        states = list(states) if tree.is_nested(states) else [states]
        return tree.map_structure(lambda state: ops.cast(state, cell.compute_dtype), states)

    def zeros(size):
        if isinstance(size, list):
            return [zeros(part) for part in size]
        shape = (batch_size, *size) if isinstance(size, tuple) else (batch_size, size)
        return ops.zeros(shape, dtype=cell.compute_dtype)

    sizes = cell.state_size
    return [zeros(size) for size in sizes] if isinstance(sizes, list | tuple) else [zeros(sizes)]


def state_specs(cell: Any, batch_size: int | None = None) -> list[Any]:
    """Returns the structure of a cell's states, with a `KerasTensor` for each state."""
    if hasattr(cell, "state_sizes"):  # a cell of this library: their shapes are declared
        shapes = [(batch_size, *shape_of(size)) for size in cell.state_sizes]
        return [keras.KerasTensor(shape, cell.compute_dtype) for shape in shapes]
    return tree.map_structure(
        lambda state: keras.KerasTensor((batch_size, *state.shape[1:]), cell.compute_dtype),
        initial_states(cell, 1),
    )


def pack_states(structure: Any, states: Any, cell: Any) -> Any:
    """Packs states, nested or flat, into a structure.

    Raises:
        ValueError: the number of states is wrong.
    """
    flat, expected = tree.flatten(states), len(tree.flatten(structure))
    if len(flat) != expected:
        raise ValueError(
            f"{type(cell).__name__} got {expected} states but returned {len(flat)}. Its `call` "
            "must return `output, [state, ...]` with a new value for every state."
        )
    return tree.pack_sequence_as(structure, flat)


def expand_mask(valid: Tensor, like: Tensor) -> Tensor:
    """Returns a mask (batch, [time]) with axes of size 1 appended, up to the rank of a tensor."""
    if len(like.shape) < len(valid.shape):
        raise ValueError(
            f"With a mask, outputs and states need a batch axis, got shape {tuple(like.shape)}. "
            "Return one value for every row of the batch."
        )
    for _ in range(len(like.shape) - len(valid.shape)):
        valid = ops.expand_dims(valid, -1)
    return valid


def hold(valid: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Returns `new` in the valid rows and `old` in the others, in the dtype of `old`."""
    if new.dtype != old.dtype:
        new = ops.cast(new, old.dtype)
    return ops.where(expand_mask(valid, new), new, old)


def zero_padding(mask: Tensor, x: Tensor) -> Tensor:
    """Returns x (batch, time, ...) with zeros at padded steps.

    NaN or infinity would otherwise reach the gradients, since zero times NaN is NaN.
    """
    return ops.where(expand_mask(mask, x), x, ops.zeros_like(x))


def shape_of(size: int | Shape) -> Shape:
    """Returns the shape of an output or state of a given width or shape, without the batch axis."""
    return (size,) if isinstance(size, int) else tuple(size)


def size_of(shape: Shape) -> int | Shape | None:
    """Returns the width that a shape without the batch axis represents, or the shape itself."""
    return shape[0] if len(shape) == 1 else shape
