"""Independently recurrent network (IndRNN): cell and layer."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, States, Tensor
from .base import Cell

UNIFORM_0_TO_1 = {"class_name": "RandomUniform", "config": {"minval": 0.0, "maxval": 1.0}}
# The norm of a column of one number is its absolute value.
AT_MOST_1 = {"class_name": "MaxNorm", "config": {"max_value": 1.0, "axis": 0}}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class IndRNNCell(Cell):
    """One step of an independently recurrent network: each unit reads only its own state.

        h' = relu(x W + u * h + b)

    A unit's gradient over n steps contains the n-th power of its own u and nothing else, so a
    bound on u bounds the gradient. Units interact in the next layer. The network is meant to be
    stacked deep, with ReLU.

    Weights:
        kernel W (features, units), recurrent_kernel u (1, units), bias b (units,). By default
        u is initialized in [0, 1] and constrained to [-1, 1], so that no state grows by itself.
        The paper allows 2 ** (1 / time) for sequences of `time` steps.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the state.
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
        >>> cell = IndRNNCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Li et al., 2018, "Independently recurrent neural network (IndRNN): building a
    longer and deeper RNN".
    """

    gates = ("h",)

    def __init__(
        self,
        units: int,
        activation: Activation = "relu",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = UNIFORM_0_TO_1,
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = AT_MOST_1,
        bias_constraint: Constraint = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))

    @property
    def recurrent_shape(self) -> tuple[int, ...]:
        return (1, self.units)

    def state_product(self, h: Tensor, training: bool = False) -> Tensor:
        masks = self._masks("recurrent_dropout", training)
        return (h * masks[0] if masks else h) * self.recurrent_kernel

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        (h,) = self.unpack(states)
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + self.bias
        new_h = self.activation(x + self.state_product(h, training))
        # On JAX, Keras's tanh of float64 returns float32, but loops need states of constant dtype.
        return {"h": ops.cast(new_h, self.compute_dtype)}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class IndRNN(CellLayer):
    """An independently recurrent network over a sequence: `IndRNNCell` at every step.

    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the state.
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
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Example:
        >>> layer = IndRNN(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = IndRNNCell

    def __init__(
        self,
        units: int,
        activation: Activation = "relu",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = UNIFORM_0_TO_1,
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = AT_MOST_1,
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
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))
