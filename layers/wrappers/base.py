"""The base class of wrappers around cells."""

import contextlib
from collections.abc import Iterator
from typing import Any, Self, Unpack, cast

import keras
from keras import ops

from ..arguments import LayerOptions
from ..cells.base import RecurrentCell, takes_training
from ..typing import Shape, States, Tensor


@keras.saving.register_keras_serializable(package="rnn_topologies")
class CellWrapper(RecurrentCell):
    """A cell around another cell: the base class of the wrappers.

    A subclass overrides `transform_values`, which receives the values of a step of the inner cell,
    and may pass it other states by overriding `transform_states`. The wrapper has the states of
    the inner cell, with the same names and sizes. The inner cell may be any cell that `RNN`
    accepts, including another wrapper. The states of a cell from another library are named
    state_0, state_1, ..., and as in Keras the first one is its output.

    Args:
        cell: the inner cell.
        **kwargs: arguments of `keras.layers.Layer`; `dtype` defaults to that of the inner cell.

    Raises:
        TypeError: `cell` is not a recurrent cell.
    """

    cell: Any
    own_noise_size: int = 0  # random numbers per training step, without those of the inner cell

    def __init__(self, cell: keras.layers.Layer, **kwargs: Unpack[LayerOptions]) -> None:
        is_cell = hasattr(cell, "state_size") and not isinstance(cell, keras.layers.RNN)
        if not isinstance(cell, keras.layers.Layer) or not is_cell:
            raise TypeError(
                f"{type(self).__name__} wraps a recurrent cell, such as `LSTMCell(32)`, got "
                f"{cell!r}."
            )
        kwargs.setdefault("dtype", cell.dtype_policy)
        super().__init__(**kwargs)
        self.cell = cell
        self.state_size = self.cell.state_size
        default_names = [f"state_{number}" for number in range(len(self.state_sizes))]
        self.state_names = tuple(getattr(cell, "state_names", default_names))
        self.output_name = getattr(cell, "output_name", self.state_names[0])
        self.output_size = getattr(cell, "output_size", None) or self.state_sizes[0]
        self.top_state = getattr(cell, "top_state", 0)

    def build(self, input_shape: Shape) -> None:
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True
        self.features = cast(int, input_shape[-1])
        self.built = True

    @property
    def noise_size(self) -> int:
        """Random numbers per training step, for the wrapper and the inner cell."""
        return self.own_noise_size + getattr(self.cell, "noise_size", 0)

    def noise(self, shape: Shape) -> Tensor:
        parts = []
        if getattr(self.cell, "noise_size", 0):
            parts.append(self.cell.noise(shape))
        if self.own_noise_size:
            shape = (*shape, self.own_noise_size)
            dtype, seed = self.compute_dtype, self.seed_generator
            parts.append(keras.random.uniform(shape, dtype=dtype, seed=seed))
        return ops.concatenate(parts, axis=-1)

    @contextlib.contextmanager
    def sequence(self, inputs: Tensor, states: States, training: bool) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if isinstance(self.cell, RecurrentCell):
                stack.enter_context(self.cell.sequence(inputs, states, training))
            yield

    def values(self, inputs: Tensor, states: States, training: bool = False) -> dict[str, Tensor]:
        states, noise = self.unpack(states), None
        features = inputs[:, : self.features]
        self.check_noise(inputs, training)
        if training and self.own_noise_size:
            start = inputs.shape[-1] - self.own_noise_size
            inputs, noise = inputs[:, :start], inputs[:, start:]
        values = self._inner_values(inputs, self.transform_states(states, training), training)
        return {**values, **self.transform_values(values, features, states, noise)}

    def _inner_values(self, inputs: Tensor, states: States, training: bool) -> dict[str, Tensor]:
        if isinstance(self.cell, RecurrentCell):
            return self.cell.values(inputs, states, training)
        has_one_state = not isinstance(self.cell.state_size, list | tuple)
        options = {"training": training} if takes_training(self.cell) else {}
        _, new_states = self.cell(inputs, states[0] if has_one_state else list(states), **options)
        new_states = new_states if isinstance(new_states, list | tuple) else [new_states]
        return dict(zip(self.state_names, new_states, strict=True))

    def transform_states(self, states: States, training: bool) -> States:
        """Returns the states that the inner cell reads; by default those of the wrapper."""
        return states

    def transform_values(
        self,
        values: dict[str, Tensor],
        inputs: Tensor,
        states: States,
        noise: Tensor | None,
    ) -> dict[str, Tensor]:
        """Returns the values that the wrapper adds to those of the inner cell, or replaces.

        Args:
            values: values of the inner cell, including its new states and its output.
            inputs: (batch, features) of this step.
            states: the states before the step.
            noise: (batch, own_noise_size) in [0, 1) in training, else None.
        """
        return {}

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        states = self.cell.get_initial_state(batch_size=batch_size)
        return list(states) if isinstance(states, list | tuple) else [states]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        config = dict(config)
        return cls(keras.saving.deserialize_keras_object(config.pop("cell")), **config)
