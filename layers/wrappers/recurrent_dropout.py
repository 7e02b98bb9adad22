"""Dropout of the state that a cell reads, one mask for all steps."""

import contextlib

import keras
from keras import ops

from .. import arguments
from .base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class RecurrentDropout(CellWrapper):
    """Drops the same units of h at every step of a sequence, before the cell reads it.

        m  = 0 with probability rate, else 1 / (1 - rate)     drawn once for each sequence
        h' = cell(x, m * h)

    The other states, such as the c of an LSTM, are left alone. Where a cell carries h over
    itself (GRU, minGRU) a dropped unit is forgotten as well: there the argument
    `recurrent_dropout` of the cell drops h on its way into the gates only.

    Args:
        cell: a recurrent cell.
        rate: the fraction to drop, in [0, 1).
        seed: seed of what is drawn.

    Call arguments:
        inputs: (batch, features).
        states: as of the inner cell.
        training: whether units are dropped.

    Raises:
        ValueError, TypeError: `rate` is out of range; in training, nothing drew a mask for the
            sequence, since the cell runs in another loop than `RNN`.

    Example:
        >>> layer = RNN(RecurrentDropout(LSTMCell(4), 0.2))
        >>> tuple(layer(np.ones((2, 5, 3)), training=True).shape)
        (2, 4)

    Reference: Gal and Ghahramani, 2016, "A theoretically grounded application of dropout in
    recurrent neural networks".
    """

    def __init__(self, cell, rate=0.1, seed=None, **kwargs):
        super().__init__(cell, **kwargs)
        self.rate = arguments.rate("rate", rate)
        self.seed = arguments.optional_integer("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._mask = None

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        with super().sequence(inputs, states, training):
            if training and self.rate:
                ones = ops.ones_like(self.unpack(states)[0])
                self._mask = keras.random.dropout(ones, self.rate, seed=self.seed_generator)
            try:
                yield
            finally:
                self._mask = None

    def enter(self, states, training):
        if not training or not self.rate:
            return states
        if self._mask is None:
            raise ValueError(
                "RecurrentDropout drops the same units at every step, and nothing drew them for "
                "this sequence. Run the cell in `rnn_topologies.layers.RNN`, or call it within "
                "`with cell.sequence(inputs, states, training=True):`."
            )
        return (states[0] * self._mask, *states[1:])

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
