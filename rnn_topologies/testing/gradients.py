"""Gradients of a cell with respect to its weights, inputs and states, on every backend."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from .subject import CellError, Subject, failing_with, make_layer, state_sizes


def check_gradients(subject: Subject) -> None:
    """Checks that the gradients of all weights, inputs and states are finite and not zero."""
    cell = subject.build_cell()
    with failing_with("No gradient can be computed. Use `keras.ops`, not NumPy, in `call`."):
        gradients = _gradients(cell, subject.sequence(), subject.states(cell))
    names = [f"weight `{weight.name}`" for weight in cell.trainable_weights]
    names += ["inputs", *(f"state {number}" for number in range(len(state_sizes(cell))))]
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is None or not gradient.any():
            raise CellError(
                f"The gradient of the {name} is zero everywhere: no output depends on it. Use it "
                "in `call` or remove it; and compute with `keras.ops`."
            )
        if not np.isfinite(gradient).all():
            raise CellError(
                f"The gradient of the {name} is not finite. Look for roots, logarithms and "
                "quotients of values that can be zero; add an epsilon inside."
            )


def _gradients(cell: Any, x: np.ndarray, states: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """Returns the gradients of mean(outputs^2 + final states^2): of weights, inputs, states."""
    layer: Any = make_layer(cell)
    layer.build(x.shape)

    def loss(x, states):
        outputs, *final_states = layer(x, initial_state=list(states), training=False)
        own_start, *_ = layer(x, training=False)  # from the cell's own initial states
        squares: list[Any] = [ops.mean(value**2) for value in (outputs, own_start, *final_states)]
        return sum(squares[1:], squares[0])

    backend = keras.backend.backend()
    gradients_on = {"tensorflow": _on_tensorflow, "torch": _on_torch, "jax": _on_jax}[backend]
    return gradients_on(loss, cell, x, states)


def _on_tensorflow(loss, cell, x, states):
    import tensorflow as tf

    x, states = tf.constant(x), [tf.constant(state) for state in states]
    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        value = loss(x, states)
    variables = [weight.value for weight in cell.trainable_weights]
    gradients = tape.gradient(value, [*variables, x, *states])
    return [None if g is None else np.asarray(tf.convert_to_tensor(g)) for g in gradients]


def _on_torch(loss, cell, x, states):
    import torch

    x = torch.tensor(x, requires_grad=True)
    states = [torch.tensor(state, requires_grad=True) for state in states]
    leaves = [*(weight.value for weight in cell.trainable_weights), x, *states]
    gradients = torch.autograd.grad(loss(x, states), leaves, allow_unused=True)
    return [None if g is None else g.numpy() for g in gradients]


def _on_jax(loss, cell, x, states):
    import jax

    def stateless_loss(values, x, states):
        mapping = list(zip(cell.trainable_weights, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return loss(x, states)

    values = [weight.value for weight in cell.trainable_weights]
    of_weights, of_inputs, of_states = jax.grad(stateless_loss, argnums=(0, 1, 2))(
        values, jax.numpy.asarray(x), [jax.numpy.asarray(state) for state in states]
    )
    return [np.asarray(gradient) for gradient in (*of_weights, of_inputs, *of_states)]
