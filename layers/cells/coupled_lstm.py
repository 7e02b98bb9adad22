"""An LSTM with one gate for forgetting and entering: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class CoupledLSTMCell(Cell):
    """One step of an LSTM with coupled input and forget gate (CIFG): what enters replaces.

        f  = sigmoid(x W_f + h U_f + b_f)      forget gate, and 1 - f the input gate
        g  = tanh(x W_c + h U_c + b_c)         candidate
        c' = f * c + (1 - f) * g               cell state, between -1 and 1
        o  = sigmoid(x W_o + h U_o + b_o)      output gate
        h' = o * tanh(c')                      hidden state, the output

    Three quarters of an LSTM's weights. The cell state is a mean of candidates, so that it cannot
    count beyond 1.

    Weights, gate blocks side by side in the order f, c, o:
        kernel (features, 3 * units), recurrent_kernel (units, 3 * units), bias (3 * units,).

    Args:
        {arguments}

    Call arguments:
        inputs: (batch, features).
        states: `[h, c]`, both (batch, units).
        training: whether dropout is applied.

    Returns:
        `(h', [h', c'])`, all (batch, units).

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> cell = CoupledLSTMCell(4)
        >>> output, (h, c) = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(h.shape), tuple(c.shape)
        ((2, 4), (2, 4))

    Reference: Greff et al., 2017, "LSTM: A search space odyssey" (there CIFG).
    """

    gates = ("f", "c", "o")
    state_names = ("h", "c")
    own_arguments = ("recurrent_activation", "unit_forget_bias")

    def values(self, inputs, states, training=False):
        h, c = self.unpack(states)
        z = self.input_product(inputs, training) + self.state_product(h, training)
        if self.use_bias:
            z = z + self.bias
        f, g, o = ops.split(z, 3, axis=-1)
        f = self.recurrent_activation(f)
        g = self.activation(g)
        c = f * c + (1 - f) * g
        o = self.recurrent_activation(o)
        return {"f": f, "g": g, "c": c, "o": o, "h": o * self.activation(c)}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class CoupledLSTM(CellLayer):
    """An LSTM with coupled gates over a sequence: `CoupledLSTMCell` at every step.

    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = CoupledLSTM(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = CoupledLSTMCell
