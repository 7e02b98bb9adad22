"""States to start from that are learnt."""

import keras
from keras import ops

from .base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class TrainableInitialState(CellWrapper):
    """Learns the states that a cell starts from, in place of zeros.

        s_0 = a weight, the same for every sequence, for every state s

    It is used where no `initial_state` is given, by a stateful layer after `reset_state` too.

    Weights:
        initial_h, ...: (width,), one for each state, named after it.

    Args:
        cell: a recurrent cell.
        initializer: first values of the weights.

    Call arguments:
        inputs: (batch, features).
        states: as of the inner cell.
        training: passed on to the cell.

    Example:
        >>> layer = RNN(TrainableInitialState(LSTMCell(4)))
        >>> tuple(layer(np.ones((2, 5, 3))).shape), len(layer.trainable_weights)
        ((2, 4), 5)
    """

    def __init__(self, cell, initializer="zeros", **kwargs):
        super().__init__(cell, **kwargs)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape):
        super().build(input_shape)
        self.first_states = [
            self.add_weight(name=f"initial_{name}", shape=(size,), initializer=self.initializer)
            for name, size in zip(self.state_names, self.state_sizes, strict=True)
        ]

    def get_initial_state(self, batch_size=None):
        zeros = super().get_initial_state(batch_size)
        pairs = zip(zeros, self.first_states, strict=True)
        return [zero + ops.cast(first, zero.dtype) for zero, first in pairs]

    def get_config(self):
        serialized = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "initializer": serialized}
