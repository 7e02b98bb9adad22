"""Gated recurrent unit: cell and layer."""

from __future__ import annotations

from typing import Literal, Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, States, Tensor
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class GRUCell(Cell):
    """One step of a gated recurrent unit: one state, two gates.

        z  = sigmoid(x W_z + h U_z + b_z)                 update gate: how much of h is kept
        r  = sigmoid(x W_r + h U_r + b_r)                 reset gate
        n  = tanh(x W_h + b_h + r * (h U_h + d_h))        candidate, `reset_after=True`
        n  = tanh(x W_h + b_h + (r * h) U_h)              candidate, `reset_after=False`
        h' = z * h + (1 - z) * n

    The update gate acts as both an LSTM's forget gate (z) and its input gate (1 - z), and the cell
    state is merged with the hidden state.

    Weights, gate blocks concatenated in the order z, r, h:
        kernel (features, 3 * units), recurrent_kernel (units, 3 * units), and bias
        (2, 3 * units) with `reset_after=True`: the first row b is added to the input product, the
        second row d to the recurrent product (for z and r only their sum matters). With
        `reset_after=False` the bias is (3 * units,).

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
        reset_after: apply the reset gate after the recurrent product, as cuDNN does, or before.
        seed: seed of the dropout masks.
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
        >>> cell = GRUCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    References: Cho et al., 2014, "Learning phrase representations using RNN encoder-decoder
    for statistical machine translation": the first version of the preprint has
    `reset_after=True`, the third `reset_after=False`. The paper swaps z and 1 - z.
    """

    gates = ("z", "r", "h")
    equations = "gru"

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
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))

    @property
    def bias_shape(self) -> tuple[int, ...]:
        shape = super().bias_shape
        return (2, *shape) if self.reset_after else shape

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
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

    A drop-in for `keras.layers.GRU`: same arguments, and weights are interchangeable through
    `set_weights`.
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
        reset_after: apply the reset gate after the recurrent product, as cuDNN does, or before.
        use_cudnn: whether to use the backend's fused kernel: True raises an error if it cannot
            run, False runs the cell's equations.
        zero_output_for_mask: with `return_sequences`, output zeros at padded steps.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Example:
        >>> layer = GRU(4)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 4)
    """

    cell_class = GRUCell

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
        reset_after: bool = True,
        use_cudnn: Literal["auto"] | bool = "auto",
        zero_output_for_mask: bool = False,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))
