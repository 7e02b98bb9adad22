"""Recurrent layers over one another, and ways to make one vector of their outputs."""

from typing import Literal

import keras
from keras import ops

from rnn_topologies import layers

Pooling = Literal["last", "mean", "max", "attention"]


class Recurrence(keras.layers.Layer):
    """Recurrent layers, each of which reads the outputs of the one before.

    Args:
        cell: a name of `layers.CELLS`.
        units: size of each state; a direction of a bidirectional layer has as many.
        depth: number of layers.
        bidirectional: whether each reads both ways and joins what it finds.
        dropout: fraction to drop between layers.

    Call arguments:
        sequences: (batch, time, features).
        mask: (batch, time), true at valid steps; None if all are.

    Returns:
        `(outputs, states)`: outputs (batch, time, width), and the last states of the last
        layer, those read forwards before those read backwards.
    """

    def __init__(
        self,
        cell: str,
        units: int,
        *,
        depth: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        name: str = "recurrence",
    ):
        super().__init__(name=name)
        self.supports_masking = True  # it is told by `mask=`, and hands none on
        self.drop = keras.layers.Dropout(dropout)
        self.stack = []
        # Names without Keras's running numbers: saved weights are found by them.
        for number in range(depth):
            layer = layers.CELLS[cell].layer(
                units, return_sequences=True, return_state=True, name=f"layer_{number}"
            )
            if bidirectional:
                layer = layers.Bidirectional(layer, name=f"layer_{number}")
            self.stack.append(layer)

    def call(self, sequences, mask=None, training=False):
        hidden = sequences
        for index, layer in enumerate(self.stack):
            if index:
                hidden = self.drop(hidden, training=training)
            hidden, *states = layer(hidden, mask=mask, training=training)
        return hidden, states

    def compute_mask(self, inputs, previous_mask=None):
        return None


class Pool(keras.layers.Layer):
    """One vector from the outputs of a recurrence, padding left out.

        last       the output after the last valid step: backwards that is after the first
        mean, max  over valid steps, feature by feature
        attention  sum_t w_t output_t with w = softmax over valid steps of v . tanh(output_t W)

    Args:
        how: one of the four.
        bidirectional: whether the states are those of two directions.

    Call arguments:
        outputs: (batch, time, width).
        states: of the recurrence.
        mask: (batch, time), true at valid steps; not needed for the last.

    Returns:
        (batch, width).

    Reference: Yang et al., 2016, "Hierarchical attention networks" (attention).
    """

    def __init__(self, how: Pooling, *, bidirectional: bool, name: str = "pool"):
        super().__init__(name=name)
        self.supports_masking = True
        self.how = how
        self.directions = 2 if bidirectional else 1
        if how == "attention":
            self.hidden = keras.layers.Dense(64, activation="tanh", name="hidden")
            self.score = keras.layers.Dense(1, use_bias=False, name="score")

    def call(self, outputs, states, mask=None):
        if self.how == "last":
            firsts = states[:: len(states) // self.directions]
            return ops.concatenate(firsts, axis=-1)
        mask = ops.expand_dims(mask, -1)
        if self.how == "max":
            lowest = ops.full_like(outputs, -1e9 if outputs.dtype == "float32" else -3e4)
            return ops.max(ops.where(mask, outputs, lowest), axis=1)
        if self.how == "mean":
            weights = ops.cast(mask, outputs.dtype)
            weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1)
        else:
            scores = ops.where(mask, self.score(self.hidden(outputs)), -1e9)
            weights = ops.softmax(scores, axis=1)
        return ops.sum(weights * outputs, axis=1)

    def compute_mask(self, inputs, previous_mask=None):
        return None
