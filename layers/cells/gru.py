"""The gated recurrent unit: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class GRUCell(Cell):
    """One step of a gated recurrent unit: one state and two gates.

        z  = sigmoid(x W_z + h U_z + b_z)                 update gate: how much of h stays
        r  = sigmoid(x W_r + h U_r + b_r)                 reset gate
        n  = tanh(x W_h + b_h + r * (h U_h + d_h))        candidate, `reset_after=True`
        n  = tanh(x W_h + b_h + (r * h) U_h)              candidate, `reset_after=False`
        h' = z * h + (1 - z) * n

    The update gate does the work of an LSTM's forget gate (z) and input gate (1 - z), and
    there is no cell state beside the hidden one.

    Weights, gate blocks side by side in the order z, r, h:
        kernel (features, 3 * units), recurrent_kernel (units, 3 * units), and bias
        (2, 3 * units) with `reset_after=True`: first row beside the kernel (b), second beside
        the recurrent kernel (d; for z and r the two simply add up). Without: (3 * units,).

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
        >>> cell = GRUCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    References: Cho et al., 2014, "Learning phrase representations using RNN encoder-decoder
    for statistical machine translation": first version of the preprint for
    `reset_after=True`, third for `reset_after=False`. There z and 1 - z are exchanged.
    """

    gates = ("z", "r", "h")
    own_arguments = ("recurrent_activation", "reset_after")

    @property
    def bias_shape(self):
        shape = super().bias_shape
        return (2, *shape) if self.reset_after else shape

    def values(self, inputs, states, training=False):
        (h,) = self.unpack(states)
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + (self.bias[0] if self.reset_after else self.bias)
        x_z, x_r, x_n = ops.split(x, 3, axis=-1)
        if self.reset_after:
            a = self.state_product(h, training)
            if self.use_bias:
                a = a + self.bias[1]
            a_z, a_r, a_n = ops.split(a, 3, axis=-1)
            z = self.recurrent_activation(x_z + a_z)
            r = self.recurrent_activation(x_r + a_r)
            n = self.activation(x_n + r * a_n)
        else:
            gates, candidate = ops.split(self.recurrent_kernel, [2 * self.units], axis=-1)
            masks = self._masks("recurrent_dropout", training)
            a_z, a_r = ops.split(self._product(h, gates, masks and masks[:2]), 2, axis=-1)
            z = self.recurrent_activation(x_z + a_z)
            r = self.recurrent_activation(x_r + a_r)
            n = self.activation(x_n + self._product(r * h, candidate, masks and masks[2:]))
        return {"z": z, "r": r, "n": n, "h": z * h + (1 - z) * n}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class GRU(CellLayer):
    """A gated recurrent unit over a sequence: `GRUCell` at every step.

    Takes what `keras.layers.GRU` takes; weights move both ways with `set_weights`.
    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = GRU(4)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 4)
    """

    cell_class = GRUCell
    own_arguments = ("use_cudnn",)
