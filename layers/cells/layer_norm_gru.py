"""GRU with layer normalization: cell and layer."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, Shape, States, Tensor
from .base import Cell
from .layer_norm_lstm import layer_norm


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LayerNormGRUCell(Cell):
    """One step of a GRU with layer normalization of the gates' inputs.

        norm(a) = (a - mean(a)) / sqrt(variance(a) + epsilon)     over the last axis
        [x_z x_r], [a_z a_r] = norm([x W_z  x W_r]) * a_x, norm([h U_z  h U_r]) * a_h
        x_n, a_n = norm(x W_h) * a_x, norm(h U_h) * a_h
        z  = sigmoid(x_z + a_z + b_z + d_z)             update gate: how much of h is kept
        r  = sigmoid(x_r + a_r + b_r + d_r)             reset gate
        n  = tanh(x_n + b_h + r * (a_n + d_h))          candidate
        h' = z * h + (1 - z) * n

    Weights, gate blocks concatenated in the order z, r, h:
        kernel (features, 3 * units), recurrent_kernel (units, 3 * units), input_gain a_x and
        recurrent_gain a_h (3 * units,), bias (2, 3 * units) with the rows b and d. The gains
        are initialized to 1.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        recurrent_activation: activation of the gates.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        recurrent_initializer: initializer of `recurrent_kernel`.
        bias_initializer: initializer of `bias`.
        kernel_regularizer: regularizer of `kernel`.
        recurrent_regularizer: regularizer of `recurrent_kernel`.
        bias_regularizer: regularizer of `bias`.
        kernel_constraint: constraint on `kernel`.
        recurrent_constraint: constraint on `recurrent_kernel`.
        bias_constraint: constraint on `bias`.
        dropout: fraction of the input features to drop, with one mask per sequence.
        recurrent_dropout: fraction of the state to drop on its way into the gates, with one mask
            per sequence.
        seed: seed of the dropout masks.
        epsilon: added to the variance before taking its square root.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: (batch, features).
        states: `[h]` with h (batch, units).
        training: whether dropout is applied.

    Returns:
        `(h', [h'])`, both (batch, units).

    Raises:
        ValueError, TypeError: an argument is out of range or has the wrong type.

    Example:
        >>> cell = LayerNormGRUCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Ba, Kiros and Hinton, 2016, "Layer normalization", equations 27 to 29. The
    paper swaps z and 1 - z.
    """

    gates = ("z", "r", "h")

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        epsilon: float = 1e-05,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (2, *super().bias_shape)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self._add("input_gain", (3 * self.units,), "ones")
        self._add("recurrent_gain", (3 * self.units,), "ones")

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        (h,) = self.unpack(states)
        b, d = (self.bias[0], self.bias[1]) if self.use_bias else (None, None)
        x_z, x_r, x_n = self._normalize(self.input_product(inputs, training), self.input_gain, b)
        a_z, a_r, a_n = self._normalize(self.state_product(h, training), self.recurrent_gain, d)
        z = self.recurrent_activation(x_z + a_z)
        r = self.recurrent_activation(x_r + a_r)
        n = self.activation(x_n + r * a_n)
        return {"z": z, "r": r, "n": n, "h": z * h + (1 - z) * n}

    def _normalize(self, product, gain, shift):
        """Returns the blocks z, r, h; the gates are normalized together, the candidate alone."""
        cut = 2 * self.units
        parts = [
            layer_norm(
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
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        recurrent_activation: activation of the gates.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        recurrent_initializer: initializer of `recurrent_kernel`.
        bias_initializer: initializer of `bias`.
        kernel_regularizer: regularizer of `kernel`.
        recurrent_regularizer: regularizer of `recurrent_kernel`.
        bias_regularizer: regularizer of `bias`.
        activity_regularizer: regularizer of the layer's output.
        kernel_constraint: constraint on `kernel`.
        recurrent_constraint: constraint on `recurrent_kernel`.
        bias_constraint: constraint on `bias`.
        dropout: fraction of the input features to drop, with one mask per sequence.
        recurrent_dropout: fraction of the state to drop on its way into the gates, with one mask
            per sequence.
        seed: seed of the dropout masks.
        return_sequences: return the output of every step instead of the last one.
        return_state: also return the final states.
        go_backwards: process the sequence in reverse; outputs come in that order.
        stateful: start each batch from the final states of the previous one.
        unroll: unroll the loop into separate operations for every step.
        zero_output_for_mask: with `return_sequences`, output zeros at padded steps.
        epsilon: added to the variance before taking its square root.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Example:
        >>> layer = LayerNormGRU(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = LayerNormGRUCell

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        epsilon: float = 1e-05,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))
