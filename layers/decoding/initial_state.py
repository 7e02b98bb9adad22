"""The initial states of a decoder, computed from one vector."""

import itertools
from collections.abc import Iterable
from typing import Any, Unpack

import keras

from ..arguments import LayerOptions, positive_integer
from ..typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="rnn_topologies")
class InitialState(keras.layers.Layer):
    """Maps one vector, which encodes an image or a sentence, to the initial states of a decoder.

        states = tanh(vector W + b), split into the given sizes

    Args:
        sizes: sizes of the states, such as `decoder.state_sizes`.

    Call arguments:
        vector: (batch, features).

    Returns:
        A list of states, (batch, size) for each of `sizes`.

    Raises:
        ValueError, TypeError: `sizes` are not positive integers.

    Example:
        >>> h, c = InitialState([4, 4])(np.ones((2, 3)))
        >>> tuple(c.shape)
        (2, 4)
    """

    def __init__(self, sizes: Iterable[int], **kwargs: Unpack[LayerOptions]) -> None:
        super().__init__(**kwargs)
        self.sizes = [positive_integer("sizes", size) for size in sizes]
        self.dense = keras.layers.Dense(
            sum(self.sizes), activation="tanh", dtype=self.dtype_policy, name="dense"
        )

    def build(self, vector_shape: Shape) -> None:
        self.dense.build(vector_shape)
        self.built = True

    def call(self, vector: Tensor) -> list[Tensor]:
        joined, ends = self.dense(vector), itertools.accumulate(self.sizes)
        return [joined[:, end - size : end] for size, end in zip(self.sizes, ends, strict=True)]

    def compute_output_shape(self, vector_shape: Shape) -> list[Shape]:
        return [(vector_shape[0], size) for size in self.sizes]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": self.sizes}
