"""A GRU without the state in its gates: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .linear import LinearCell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinGRUCell(LinearCell):
    """One step of a GRU whose gate and candidate see the input alone.

        z  = sigmoid(x W_z + b_z)            update gate: how much of h stays
        n  = x W_h + b_h                     candidate; the paper leaves tanh away
        h' = z * h + (1 - z) * n

    What is kept may depend on what is read, not on what is remembered; in return all steps of a
    sequence are computed at once. Stacked layers make up for some of it.

    Weights, gate blocks side by side in the order z, h:
        kernel (features, 2 * units), bias (2 * units,).

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
        >>> cell = MinGRUCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Feng et al., 2024, "Were RNNs all we needed?" There z and 1 - z are exchanged,
    and the form in logarithms has a positive candidate; here `linear_recurrence` needs neither.
    """

    gates = ("z", "h")
    defaults = {"activation": "linear"}

    def coefficients(self, inputs, training=False):
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + self.bias
        z, n = ops.split(x, 2, axis=-1)
        n = self.activation(n)
        # sigmoid(-z), since 1 - sigmoid(z) is exactly 0 from z = 17 on
        return {"z": ops.sigmoid(z), "n": n, "keep": ops.sigmoid(z), "add": ops.sigmoid(-z) * n}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinGRU(CellLayer):
    """A minimal GRU over a sequence: `MinGRUCell` at every step, all steps at once.

    Masks, outputs at padded steps, states and errors: see `RNN`; how all steps are done at once:
    `linear_recurrence`.

    Args:
        {arguments}

    Example:
        >>> layer = MinGRU(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 500, 3))).shape)
        (2, 500, 4)
    """

    cell_class = MinGRUCell
