"""Where a decoder starts: the first states, made from one vector."""

import itertools

import keras

from ..arguments import positive_integer


@keras.saving.register_keras_serializable(package="rnn_topologies")
class InitialState(keras.layers.Layer):
    """Turns one vector, of an image or of a whole sentence, into a decoder's first states.

        states = tanh(vector W + b), cut into the sizes asked for

    Args:
        sizes: widths of the states, such as `decoder.state_sizes`.

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

    def __init__(self, sizes, **kwargs):
        super().__init__(**kwargs)
        self.sizes = [positive_integer("sizes", size) for size in sizes]
        self.dense = keras.layers.Dense(
            sum(self.sizes), activation="tanh", dtype=self.dtype_policy, name="dense"
        )

    def build(self, vector_shape):
        self.dense.build(vector_shape)
        self.built = True

    def call(self, vector):
        joined, ends = self.dense(vector), itertools.accumulate(self.sizes)
        return [joined[:, end - size : end] for size, end in zip(self.sizes, ends, strict=True)]

    def compute_output_shape(self, vector_shape):
        return [(vector_shape[0], size) for size in self.sizes]

    def get_config(self):
        return {**super().get_config(), "sizes": self.sizes}
