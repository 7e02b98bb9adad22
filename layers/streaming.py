"""Streaming: one compiled time step at a time, for input that must be answered as it arrives."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from .arguments import positive_integer
from .cells.states import hold
from .typing import States, Tensor


def compiled_step(cell: Any) -> Callable[[Tensor, States], tuple[Tensor, list[Tensor]]]:
    """Returns `(inputs, states) -> (output, new states)` of a built cell, compiled once.

    On TensorFlow it is a `tf.function` compiled by XLA, on JAX `jax.jit`, and on PyTorch the cell
    without gradients. It uses the current weights of the cell, also after they have changed.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # XLA fuses the many small operations of a step into one: four times as fast.
        return tf.function(lambda inputs, states: cell(inputs, states), jit_compile=True)
    if backend == "jax":
        import jax

        def step(trainable, non_trainable, inputs, states):
            (output, new_states), _ = cell.stateless_call(trainable, non_trainable, inputs, states)
            return output, new_states

        step = jax.jit(step)
        return lambda inputs, states: step(
            [weight.value for weight in cell.trainable_variables],
            [weight.value for weight in cell.non_trainable_variables],
            inputs,
            states,
        )
    import torch

    def step_without_gradients(inputs, states):
        with torch.inference_mode():
            return cell(inputs, states)

    return step_without_gradients


class Stream:
    """Runs a layer on a sequence as it arrives: keeps the states between steps.

    The outputs are those of the layer on the whole sequence. Create it with `layer.stream()`.

    Args:
        layer: a built `RNN` that does not run backwards.
        batch_size: number of sequences that arrive in parallel.

    Attributes:
        states: the current states, each (batch_size, size), in the structure that the cell expects;
            may be set.

    Example:
        >>> layer = GRU(4, return_sequences=True)
        >>> x = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
        >>> outputs = np.array(layer(x))
        >>> stream = layer.stream()
        >>> steps = [np.array(stream(x[:, t])) for t in range(6)]
        >>> bool(np.allclose(np.stack(steps, axis=1), outputs, atol=1e-6))
        True
    """

    layer: Any
    batch_size: int
    states: list[Tensor]

    def __init__(self, layer: keras.layers.RNN, batch_size: int = 1) -> None:
        self.layer = layer
        self.batch_size = positive_integer("batch_size", batch_size)
        self.reset()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Runs one step.

        Args:
            inputs: (batch_size, features).

        Returns:
            The output of the step, (batch_size, units).

        Raises:
            ValueError: `inputs` have the wrong batch size.
        """
        if len(inputs) != self.batch_size:
            raise ValueError(
                f"This stream has {self.batch_size} sequences, got inputs for {len(inputs)}. Use "
                f"`layer.stream(batch_size={len(inputs)})`."
            )
        output, self.states = self.layer.step(inputs, self.states)
        return output

    def reset(self, rows: Tensor | None = None) -> None:
        """Resets to the initial states, to start a new sequence.

        Args:
            rows: (batch_size,), true for the sequences to reset; all if None.
        """
        initial_states = self.layer.get_initial_state(self.batch_size)
        if rows is not None:
            reset = ops.cast(rows, "bool")
            initial_states = tree.map_structure(
                lambda initial, old: hold(reset, initial, old), initial_states, self.states
            )
        self.states = initial_states
