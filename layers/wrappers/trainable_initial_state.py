"""Learnable initial states."""

from typing import Any, Unpack

import keras
from keras import ops

from .. import arguments
from ..arguments import LayerOptions
from ..cells.states import shape_of
from ..typing import Initializer, Shape, Tensor
from .base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class TrainableInitialState(CellWrapper):
    """Learns the initial states of a cell instead of starting from zeros.

        s_0 = a weight, the same for every sequence, for every state s

    It is used whenever no `initial_state` is passed, and by a stateful layer after `reset_state`.

    Weights:
        initial_h, ...: (size,), or the shape of the state, one for each state, named after it.

    Args:
        cell: a recurrent cell.
        initializer: initializer of the weights.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: (batch, features).
        states: as for the inner cell.
        training: passed to the cell.

    Example:
        >>> layer = RNN(TrainableInitialState(LSTMCell(4)))
        >>> tuple(layer(np.ones((2, 5, 3))).shape), len(layer.trainable_weights)
        ((2, 4), 5)
    """

    initial_states: list[keras.Variable]

    def __init__(
        self,
        cell: keras.layers.Layer,
        initializer: Initializer = "zeros",
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(cell, **kwargs)
        self.initializer = arguments.initializer("initializer", initializer)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.initial_states = [
            self.add_weight(
                name=f"initial_{name}", shape=shape_of(size), initializer=self.initializer
            )
            for name, size in zip(self.state_names, self.state_sizes, strict=True)
        ]

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        zeros = super().get_initial_state(batch_size)
        pairs = zip(zeros, self.initial_states, strict=True)
        return [zero + ops.cast(initial, zero.dtype) for zero, initial in pairs]

    def get_config(self) -> dict[str, Any]:
        serialized = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": serialized}
