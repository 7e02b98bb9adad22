"""Zoneout: random units of the states keep their previous value."""

from collections.abc import Mapping
from typing import Any, Unpack

import keras
from keras import ops

from .. import arguments
from ..arguments import LayerOptions
from ..typing import States, Tensor
from .base import CellWrapper


@keras.saving.register_keras_serializable(package="rnn_topologies")
class Zoneout(CellWrapper):
    """Keeps random units of the states at their previous value: dropout for memory.

        d  = 1 with probability rate, else 0      drawn for every step and unit
        s' = d * s + (1 - d) * cell(x, s)         in training
        s' = rate * s + (1 - rate) * cell(x, s)   in inference: the expectation

    for every state s. Unlike dropout it loses no information, and the gradient passes unchanged
    through kept units. Apply it directly to the cell that has the states.

    Args:
        cell: a recurrent cell.
        rates: the probability of keeping a unit, in [0, 1): one number for all states, or a
            dictionary by state name, such as the paper's `{"h": 0.05, "c": 0.5}` for an LSTM.
        seed: seed of the random numbers.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: (batch, features); in training, with `noise((batch,))` appended, as `RNN` does.
        states: as for the inner cell.
        training: whether to keep units at random.

    Raises:
        ValueError, TypeError: a rate is out of range or its state is unknown; in training, the
            inputs lack the random numbers.

    Example:
        >>> layer = RNN(Zoneout(LSTMCell(4), {"h": 0.05, "c": 0.5}))
        >>> tuple(layer(np.ones((2, 5, 3)), training=True).shape)
        (2, 4)

    Reference: Krueger et al., 2017, "Zoneout: regularizing RNNs by randomly preserving hidden
    activations".
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        rates: float | Mapping[str, float] = 0.1,
        seed: int | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        super().__init__(cell, **kwargs)
        by_state = rates if isinstance(rates, Mapping) else dict.fromkeys(self.state_names, rates)
        for name in by_state:
            if name not in self.state_names:
                raise ValueError(
                    f"`rates` of Zoneout has the name {name!r}, but the states of "
                    f"{type(cell).__name__} are {', '.join(self.state_names)}."
                )
        checked = {name: arguments.rate("rates", rate) for name, rate in by_state.items()}
        self._rates = [checked.get(name, 0.0) for name in self.state_names]
        self.rates = checked if isinstance(rates, Mapping) else self._rates[0]
        self.seed = arguments.optional_integer("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        pairs = zip(self.state_sizes, self._rates, strict=True)
        sizes = [size for size, rate in pairs if rate]
        if not all(isinstance(size, int) for size in sizes):
            raise ValueError(
                f"Zoneout needs states of shape (batch, size), but {type(cell).__name__} has "
                f"states of shapes {sizes} (without the batch axis). Set their `rates` to 0."
            )
        self.own_noise_size = sum(sizes)

    def transform_values(
        self, values: dict[str, Tensor], inputs: Tensor, states: States, noise: Tensor | None
    ) -> dict[str, Tensor]:
        new_states, offset = {}, 0
        for name, size, rate, old in zip(
            self.state_names, self.state_sizes, self._rates, states, strict=True
        ):
            if not rate:
                continue
            if noise is None:
                new_states[name] = rate * old + (1 - rate) * values[name]
            else:
                keep = noise[:, offset : offset + size] < rate
                new_states[name] = ops.where(keep, old, values[name])
                offset += size
        return new_states

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rates": self.rates, "seed": self.seed}
