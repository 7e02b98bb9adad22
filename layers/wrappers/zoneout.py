"""Zoneout: states that stay as they were, at random."""

import numbers

import keras
from keras import ops

from .. import arguments
from .base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Zoneout(CellWrapper):
    """Keeps some units of the states as they were, others at every step: dropout for memory.

        d  = 1 with probability rate, else 0      drawn anew for every step and unit
        s' = d * s + (1 - d) * cell(x, s)         in training
        s' = rate * s + (1 - rate) * cell(x, s)   else: the mean of it

    for every state s. Unlike dropout it loses nothing, and the gradient passes kept units
    unchanged. Put it directly around the cell that has the states.

    Args:
        cell: a recurrent cell.
        rates: the probability to keep a unit, in [0, 1): one for all states, or a dictionary with
            one for each name, such as the paper's `{"h": 0.05, "c": 0.5}` for an LSTM.
        seed: seed of what is drawn.

    Call arguments:
        inputs: (batch, features); in training, behind them, `noise((batch,))`. `RNN` sees to it.
        states: as of the inner cell.
        training: whether units are kept at random.

    Raises:
        ValueError, TypeError: a rate is out of range or its state unknown; in training, the
            inputs have no random numbers.

    Example:
        >>> layer = RNN(Zoneout(LSTMCell(4), {"h": 0.05, "c": 0.5}))
        >>> tuple(layer(np.ones((2, 5, 3)), training=True).shape)
        (2, 4)

    Reference: Krueger et al., 2017, "Zoneout: regularizing RNNs by randomly preserving hidden
    activations".
    """

    def __init__(self, cell, rates=0.1, seed=None, **kwargs):
        super().__init__(cell, **kwargs)
        self.rates = rates
        if isinstance(rates, numbers.Real):
            rates = dict.fromkeys(self.state_names, rates)
        for name in rates:
            if name not in self.state_names:
                raise ValueError(
                    f"`rates` of Zoneout names {name!r}; the states of "
                    f"{type(cell).__name__} are {', '.join(self.state_names)}."
                )
        self._rates = [arguments.rate("rates", rates.get(name, 0.0)) for name in self.state_names]
        self.seed = arguments.optional_integer("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        pairs = zip(self.state_sizes, self._rates, strict=True)
        self.own_noise_size = sum(size for size, rate in pairs if rate)

    def change(self, values, inputs, states, noise):
        changed, place = {}, 0
        for name, size, rate, old in zip(
            self.state_names, self.state_sizes, self._rates, states, strict=True
        ):
            if rate and noise is None:
                changed[name] = rate * old + (1 - rate) * values[name]
            elif rate:
                kept = noise[:, place : place + size] < rate
                changed[name] = ops.where(kept, old, values[name])
                place += size
        return changed

    def get_config(self):
        return {**super().get_config(), "rates": self.rates, "seed": self.seed}
