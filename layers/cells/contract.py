"""What can be assumed about a cell, from this library or elsewhere."""

from typing import Any

import keras
from keras import tree

from ..inputs import KERAS_CELLS
from ..typing import Shape, States, Tensor
from .base import RecurrentCell
from .states import initial_states, shape_of, state_specs


def uses_values(cell: Any) -> bool:
    """Returns whether `call` computes `values`, which is false if a subclass overrides `call`."""
    return isinstance(cell, RecurrentCell) and type(cell).call is RecurrentCell.call


def returns_state(cell: Any) -> bool:
    """Returns whether the output of a Keras cell is known to be its first state."""
    return type(cell) in KERAS_CELLS  # not subclasses, which may return another output


def output_state(cell: Any, states: States) -> Tensor | None:
    """Returns the state that is also the output, or None if no state is known to be."""
    if uses_values(cell):
        return cell.output_state(tree.flatten(states))
    if type(cell) is keras.layers.StackedRNNCells:
        top = states[-1]
        return output_state(cell.cells[-1], top if tree.is_nested(top) else [top])
    return states[0] if returns_state(cell) else None


def output_shape(cell: Any, inputs_shape: Shape) -> Shape:
    """Returns the shape of a cell's output, (batch, ...).

    Args:
        cell: any cell.
        inputs_shape: (batch, ...), the shape of one step.
    """
    size = getattr(cell, "output_size", None)
    if size is not None and (uses_values(cell) or len(inputs_shape) == 2):
        return (inputs_shape[0], *shape_of(size))
    if not cell.built:  # best guess, as in Keras: the output has the shape of the first state
        first = [spec.shape[1:] for spec in tree.flatten(state_specs(cell))[:1]]
        sizes = [*([] if size is None else [shape_of(size)]), *first, inputs_shape[1:]]
        return (inputs_shape[0], *sizes[0])
    output: Any = _Output(cell)(keras.KerasTensor(inputs_shape, cell.compute_dtype))
    return tuple(output.shape)


class _Output(keras.Operation):
    """Calls a cell on symbolic inputs, the only way to get the output shape of a foreign cell."""

    def __init__(self, cell: Any) -> None:
        super().__init__(name="output")
        self.cell = cell

    def call(self, inputs: Tensor) -> Tensor:
        output, _ = self.cell(inputs, initial_states(self.cell, keras.ops.shape(inputs)[0]))
        return output
