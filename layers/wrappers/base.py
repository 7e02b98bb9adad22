"""The base class of wrappers around cells."""

import contextlib
from collections.abc import Iterator
from typing import Any, Self, Unpack, cast

import keras
from keras import ops, tree

from ..arguments import LayerOptions
from ..cells.base import RecurrentCell, takes_training
from ..cells.contract import output_shape, returns_state, uses_values
from ..cells.states import initial_states, pack_states, size_of, state_specs
from ..typing import Shape, States, Tensor


@keras.saving.register_keras_serializable(package="rnn_topologies")
class CellWrapper(RecurrentCell):
    """A cell around another cell: the base class of the wrappers.

    A subclass overrides `transform_values`, which receives the values of a step of the inner cell,
    and may pass it other states by overriding `transform_states`. The wrapper has the states of
    the inner cell, with the same names and sizes. The inner cell may be any cell that `RNN`
    accepts, including another wrapper. The states of a cell from another library, even if
    nested, form one flat list and are named state_0, state_1, ...; its output is named output,
    unless it is known to be the first state.

    Args:
        cell: the inner cell.
        **kwargs: arguments of `keras.layers.Layer`; `dtype` defaults to that of the inner cell.

    Raises:
        TypeError: `cell` is not a recurrent cell.
    """

    cell: Any
    state_size: Any  # widths, or shapes without the batch axis
    output_size: Any
    own_noise_size: int = 0  # random numbers per training step, without those of the inner cell

    def __init__(self, cell: keras.layers.Layer, **kwargs: Unpack[LayerOptions]) -> None:
        is_cell = hasattr(cell, "state_size") and not isinstance(cell, keras.layers.RNN)
        if not isinstance(cell, keras.layers.Layer) or not is_cell:
            raise TypeError(
                f"{type(self).__name__} wraps a recurrent cell, such as `LSTMCell(32)`, got "
                f"{cell!r}."
            )
        kwargs.setdefault("dtype", cell.dtype_policy)
        super().__init__(**kwargs)
        self.cell = cell
        if not hasattr(cell, "state_names"):
            self.state_size = _flat_sizes(cell)
            self.state_names = tuple(f"state_{n}" for n in range(len(self.state_size)))
        else:
            self.state_size, self.state_names = cell.state_size, tuple(cell.state_names)
        if not self.state_names:
            raise ValueError(f"{type(self).__name__} needs a cell with states, got {cell!r}.")
        self.output_name = "output"
        if uses_values(cell):
            self.output_name = cell.output_name
        elif returns_state(cell):
            self.output_name = self.state_names[0]
        self.output_size = getattr(cell, "output_size", None) or self.state_sizes[0]

    def build(self, input_shape: Shape) -> None:
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True
        if getattr(self.cell, "output_size", None) is None:
            self.output_size = size_of(output_shape(self.cell, input_shape)[1:])
        self.features = cast(int, input_shape[-1])
        self.built = True

    @property
    def noise_size(self) -> int:
        """Random numbers per training step, for the wrapper and the inner cell."""
        return self.own_noise_size + getattr(self.cell, "noise_size", 0)

    def noise(self, shape: Shape) -> Tensor:
        parts = []
        if getattr(self.cell, "noise_size", 0):
            parts.append(self.cell.noise(shape))
        if self.own_noise_size:
            shape = (*shape, self.own_noise_size)
            dtype, seed = self.compute_dtype, self.seed_generator
            parts.append(keras.random.uniform(shape, dtype=dtype, seed=seed))
        return ops.concatenate(parts, axis=-1)

    @contextlib.contextmanager
    def sequence(self, inputs: Tensor, states: States, training: bool) -> Iterator[None]:
        if isinstance(self.cell, RecurrentCell):
            with self.cell.sequence(inputs, states, training):
                yield
            return
        # Keras's SimpleRNNCell draws its masks even outside training.
        drawing = _with_keras_dropout(self.cell)
        if drawing:  # outside the loop, whose steps reuse the masks
            self._call_cell(inputs[..., : self.features], self.unpack(states), training)
        try:
            yield
        finally:
            for cell in drawing:
                cell.reset_dropout_mask()
                cell.reset_recurrent_dropout_mask()

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        states, noise = self.unpack(states), None
        features = inputs[..., : self.features]
        self.check_noise(inputs, training)
        if training and self.own_noise_size:
            start = inputs.shape[-1] - self.own_noise_size
            inputs, noise = inputs[..., :start], inputs[..., start:]
        values = self._inner_values(inputs, self.transform_states(states, training), training)
        changed = self.transform_values(values, features, states, noise)
        first = self.state_names[0]
        if self.output_name == "output" and values["output"] is values[first]:
            # The cell returns its first state: change both in the same way.
            changed = {"output": changed.get(first, values[first]), **changed}
        return {**values, **changed}

    def _inner_values(self, inputs: Tensor, states: States, training: bool) -> dict[str, Tensor]:
        if uses_values(self.cell):
            return self.cell.values(inputs, states, training)
        output, new_states = self._call_cell(inputs, states, training)
        return {"output": output, **dict(zip(self.state_names, new_states, strict=True))}

    def _call_cell(self, inputs, states, training):
        """Returns `(output, flat list of new states)` of a cell that has no `values`."""
        states = list(states)
        if not _is_flat(self.cell.state_size):
            states = tree.pack_sequence_as(initial_states(self.cell, 1), states)
        options = {"training": training} if takes_training(self.cell) else {}
        output, new_states = self.cell(inputs, states, **options)
        return output, tree.flatten(pack_states(states, new_states, self.cell))

    def transform_states(self, states: States, training: bool) -> States:
        """Returns the states that the inner cell reads; by default those of the wrapper."""
        return states

    def transform_values(
        self,
        values: dict[str, Tensor],
        inputs: Tensor,
        states: States,
        noise: Tensor | None,
    ) -> dict[str, Tensor]:
        """Returns the values that the wrapper adds to those of the inner cell, or replaces.

        Args:
            values: values of the inner cell, including its new states and its output.
            inputs: (batch, features) of this step.
            states: the states before the step.
            noise: (batch, own_noise_size) in [0, 1) in training, else None.
        """
        return {}

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        return tree.flatten(initial_states(self.cell, batch_size))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)


def _is_flat(state_size):
    sizes = state_size if isinstance(state_size, list | tuple) else [state_size]
    return all(isinstance(size, int) for size in sizes)


def _flat_sizes(cell):
    """Returns the width or shape of each state of a cell from another library."""
    sizes = cell.state_size
    may_be_a_shape = isinstance(sizes, tuple) and hasattr(cell, "get_initial_state")
    if _is_flat(sizes) and not may_be_a_shape:
        return list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    return [size_of(tuple(spec.shape[1:])) for spec in tree.flatten(state_specs(cell))]


def _with_keras_dropout(cell):
    """Returns the Keras cells that draw a dropout mask at the first step of a sequence."""
    inner = [part for other in getattr(cell, "cells", ()) for part in _with_keras_dropout(other)]
    draws = hasattr(cell, "reset_dropout_mask") and (cell.dropout or cell.recurrent_dropout)
    return [cell, *inner] if draws else inner
