"""Simple recurrent network (Elman network): cell and layer."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, States, Tensor
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class SimpleRNNCell(Cell):
    """One step of a simple recurrent network.

        h' = tanh(x W + h U + b)

    All memory passes through one tanh at every step, so a gradient over n steps contains the n-th
    power of U: it vanishes or explodes. The gated cells address this.

    Weights:
        kernel W (features, units), recurrent_kernel U (units, units), bias b (units,).

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
        >>> cell = SimpleRNNCell(4)
        >>> output, states = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(output.shape)
        (2, 4)

    Reference: Elman, 1990, "Finding structure in time".
    """

    gates = ("h",)
    equations = "simple_rnn"
    draws_mask_seed_first = True

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
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
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        (h,) = self.unpack(states)
        x = self.input_product(inputs, training)
        if self.use_bias:
            x = x + self.bias
        new_h = self.activation(x + self.state_product(h, training))
        # On JAX, Keras's tanh of float64 returns float32, but loops need states of constant dtype.
        return {"h": ops.cast(new_h, self.compute_dtype)}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class SimpleRNN(CellLayer):
    """A simple recurrent network over a sequence: `SimpleRNNCell` at every step.

    A drop-in for `keras.layers.SimpleRNN`: same arguments, and weights are interchangeable through
    `set_weights`.
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
        return_sequences: return the output of every step instead of the last one.
        return_state: also return the final states.
        go_backwards: process the sequence in reverse; outputs come in that order.
        stateful: start each batch from the final states of the previous one.
        unroll: unroll the loop into separate operations for every step.
        seed: seed of the dropout masks.
        zero_output_for_mask: with `return_sequences`, output zeros at padded steps.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Example:
        >>> layer = SimpleRNN(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = SimpleRNNCell

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
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
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        zero_output_for_mask: bool = False,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))
