"""Recurrent dropout: one mask on the hidden state for all steps of a sequence."""

import contextlib
from collections.abc import Iterator
from typing import Any, Unpack

import keras
from keras import ops

from .. import arguments
from ..arguments import LayerOptions
from ..typing import States, Tensor
from .base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class RecurrentDropout(CellWrapper):
    """Drops the same units of h at every step of a sequence, before the cell reads it.

        m  = 0 with probability rate, else 1 / (1 - rate)     drawn once per sequence
        h' = cell(x, m * h)

    Other states, such as the c of an LSTM, are not dropped. In a cell that carries h over to the
    next step (GRU, minGRU), a dropped unit also loses its memory; there, the cell's own argument
    `recurrent_dropout` drops h on its way into the gates only.

    Args:
        cell: a recurrent cell.
        rate: the fraction of units to drop, in [0, 1).
        seed: seed of the dropout masks.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: (batch, features).
        states: as for the inner cell.
        training: whether to drop units.

    Raises:
        ValueError, TypeError: `rate` is out of range; in training, no mask was drawn for the
            sequence because the loop is not an `RNN` of this library.

    Example:
        >>> layer = RNN(RecurrentDropout(LSTMCell(4), 0.2))
        >>> tuple(layer(np.ones((2, 5, 3)), training=True).shape)
        (2, 4)

    Reference: Gal and Ghahramani, 2016, "A theoretically grounded application of dropout in
    recurrent neural networks".
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        rate: float = 0.1,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(cell, **kwargs)
        self.rate = arguments.rate("rate", rate)
        self.seed = arguments.optional_integer("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._mask: Tensor | None = None

    @contextlib.contextmanager
    def sequence(self, inputs: Tensor, states: States, training: bool) -> Iterator[None]:
        with super().sequence(inputs, states, training):
            if training and self.rate:
                ones = ops.ones_like(self.unpack(states)[0])
                self._mask = keras.random.dropout(ones, self.rate, seed=self.seed_generator)
            try:
                yield
            finally:
                self._mask = None

    def transform_states(self, states: States, training: bool) -> States:
        if not training or not self.rate:
            return states
        if self._mask is None:
            raise ValueError(
                "RecurrentDropout drops the same units at every step, but no mask was drawn for "
                "this sequence. Run the cell in `rnn_topologies.layers.RNN`, or call it within "
                "`with cell.sequence(inputs, states, training=True):`."
            )
        return (states[0] * self._mask, *states[1:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
