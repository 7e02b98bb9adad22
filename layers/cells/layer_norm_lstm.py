"""LSTM with layer normalization: cell and layer."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, Shape, States, Tensor
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LayerNormLSTMCell(Cell):
    """One step of an LSTM with layer normalization of the gates' inputs and of the cell state.

        norm(a) = (a - mean(a)) / sqrt(variance(a) + epsilon)     over the last axis
        z  = norm(x W) * a_x + norm(h U) * a_h + b      all four blocks at once
        f, i, o = sigmoid(z_f), sigmoid(z_i), sigmoid(z_o)
        g  = tanh(z_c)                                  candidate
        c' = f * c + i * g                              cell state
        h' = o * tanh(norm(c') * a_c + b_c)             hidden state, the output

    The result does not depend on the scale of the inputs and weights, so gates do not saturate
    early in training, and the learning rate can be larger.

    Weights, gate blocks concatenated in the order i, f, c, o:
        kernel (features, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,),
        input_gain a_x and recurrent_gain a_h (4 * units,), state_gain a_c and state_bias b_c
        (units,). The gains are initialized to 1. The paper's two shifts, of norm(x W) and
        norm(h U), are merged into b.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate and of the cell state.
        recurrent_activation: activation of the gates.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        recurrent_initializer: initializer of `recurrent_kernel`.
        bias_initializer: initializer of `bias`.
        unit_forget_bias: initialize the forget gate's bias to 1, so that memory is kept at first.
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
        states: `[h, c]`, both (batch, units).
        training: whether dropout is applied.

    Returns:
        `(h', [h', c'])`, all (batch, units).

    Raises:
        ValueError, TypeError: an argument is out of range or has the wrong type.

    Example:
        >>> cell = LayerNormLSTMCell(4)
        >>> output, (h, c) = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(h.shape), tuple(c.shape)
        ((2, 4), (2, 4))

    Reference: Ba, Kiros and Hinton, 2016, "Layer normalization", equations 20 to 22.
    """

    gates = ("i", "f", "c", "o")
    state_names = ("h", "c")

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
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

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self._add("input_gain", (4 * self.units,), "ones")
        self._add("recurrent_gain", (4 * self.units,), "ones")
        self._add("state_gain", (self.units,), "ones")
        self.state_bias = None
        if self.use_bias:
            self._add("state_bias", (self.units,), "zeros")

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        h, c = self.unpack(states)
        x, a = self.input_product(inputs, training), self.state_product(h, training)
        z = layer_norm(x, self.input_gain, None, self.epsilon)
        z = z + layer_norm(a, self.recurrent_gain, self.bias, self.epsilon)
        i, f, g, o = ops.split(z, 4, axis=-1)
        f = self.recurrent_activation(f)
        i = self.recurrent_activation(i)
        g = self.activation(g)
        c = f * c + i * g
        o = self.recurrent_activation(o)
        exposed = layer_norm(c, self.state_gain, self.state_bias, self.epsilon)
        return {"f": f, "i": i, "g": g, "c": c, "o": o, "h": o * self.activation(exposed)}


def layer_norm(x: Tensor, gain: Tensor, shift: Tensor | None, epsilon: float) -> Tensor:
    """Returns norm(x) * gain + shift over the last axis, computed in at least float32."""
    dtype = x.dtype
    if keras.backend.standardize_dtype(dtype) in ("float16", "bfloat16"):
        x = ops.cast(x, "float32")
    mean = ops.mean(x, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(x - mean), axis=-1, keepdims=True)
    scaled = ops.cast((x - mean) * ops.rsqrt(variance + epsilon), dtype) * gain
    return scaled if shift is None else scaled + shift


@keras.saving.register_keras_serializable(package="rnn_topologies")
class LayerNormLSTM(CellLayer):
    """An LSTM with layer normalization over a sequence: `LayerNormLSTMCell` at every step.

    Masks, outputs at padded steps, states and errors: see `RNN`.

    Args:
        units: dimension of the state and of the output.
        activation: activation of the candidate and of the cell state.
        recurrent_activation: activation of the gates.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of `kernel`.
        recurrent_initializer: initializer of `recurrent_kernel`.
        bias_initializer: initializer of `bias`.
        unit_forget_bias: initialize the forget gate's bias to 1, so that memory is kept at first.
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
        >>> layer = LayerNormLSTM(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = LayerNormLSTMCell

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
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
