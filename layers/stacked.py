"""Several cells over one another as one cell."""

import contextlib

import keras
from keras import ops

from .cells.base import RecurrentCell
from .wrappers.base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class StackedCells(RecurrentCell):
    """Cells over one another as one cell: each reads the output of the one below, at every step.

        x_1 = x,    x_{k+1}, states_k' = cell_k(x_k, states_k),    output = x_{K+1}

    The same numbers as layers over one another, in one loop. Its states are those of all cells in
    one flat list, from the lowest up, called cell_0_h, cell_0_c, cell_1_h, ...

    Args:
        cells: recurrent cells, of any kinds and sizes, wrapped ones too.

    Call arguments:
        inputs: (batch, features).
        states: the states of all cells, each (batch, its width).
        training: passed on to the cells.

    Returns:
        `(output of the last cell, new states)`.

    Raises:
        ValueError, TypeError: `cells` is empty or holds something else.

    Example:
        >>> layer = RNN(StackedCells([LSTMCell(5), GRUCell(4)]), return_state=True)
        >>> output, *states = layer(np.ones((2, 6, 3)))
        >>> tuple(output.shape), [tuple(state.shape) for state in states]
        ((2, 4), [(2, 5), (2, 5), (2, 4)])
    """

    def __init__(self, cells, **kwargs):
        cells = list(cells)
        if not cells:
            raise ValueError("`cells` must hold at least one cell, got none.")
        # A plain wrapper gives a cell of another library the names that ours have.
        cells = [cell if isinstance(cell, RecurrentCell) else CellWrapper(cell) for cell in cells]
        kwargs.setdefault("dtype", cells[0].dtype_policy)
        super().__init__(**kwargs)
        self.cells = cells
        self.state_names = tuple(
            f"cell_{number}_{name}"
            for number, cell in enumerate(cells)
            for name in cell.state_names
        )
        self.state_size = [size for cell in cells for size in cell.state_sizes]
        self.output_size = cells[-1].output_size
        self.output_name = f"cell_{len(cells) - 1}_{cells[-1].output_name}"
        self.noise_size = sum(cell.noise_size for cell in cells)
        self.top_state = len(self.state_size) - len(cells[-1].state_sizes) + cells[-1].top_state

    def build(self, input_shape):
        self.features, width = input_shape[-1], input_shape[-1]
        for cell in self.cells:
            if not cell.built:
                cell.build((input_shape[0], width))
                cell.built = True
            width = cell.output_size
        self.built = True

    def noise(self, shape):
        return ops.concatenate([c.noise(shape) for c in self.cells if c.noise_size], axis=-1)

    def _groups(self, states):
        """Returns the states of each cell."""
        states, groups = self.unpack(states), []
        for cell in self.cells:
            count = len(cell.state_sizes)
            groups.append(list(states[:count]))
            states = states[count:]
        return groups

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        with contextlib.ExitStack() as stack:
            for cell, group in zip(self.cells, self._groups(states), strict=True):
                stack.enter_context(cell.sequence(inputs, group, training))
                # The next cell reads something as wide as this one's output.
                inputs = ops.zeros((ops.shape(inputs)[0], cell.output_size), dtype=inputs.dtype)
            yield

    def values(self, inputs, states, training=False):
        noisy = self.noise_size if training else 0
        self.check_noise(inputs, training)
        x, noise = inputs[:, : inputs.shape[-1] - noisy], inputs[:, inputs.shape[-1] - noisy :]
        found = {}
        for number, (cell, group) in enumerate(zip(self.cells, self._groups(states), strict=True)):
            if training and cell.noise_size:
                own, noise = noise[:, : cell.noise_size], noise[:, cell.noise_size :]
                x = ops.concatenate([x, own], axis=-1)
            values = cell.values(x, group, training)
            x = values[cell.output_name]
            found |= {f"cell_{number}_{name}": value for name, value in values.items()}
        return found

    def get_initial_state(self, batch_size=None):
        return [
            state for cell in self.cells for state in cell.get_initial_state(batch_size=batch_size)
        ]

    def get_config(self):
        cells = [cell.cell if type(cell) is CellWrapper else cell for cell in self.cells]
        serialize = keras.saving.serialize_keras_object
        return {**super().get_config(), "cells": [serialize(cell) for cell in cells]}

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        return cls([deserialize(cell) for cell in config.pop("cells")], **config)
