"""What can be put around any cell: the base of the wrappers."""

import contextlib

import keras
from keras import ops

from ..cells.base import RecurrentCell, takes_training


@keras.saving.register_keras_serializable(package="rnn_topologies")
class CellWrapper(RecurrentCell):
    """A cell around a cell: the base of the wrappers.

    A subclass overrides `change`, which gets the values of a step of the inner cell, and may
    give it other states in `enter`. States, their names and their sizes are those of the inner
    cell, which may be of any kind that `RNN` takes, another wrapper too. The states of a cell
    that is not ours are called state_0, state_1, ..., and as in Keras the first is its output.

    Attributes:
        cell: the inner cell.
    """

    own_noise_size = 0  # random numbers that a step of the wrapper itself needs in training

    def __init__(self, cell, **kwargs):
        is_cell = hasattr(cell, "state_size") and not isinstance(cell, keras.layers.RNN)
        if not isinstance(cell, keras.layers.Layer) or not is_cell:
            raise TypeError(
                f"{type(self).__name__} goes around a recurrent cell, such as `LSTMCell(32)`, got "
                f"{cell!r}."
            )
        kwargs.setdefault("dtype", cell.dtype_policy)
        super().__init__(**kwargs)
        self.cell = cell
        self.state_size = cell.state_size
        numbered = [f"state_{number}" for number in range(len(self.state_sizes))]
        self.state_names = tuple(getattr(cell, "state_names", numbered))
        self.output_name = getattr(cell, "output_name", self.state_names[0])
        self.output_size = getattr(cell, "output_size", None) or self.state_sizes[0]
        self.top_state = getattr(cell, "top_state", 0)

    def build(self, input_shape):
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True
        self.features = input_shape[-1]
        self.built = True

    @property
    def noise_size(self):
        return self.own_noise_size + getattr(self.cell, "noise_size", 0)

    def noise(self, shape):
        drawn = []
        if getattr(self.cell, "noise_size", 0):
            drawn.append(self.cell.noise(shape))
        if self.own_noise_size:
            shape = (*shape, self.own_noise_size)
            dtype, seed = self.compute_dtype, self.seed_generator
            drawn.append(keras.random.uniform(shape, dtype=dtype, seed=seed))
        return ops.concatenate(drawn, axis=-1)

    @contextlib.contextmanager
    def sequence(self, inputs, states, training):
        with contextlib.ExitStack() as stack:
            if isinstance(self.cell, RecurrentCell):
                stack.enter_context(self.cell.sequence(inputs, states, training))
            yield

    def values(self, inputs, states, training=False):
        states, noise = self.unpack(states), None
        x = inputs[:, : self.features]
        self.check_noise(inputs, training)
        if training and self.own_noise_size:
            inputs, noise = ops.split(inputs, [inputs.shape[-1] - self.own_noise_size], axis=-1)
        values = self._inner_values(inputs, self.enter(states, training), training)
        return {**values, **self.change(values, x, states, noise)}

    def _inner_values(self, inputs, states, training):
        if isinstance(self.cell, RecurrentCell):
            return self.cell.values(inputs, states, training)
        single = not isinstance(self.cell.state_size, list | tuple)
        settings = {"training": training} if takes_training(self.cell) else {}
        _, new = self.cell(inputs, states[0] if single else list(states), **settings)
        new = new if isinstance(new, list | tuple) else [new]
        return dict(zip(self.state_names, new, strict=True))

    def enter(self, states, training):
        """Returns the states that the inner cell starts its step from."""
        return states

    def change(self, values, inputs, states, noise) -> dict:
        """Returns what the wrapper adds to the values of a step, or puts in their place.

        Args:
            values: of the inner cell, its new states and its output among them.
            inputs: (batch, features) of this step.
            states: before the step.
            noise: (batch, own_noise_size) in [0, 1) in training, else None.
        """
        return {}

    def get_initial_state(self, batch_size=None):
        states = self.cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, list | tuple) else [states]

    def get_config(self):
        config = super().get_config()
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)
