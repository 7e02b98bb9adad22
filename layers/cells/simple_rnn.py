"""The simple recurrent network (Elman network): a cell and its layer."""

import keras

from ..cell_layer import CellLayer
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class SimpleRNNCell(Cell):
    """One step of a simple recurrent network.

        h' = tanh(x W + h U + b)

    The whole memory is squeezed through one tanh at every step, so that a gradient over n
    steps holds the n-th power of U: it vanishes or explodes. The gated cells mend this.

    Weights:
        kernel W (features, units), recurrent_kernel U (units, units), bias b (units,).

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
        >>> cell = SimpleRNNCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Elman, 1990, "Finding structure in time".
    """

    gates = ("h",)

    def values(self, inputs, states, training=False):
        (h,) = self.unpack(states)
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + self.bias
        return {"h": self.activation(x + self.state_product(h, training))}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class SimpleRNN(CellLayer):
    """A simple recurrent network over a sequence: `SimpleRNNCell` at every step.

    Takes what `keras.layers.SimpleRNN` takes; weights move both ways with `set_weights`.
    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = SimpleRNN(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = SimpleRNNCell
