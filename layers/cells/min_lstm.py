"""An LSTM without the state in its gates: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .linear import LinearCell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinLSTMCell(LinearCell):
    """One step of an LSTM whose gates and candidate see the input alone.

        f, i   = sigmoid(x W_f + b_f), sigmoid(x W_i + b_i)
        f', i' = f / (f + i), i / (f + i)    forget and input gate: their sum is 1
        n      = x W_h + b_h                 candidate; the paper leaves tanh away
        h'     = f' * h + i' * n

    There is neither output gate nor cell state. What is kept may depend on what is read, not on
    what is remembered; in return all steps of a sequence are computed at once.

    Weights, gate blocks side by side in the order f, i, h:
        kernel (features, 3 * units), bias (3 * units,).

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
        >>> cell = MinLSTMCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Feng et al., 2024, "Were RNNs all we needed?" The form without length
    bias, where f and i are made to sum to 1.
    """

    gates = ("f", "i", "h")
    own_arguments = ("unit_forget_bias",)
    defaults = {"activation": "linear"}

    def coefficients(self, inputs, training=False):
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + self.bias
        f, i, n = ops.split(x, 3, axis=-1)
        # f / (f + i) in logarithms: where both gates are shut, it would be 0 / 0.
        ratio = ops.log_sigmoid(f) - ops.log_sigmoid(i)
        f, i, n = ops.sigmoid(ratio), ops.sigmoid(-ratio), self.activation(n)
        return {"f": f, "i": i, "n": n, "keep": f, "add": i * n}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinLSTM(CellLayer):
    """A minimal LSTM over a sequence: `MinLSTMCell` at every step, all steps at once.

    Masks, outputs at padded steps, states and errors: see `RNN`; how all steps are done at once:
    `linear_recurrence`.

    Args:
        {arguments}

    Example:
        >>> layer = MinLSTM(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 500, 3))).shape)
        (2, 500, 4)
    """

    cell_class = MinLSTMCell
