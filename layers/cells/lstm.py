"""Long short-term memory: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LSTMCell(Cell):
    """One step of a long short-term memory: a cell state that three gates change.

        f  = sigmoid(x W_f + h U_f + b_f)      forget gate: how much of c stays
        i  = sigmoid(x W_i + h U_i + b_i)      input gate: how much of g comes in
        g  = tanh(x W_c + h U_c + b_c)         candidate
        c' = f * c + i * g                     cell state
        o  = sigmoid(x W_o + h U_o + b_o)      output gate: how much of c' is shown
        h' = o * tanh(c')                      hidden state, the output

    Where f is near 1 and i near 0, c and the gradient through it pass a step unchanged:
    this is what lets an LSTM remember over hundreds of steps.

    Weights, gate blocks side by side in the order i, f, c, o:
        kernel (features, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,).

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
        >>> cell = LSTMCell(4)
        >>> output, (h, c) = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(c.shape)
        (2, 4)

    References: Hochreiter and Schmidhuber, 1997, "Long short-term memory"; Gers, Schmidhuber
    and Cummins, 2000, "Learning to forget" (the forget gate); Jozefowicz, Zaremba and
    Sutskever, 2015 (its bias of 1).
    """

    gates = ("i", "f", "c", "o")
    state_names = ("h", "c")
    own_arguments = ("recurrent_activation", "unit_forget_bias")

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
        return {"f": f, "i": i, "g": g, "c": c, "o": o, "h": o * self.activation(c)}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LSTM(CellLayer):
    """A long short-term memory over a sequence: `LSTMCell` at every step.

    Takes what `keras.layers.LSTM` takes; weights move both ways with `set_weights`.
    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = LSTM(4, return_sequences=True, return_state=True)
        >>> outputs, h, c = layer(np.ones((2, 5, 3)))
        >>> tuple(outputs.shape), tuple(c.shape)
        ((2, 5, 4), (2, 4))
    """

    cell_class = LSTMCell
    own_arguments = ("use_cudnn",)
