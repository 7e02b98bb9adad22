"""Minimal GRU, whose gates do not depend on the state: cell and layer."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, Tensor
from .linear import LinearCell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinGRUCell(LinearCell):
    """One step of a minimal GRU: its gate and candidate depend on the input alone.

        z  = sigmoid(x W_z + b_z)            update gate: how much of h is kept
        n  = x W_h + b_h                     candidate; the paper omits tanh
        h' = z * h + (1 - z) * n

    What is kept may depend on the input but not on the state; in return, all steps of a sequence
    are computed in parallel. Stacking layers compensates for some of this.

    Weights, gate blocks concatenated in the order z, h:
        kernel (features, 2 * units), bias (2 * units,).

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        bias_initializer: initializer of `bias`.
        kernel_regularizer: regularizer of `kernel`.
        bias_regularizer: regularizer of `bias`.
        kernel_constraint: constraint on `kernel`.
        bias_constraint: constraint on `bias`.
        dropout: fraction of the input features to drop, with one mask per sequence.
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
        >>> cell = MinGRUCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Feng et al., 2024, "Were RNNs all we needed?" The paper swaps z and 1 - z,
    and its log-space form needs a positive candidate; `linear_recurrence` needs neither.
    """

    gates = ("z", "h")

    def __init__(
        self,
        units: int,
        activation: Activation = "linear",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))

    def coefficients(self, inputs: Tensor, training: bool = False) -> dict[str, Tensor]:
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + self.bias
        z, n = ops.split(x, 2, axis=-1)
        n = self.activation(n)
        # sigmoid(-z), since 1 - sigmoid(z) is exactly 0 from z = 17 on
        return {"z": ops.sigmoid(z), "n": n, "keep": ops.sigmoid(z), "add": ops.sigmoid(-z) * n}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinGRU(CellLayer):
    """A minimal GRU over a sequence: `MinGRUCell` at every step, in parallel over time.

    Masks, outputs at padded steps, states and errors: see `RNN`. How it runs in parallel: see
    `linear_recurrence`.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        bias_initializer: initializer of `bias`.
        kernel_regularizer: regularizer of `kernel`.
        bias_regularizer: regularizer of `bias`.
        activity_regularizer: regularizer of the layer's output.
        kernel_constraint: constraint on `kernel`.
        bias_constraint: constraint on `bias`.
        dropout: fraction of the input features to drop, with one mask per sequence.
        seed: seed of the dropout masks.
        return_sequences: return the output of every step instead of the last one.
        return_state: also return the final states.
        go_backwards: process the sequence in reverse; outputs come in that order.
        stateful: start each batch from the final states of the previous one.
        unroll: unroll the loop into separate operations for every step.
        zero_output_for_mask: with `return_sequences`, output zeros at padded steps.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Example:
        >>> layer = MinGRU(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 500, 3))).shape)
        (2, 500, 4)
    """

    cell_class = MinGRUCell

    def __init__(
        self,
        units: int,
        activation: Activation = "linear",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))
