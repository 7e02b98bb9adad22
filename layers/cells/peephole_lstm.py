"""An LSTM whose gates see the cell state: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class PeepholeLSTMCell(Cell):
    """One step of an LSTM whose gates also look at the cell state, each unit at its own.

        f  = sigmoid(x W_f + h U_f + p_f * c + b_f)      forget gate
        i  = sigmoid(x W_i + h U_i + p_i * c + b_i)      input gate
        g  = tanh(x W_c + h U_c + b_c)                   candidate
        c' = f * c + i * g                               cell state
        o  = sigmoid(x W_o + h U_o + p_o * c' + b_o)     output gate: sees the new cell state
        h' = o * tanh(c')                                hidden state, the output

    While the output gate is shut an LSTM's gates learn nothing of c from h; peepholes show it to
    them, which helps to tell durations and to count.

    Weights, gate blocks side by side in the order i, f, c, o:
        kernel (features, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,),
        peephole_kernel (3, units) with the rows p_i, p_f, p_o. At first, with zeros, the cell is
        an LSTM.

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
        >>> cell = PeepholeLSTMCell(4)
        >>> output, (h, c) = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(h.shape), tuple(c.shape)
        ((2, 4), (2, 4))

    References: Gers and Schmidhuber, 2000, "Recurrent nets that time and count"; Gers,
    Schraudolph and Schmidhuber, 2002, "Learning precise timing with LSTM recurrent networks".
    """

    gates = ("i", "f", "c", "o")
    state_names = ("h", "c")
    own_arguments = ("recurrent_activation", "unit_forget_bias", "peephole_initializer")

    def build(self, input_shape):
        super().build(input_shape)
        self._add("peephole_kernel", (3, self.units), self.peephole_initializer)

    def values(self, inputs, states, training=False):
        h, c = self.unpack(states)
        z = self.input_product(inputs, training) + self.state_product(h, training)
        if self.use_bias:
            z = z + self.bias
        i, f, g, o = ops.split(z, 4, axis=-1)
        p_i, p_f, p_o = (self.peephole_kernel[row] for row in range(3))
        f = self.recurrent_activation(f + p_f * c)
        i = self.recurrent_activation(i + p_i * c)
        g = self.activation(g)
        c = f * c + i * g
        o = self.recurrent_activation(o + p_o * c)
        return {"f": f, "i": i, "g": g, "c": c, "o": o, "h": o * self.activation(c)}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class PeepholeLSTM(CellLayer):
    """An LSTM with peepholes over a sequence: `PeepholeLSTMCell` at every step.

    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = PeepholeLSTM(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = PeepholeLSTMCell
