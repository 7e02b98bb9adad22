"""Stacked recurrent layers, and pooling of their outputs into one vector."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from rnn_topologies import layers
from rnn_topologies.layers.typing import Tensor

Pooling = Literal["last", "mean", "max", "attention"]


class Recurrence(keras.layers.Layer):
    """Stacked recurrent layers: each reads the outputs of the layer below.

    Args:
        cell: key of `layers.CELLS`.
        units: size of each state, per direction.
        depth: number of layers.
        bidirectional: whether each layer reads the sequence in both directions and concatenates
            the outputs.
        dropout: fraction to drop between layers.

    Call arguments:
        sequences: (batch, time, features).
        mask: (batch, time), true at valid steps; None if all are valid.

    Returns:
        `(outputs, states)`: outputs (batch, time, features), and the final states of the top
        layer, those of the forward direction first.
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
        self.supports_masking = True  # it takes `mask` as an argument and does not propagate it
        self.drop = keras.layers.Dropout(dropout)
        self.stack: list[Any] = []
        layer_class: Any = layers.CELLS[cell].layer
        # Saved weights are found by these names: Keras's own would contain running numbers.
        for index in range(depth):
            layer = layer_class(
                units, return_sequences=True, return_state=True, name=f"layer_{index}"
            )
            if bidirectional:
                layer = layers.Bidirectional(layer, name=f"layer_{index}")
            self.stack.append(layer)

    def call(
        self, sequences: Tensor, mask: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        hidden, states = sequences, []
        for index, layer in enumerate(self.stack):
            if index:
                hidden = self.drop(hidden, training=training)
            hidden, *states = layer(hidden, mask=mask, training=training)
        return hidden, states

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        return None


class Pool(keras.layers.Layer):
    """Pools the outputs of a recurrence into one vector, ignoring padding.

        last       the output after the last valid step; backwards, after the first step
        mean, max  over valid steps, per feature
        attention  sum_t w_t output_t with w = softmax over valid steps of v . tanh(output_t W)

    Args:
        pooling: "last", "mean", "max" or "attention".
        bidirectional: whether the recurrence is bidirectional.

    Call arguments:
        outputs: (batch, time, features).
        states: final states of the recurrence.
        mask: (batch, time), true at valid steps; not needed for "last".

    Returns:
        (batch, features).

    Reference: Yang et al., 2016, "Hierarchical attention networks" (attention).
    """

    def __init__(self, pooling: Pooling, *, bidirectional: bool, name: str = "pool"):
        super().__init__(name=name)
        self.supports_masking = True
        self.pooling = pooling
        self.directions = 2 if bidirectional else 1
        if pooling == "attention":
            self.hidden = keras.layers.Dense(64, activation="tanh", name="hidden")
            self.score = keras.layers.Dense(1, use_bias=False, name="score")

    def call(self, outputs: Tensor, states: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        if self.pooling == "last":
            # The first state of each direction is its last output.
            last_outputs = states[:: len(states) // self.directions]
            return ops.concatenate(last_outputs, axis=-1)
        mask = ops.expand_dims(mask, -1)
        if self.pooling == "max":
            lowest = ops.full_like(outputs, -1e9 if outputs.dtype == "float32" else -3e4)
            return ops.max(ops.where(mask, outputs, lowest), axis=1)
        if self.pooling == "mean":
            weights = ops.cast(mask, outputs.dtype)
            weights = weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1)
        else:
            scores = ops.where(mask, self.score(self.hidden(outputs)), -1e9)
            weights = ops.softmax(scores, axis=1)
        return ops.sum(weights * outputs, axis=1)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        return None
