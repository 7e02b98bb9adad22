"""One step at a time, compiled: for input that arrives while it is answered."""

import keras
from keras import ops, tree


def compiled_step(cell):
    """Returns `(inputs, states) -> (output, new states)` of a built cell, compiled once.

    On TensorFlow a `tf.function` in XLA, on JAX `jax.jit`, on PyTorch the cell without gradients.
    New weights are seen by it.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # XLA makes one kernel of a step's many small operations: four times as fast.
        return tf.function(lambda inputs, states: cell(inputs, states), jit_compile=True)
    if backend == "jax":
        import jax

        def step(weights, rest, inputs, states):
            (output, new), _ = cell.stateless_call(weights, rest, inputs, states)
            return output, new

        step = jax.jit(step)
        return lambda inputs, states: step(
            [weight.value for weight in cell.trainable_variables],
            [weight.value for weight in cell.non_trainable_variables],
            inputs,
            states,
        )
    import torch

    def without_gradients(inputs, states):
        with torch.inference_mode():
            return cell(inputs, states)

    return without_gradients


class Stream:
    """A sequence that is read while it arrives: a layer, and the states after the last step.

    Outputs are those of the layer over the whole sequence. Made by `layer.stream()`.

    Args:
        layer: a built `RNN` that reads forwards.
        batch_size: number of sequences that are read side by side.

    Attributes:
        states: the states after the last step, each (batch_size, its width); can be set.

    Example:
        >>> layer = GRU(4, return_sequences=True)
        >>> x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
        >>> whole = np.array(layer(x))
        >>> live = layer.stream()
        >>> steps = [np.array(live(x[:, t])) for t in range(6)]
        >>> bool(np.allclose(np.stack(steps, axis=1), whole, atol=1e-6))
        True
    """

    def __init__(self, layer, batch_size=1):
        self.layer = layer
        self.batch_size = batch_size
        self.states = None
        self.reset()

    def __call__(self, inputs):
        """Reads one step, (batch_size, features), and returns the output, (batch_size, width)."""
        output, self.states = self.layer.step(inputs, self.states)
        return output

    def reset(self, rows=None):
        """Begins anew.

        Args:
            rows: (batch_size,), true where; everywhere if None.
        """
        first = self.layer.get_initial_state(self.batch_size)
        if rows is not None:
            rows = ops.expand_dims(ops.cast(rows, "bool"), -1)
            pairs = zip(first, self.states, strict=True)
            first = [ops.where(rows, new, old) for new, old in pairs]
        self.states = tree.flatten(first)
