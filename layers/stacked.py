"""Several cells stacked into one."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Self, Unpack, cast

import keras
from keras import ops

from .arguments import LayerOptions
from .cells.base import RecurrentCell
from .cells.contract import uses_values
from .cells.states import shape_of
from .typing import Shape, States, Tensor
from .wrappers.base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class StackedCells(RecurrentCell):
    """Stacks cells into one cell: at every step, each cell reads the output of the one below.

        x_1 = x,    x_{k+1}, states_k' = cell_k(x_k, states_k),    output = x_{K+1}

    It computes the same as stacked layers, in a single loop. Its states are those of all cells in
    one flat list, from the bottom up, named cell_0_h, cell_0_c, cell_1_h, ...

    Args:
        cells: recurrent cells of any kinds and sizes, including wrapped ones.
        **kwargs: arguments of `keras.layers.Layer`; `dtype` defaults to that of the first cell.

    Call arguments:
        inputs: (batch, features).
        states: the states of all cells, each (batch, size).
        training: passed to the cells.

    Returns:
        `(output of the last cell, new states)`.

    Raises:
        ValueError, TypeError: `cells` is empty or holds something other than cells.

    Example:
        >>> layer = RNN(StackedCells([LSTMCell(5), GRUCell(4)]), return_state=True)
        >>> output, *states = layer(np.ones((2, 6, 3)))
        >>> tuple(output.shape), [tuple(state.shape) for state in states]
        ((2, 4), [(2, 5), (2, 5), (2, 4)])
    """

    def __init__(self, cells: Iterable[keras.layers.Layer], **kwargs: Unpack[LayerOptions]) -> None:
        if not isinstance(cells, Iterable) or isinstance(cells, str):
            raise TypeError(f"`cells` must be a list of cells, got {cells!r}.")
        cells = list(cells)
        if not cells:
            raise ValueError("`cells` must contain at least one cell, got none.")
        # `CellWrapper` gives the cells of other libraries the attributes of a `RecurrentCell`.
        wrapped = [cell if uses_values(cell) else CellWrapper(cell) for cell in cells]
        kwargs.setdefault("dtype", wrapped[0].dtype_policy)
        super().__init__(**kwargs)
        self.cells = wrapped
        self.state_names = tuple(
            f"cell_{number}_{name}"
            for number, cell in enumerate(wrapped)
            for name in cell.state_names
        )
        self.state_size = [size for cell in wrapped for size in cell.state_sizes]
        self.output_size = wrapped[-1].output_size
        self.output_name = f"cell_{len(wrapped) - 1}_{wrapped[-1].output_name}"
        self.noise_size = sum(cell.noise_size for cell in wrapped)

    def build(self, input_shape: Shape) -> None:
        self.features = cast(int, input_shape[-1])
        for cell in self.cells:
            if not cell.built:
                cell.build(input_shape)
                cell.built = True
            input_shape = (input_shape[0], *shape_of(cell.output_size))
        self.output_size = self.cells[-1].output_size  # some cells only know it after `build`
        self.built = True

    def noise(self, shape: Shape) -> Tensor:
        return ops.concatenate([c.noise(shape) for c in self.cells if c.noise_size], axis=-1)

    def _states_by_cell(self, states: States) -> list[list[Tensor]]:
        """Splits the flat list of states into one list per cell."""
        states, by_cell = self.unpack(states), []
        for cell in self.cells:
            count = len(cell.state_sizes)
            by_cell.append(list(states[:count]))
            states = states[count:]
        return by_cell

    @contextlib.contextmanager
    def sequence(self, inputs: Tensor, states: States, training: bool) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for cell, own_states in zip(self.cells, self._states_by_cell(states), strict=True):
                stack.enter_context(cell.sequence(inputs, own_states, training))
                # The next cell reads inputs of the size of this cell's output.
                batch = ops.shape(inputs)[0]
                inputs = ops.zeros((batch, *shape_of(cell.output_size)), dtype=inputs.dtype)
            yield

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        noise_size = self.noise_size if training else 0
        self.check_noise(inputs, training)
        features = inputs.shape[-1] - noise_size
        x, noise = inputs[..., :features], inputs[..., features:]
        all_values = {}
        pairs = zip(self.cells, self._states_by_cell(states), strict=True)
        for number, (cell, own_states) in enumerate(pairs):
            if training and cell.noise_size:
                own_noise, noise = noise[..., : cell.noise_size], noise[..., cell.noise_size :]
                x = ops.concatenate([x, own_noise], axis=-1)
            values = cell.values(x, own_states, training)
            x = values[cell.output_name]
            all_values |= {f"cell_{number}_{name}": value for name, value in values.items()}
        return all_values

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        return [
            state for cell in self.cells for state in cell.get_initial_state(batch_size=batch_size)
        ]

    def get_config(self) -> dict[str, Any]:
        cells = [cell.cell if type(cell) is CellWrapper else cell for cell in self.cells]
        serialize = keras.saving.serialize_keras_object
        return {**super().get_config(), "cells": [serialize(cell) for cell in cells]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        return cls([deserialize(cell) for cell in config.pop("cells")], **config)
