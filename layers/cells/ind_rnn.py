"""Independently recurrent network: a cell and its layer."""

import keras

from ..cell_layer import CellLayer
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class IndRNNCell(Cell):
    """One step of an independently recurrent network: every unit remembers itself alone.

        h' = relu(x W + u * h + b)

    The gradient of a unit over n steps holds the n-th power of its own u and nothing else, so
    that a bound on u is a bound on it; units meet in the next layer. Made to be stacked deep,
    and to be read with ReLU.

    Weights:
        kernel W (features, units), recurrent_kernel u (1, units), bias b (units,). By default
        u starts in [0, 1] and is kept in [-1, 1], so that no state grows by itself. The paper
        allows 2 ** (1 / time) for sequences of `time` steps.

    Args:
        {arguments}

    Call arguments:
        inputs: (batch, features).
        states: `[h]` with h (batch, units).
        training: whether dropout is applied.

    Returns:
        `(h', [h'])`, both (batch, units).

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> cell = IndRNNCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Li et al., 2018, "Independently recurrent neural network (IndRNN): building a
    longer and deeper RNN".
    """

    gates = ("h",)
    defaults = {
        "activation": "relu",
        "recurrent_initializer": {
            "class_name": "RandomUniform",
            "config": {"minval": 0.0, "maxval": 1.0},
        },
        # Of a column of one number, the norm is its absolute value.
        "recurrent_constraint": {"class_name": "MaxNorm", "config": {"max_value": 1.0, "axis": 0}},
    }

    @property
    def recurrent_shape(self):
        return (1, self.units)

    def state_product(self, h, training=False):
        masks = self._masks("recurrent_dropout", training)
        return (h * masks[0] if masks else h) * self.recurrent_kernel

    def values(self, inputs, states, training=False):
        (h,) = self.unpack(states)
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + self.bias
        return {"h": self.activation(x + self.state_product(h, training))}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class IndRNN(CellLayer):
    """An independently recurrent network over a sequence: `IndRNNCell` at every step.

    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = IndRNN(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = IndRNNCell
