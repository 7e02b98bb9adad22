"""A GRU with layer normalization: a cell and its layer."""

import keras
from keras import ops

from ..cell_layer import CellLayer
from .base import Cell
from .layer_norm_lstm import normalized


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LayerNormGRUCell(Cell):
    """One step of a GRU with layer normalization: every sum is scaled before it enters a gate.

        norm(a) = (a - mean(a)) / sqrt(variance(a) + epsilon)     over the last axis
        [x_z x_r], [a_z a_r] = norm([x W_z  x W_r]) * a_x, norm([h U_z  h U_r]) * a_h
        x_n, a_n = norm(x W_h) * a_x, norm(h U_h) * a_h
        z  = sigmoid(x_z + a_z + b_z + d_z)             update gate: how much of h stays
        r  = sigmoid(x_r + a_r + b_r + d_r)             reset gate
        n  = tanh(x_n + b_h + r * (a_n + d_h))          candidate
        h' = z * h + (1 - z) * n

    Weights, gate blocks side by side in the order z, r, h:
        kernel (features, 3 * units), recurrent_kernel (units, 3 * units), input_gain a_x and
        recurrent_gain a_h (3 * units,), bias (2, 3 * units) with the rows b and d. The gains
        start at 1.

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
        >>> cell = LayerNormGRUCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Ba, Kiros and Hinton, 2016, "Layer normalization", equations 27 to 29. There z
    and 1 - z are exchanged.
    """

    gates = ("z", "r", "h")
    own_arguments = ("recurrent_activation", "epsilon")

    @property
    def bias_shape(self):
        return (2, *super().bias_shape)

    def build(self, input_shape):
        super().build(input_shape)
        self._add("input_gain", (3 * self.units,), "ones")
        self._add("recurrent_gain", (3 * self.units,), "ones")

    def values(self, inputs, states, training=False):
        (h,) = self.unpack(states)
        b, d = (self.bias[0], self.bias[1]) if self.use_bias else (None, None)
        x_z, x_r, x_n = self._normalized(self.input_product(inputs, training), self.input_gain, b)
        a_z, a_r, a_n = self._normalized(self.state_product(h, training), self.recurrent_gain, d)
        z = self.recurrent_activation(x_z + a_z)
        r = self.recurrent_activation(x_r + a_r)
        n = self.activation(x_n + r * a_n)
        return {"z": z, "r": r, "n": n, "h": z * h + (1 - z) * n}

    def _normalized(self, product, gain, shift):
        """Normalizes the gates as one vector and the candidate as another, cuts them apart."""
        cut = 2 * self.units
        parts = [
            normalized(
                product[:, part], gain[part], None if shift is None else shift[part], self.epsilon
            )
            for part in (slice(0, cut), slice(cut, None))
        ]
        return [*ops.split(parts[0], 2, axis=-1), parts[1]]


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LayerNormGRU(CellLayer):
    """A GRU with layer normalization over a sequence: `LayerNormGRUCell` at every step.

    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        {arguments}

    Example:
        >>> layer = LayerNormGRU(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = LayerNormGRUCell
