"""An LSTM with a narrower hidden state: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LSTMPCell(Cell):
    """One step of an LSTM with a projection: a wide memory, a narrow hidden state.

        f  = sigmoid(x W_f + h U_f + b_f)      forget gate
        i  = sigmoid(x W_i + h U_i + b_i)      input gate
        g  = tanh(x W_c + h U_c + b_c)         candidate
        c' = f * c + i * g                     cell state, (batch, units)
        o  = sigmoid(x W_o + h U_o + b_o)      output gate
        h' = (o * tanh(c')) P                  hidden state, the output, (batch, projection_units)

    The recurrent product, most of an LSTM's work, shrinks with h.

    Weights, gate blocks side by side in the order i, f, c, o:
        kernel (features, 4 * units), recurrent_kernel (projection_units, 4 * units),
        bias (4 * units,), projection_kernel P (units, projection_units).

    Args:
        {arguments}

    Call arguments:
        inputs: (batch, features).
        states: `[h, c]`, h (batch, projection_units), c (batch, units).
        training: whether dropout is applied.

    Returns:
        `(h', [h', c'])`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> cell = LSTMPCell(4)
        >>> output, (h, c) = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(h.shape), tuple(c.shape)
        ((2, 2), (2, 4))

    Reference: Sak, Senior and Beaufays, 2014, "Long short-term memory based recurrent neural
    network architectures for large vocabulary speech recognition".
    """

    gates = ("i", "f", "c", "o")
    state_names = ("h", "c")
    own_arguments = (
        *("recurrent_activation", "unit_forget_bias"),
        *("projection_units", "projection_initializer"),
    )

    @property
    def output_size(self):
        return self.projection_units or max(1, self.units // 2)

    def build(self, input_shape):
        super().build(input_shape)
        shape = (self.units, self.output_size)
        self._add("projection_kernel", shape, self.projection_initializer)

    def values(self, inputs, states, training=False):
        h, c = self.unpack(states)
        z = self.input_product(inputs, training) + self.state_product(h, training)
        if self.use_bias:
            z = z + self.bias
        i, f, g, o = ops.split(z, 4, axis=-1)
        f = self.recurrent_activation(f)
        i = self.recurrent_activation(i)
        g = self.activation(g)
        c = f * c + i * g
        o = self.recurrent_activation(o)
        h = ops.matmul(o * self.activation(c), self.projection_kernel)
        return {"f": f, "i": i, "g": g, "c": c, "o": o, "h": h}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LSTMP(CellLayer):
    """An LSTM with a projection over a sequence: `LSTMPCell` at every step.

    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = LSTMP(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 2)
    """

    cell_class = LSTMPCell
