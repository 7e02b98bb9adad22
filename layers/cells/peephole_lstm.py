"""LSTM with peephole connections: cell and layer."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import ops

from ..arguments import LayerOptions, from_locals
from ..cell_layer import CellLayer
from ..typing import Activation, Constraint, Initializer, Regularizer, Shape, States, Tensor
from .base import Cell


@keras.saving.register_keras_serializable(package="rnn_topologies")
class PeepholeLSTMCell(Cell):
    """One step of an LSTM with peepholes: each unit's gates also read its own cell state.

        f  = sigmoid(x W_f + h U_f + p_f * c + b_f)      forget gate
        i  = sigmoid(x W_i + h U_i + p_i * c + b_i)      input gate
        g  = tanh(x W_c + h U_c + b_c)                   candidate
        c' = f * c + i * g                               cell state
        o  = sigmoid(x W_o + h U_o + p_o * c' + b_o)     output gate: sees the new cell state
        h' = o * tanh(c')                                hidden state, the output

    While the output gate is closed, h tells an LSTM's gates nothing about c. Peepholes let them
    read it, which helps with timing and counting.

    Weights, gate blocks concatenated in the order i, f, c, o:
        kernel (features, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,),
        peephole_kernel (3, units) with the rows p_i, p_f, p_o. It is initialized to zeros, which
        makes the cell an LSTM.

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
        peephole_initializer: initializer of `peephole_kernel`.
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
        >>> cell = PeepholeLSTMCell(4)
        >>> output, (h, c) = cell(np.ones((2, 3)), cell.get_initial_state(batch_size=2))
        >>> tuple(h.shape), tuple(c.shape)
        ((2, 4), (2, 4))

    References: Gers and Schmidhuber, 2000, "Recurrent nets that time and count"; Gers,
    Schraudolph and Schmidhuber, 2002, "Learning precise timing with LSTM recurrent networks".
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
        peephole_initializer: Initializer = "zeros",
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self._add("peephole_kernel", (3, self.units), self.peephole_initializer)

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        h, c = self.unpack(states)
        z = self.input_product(inputs, training) + self.state_product(h, training)
        if self.use_bias:
            z = z + self.bias
        i, f, g, o = ops.split(z, 4, axis=-1)
        p_i, p_f, p_o = (self.peephole_kernel[row] for row in range(3))
        f = self.recurrent_activation(f + p_f * c)
        i = self.recurrent_activation(i + p_i * c)
        g = self.activation(g)
        c = f * c + i * g
        o = self.recurrent_activation(o + p_o * c)
        return {"f": f, "i": i, "g": g, "c": c, "o": o, "h": o * self.activation(c)}


@keras.saving.register_keras_serializable(package="rnn_topologies")
class PeepholeLSTM(CellLayer):
    """An LSTM with peepholes over a sequence: `PeepholeLSTMCell` at every step.

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
        peephole_initializer: initializer of `peephole_kernel`.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Example:
        >>> layer = PeepholeLSTM(4, return_sequences=True)
        >>> tuple(layer(np.ones((2, 5, 3))).shape)
        (2, 5, 4)
    """

    cell_class = PeepholeLSTMCell

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
        peephole_initializer: Initializer = "zeros",
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**from_locals(locals()))
