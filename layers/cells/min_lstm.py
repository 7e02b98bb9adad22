"""Minimal LSTM, whose gates do not depend on the state: cell and layer."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, Tensor
from .linear import LinearCell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinLSTMCell(LinearCell):
    """One step of a minimal LSTM: its gates and candidate depend on the input alone.

        f, i   = sigmoid(x W_f + b_f), sigmoid(x W_i + b_i)
        f', i' = f / (f + i), i / (f + i)    forget and input gates, which sum to 1
        n      = x W_h + b_h                 candidate; the paper omits tanh
        h'     = f' * h + i' * n

    It has neither an output gate nor a cell state. What is kept may depend on the input but not
    on the state; in return, all steps of a sequence are computed in parallel.

    Weights, gate blocks concatenated in the order f, i, h:
        kernel (features, 3 * units), bias (3 * units,).

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        bias_initializer: initializer of `bias`.
        unit_forget_bias: initialize the forget gate's bias to 1, so that memory is kept at first.
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
        >>> cell = MinLSTMCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Feng et al., 2024, "Were RNNs all we needed?" This is the form without
    length bias, where f and i are normalized to sum to 1.
    """

    gates = ("f", "i", "h")

    def __init__(
        self,
        units: int,
        activation: Activation = "linear",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
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
        f, i, n = ops.split(x, 3, axis=-1)
        # f / (f + i) in log space: if both gates are closed, it would be 0 / 0.
        ratio = ops.log_sigmoid(f) - ops.log_sigmoid(i)
        f, i, n = ops.sigmoid(ratio), ops.sigmoid(-ratio), self.activation(n)
        return {"f": f, "i": i, "n": n, "keep": f, "add": i * n}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class MinLSTM(CellLayer):
    """A minimal LSTM over a sequence: `MinLSTMCell` at every step, in parallel over time.

    Masks, outputs at padded steps, states and errors: see `RNN`. How it runs in parallel: see
    `linear_recurrence`.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        bias_initializer: initializer of `bias`.
        unit_forget_bias: initialize the forget gate's bias to 1, so that memory is kept at first.
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
        >>> layer = MinLSTM(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 500, 3))).shape)
        (2, 500, 4)
    """

    cell_class = MinLSTMCell

    def __init__(
        self,
        units: int,
        activation: Activation = "linear",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
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
