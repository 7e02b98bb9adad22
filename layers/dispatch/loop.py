"""A loop over the cell's equations: Keras's own, or one that LiteRT can hold."""

from typing import Any

import keras
from keras import ops, tree

from ..cells.base import takes_training
from ..typing import Tensor
from .alignment import Alignment


def run_loop(
    layer: Any, sequences: Tensor, states: list[Tensor], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs the backend's loop, as in Keras, which also applies `go_backwards`."""
    loop = keras.layers.RNN.inner_loop
    top = getattr(layer.cell, "top_state", 0)
    if not top:
        return loop(layer, sequences, states, mask, training=training)
    # On JAX, Keras replaces the output at padded steps with the first state, or of nested states
    # with the first of the last group: nest them so that it at least has the output's width.
    nested = [states[:top], states[top:]]
    last, outputs, nested = loop(layer, sequences, nested, mask, training=training)
    return last, outputs, tree.flatten(nested)


def run_sliced(
    layer: Any, sequences: Tensor, states: list[Tensor], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs a loop that writes every output into one tensor, which LiteRT can hold.

    On TensorFlow, Keras's loop collects outputs in a `TensorList`, which LiteRT lacks.
    """
    cell = layer.cell
    batch, time = ops.shape(sequences)[:2]
    width = getattr(cell, "output_size", None) or layer.state_size[0]
    options = {"training": training} if takes_training(cell) else {}

    def step(t, outputs, *states):
        states = list(states)
        output, new_states = cell(ops.take(sequences, t, axis=1), states, **options)
        if mask is not None:
            valid = ops.expand_dims(ops.take(mask, t, axis=1), -1)
            pairs = zip(new_states, states, strict=True)
            new_states = [ops.where(valid, new, old) for new, old in pairs]
        outputs = ops.slice_update(outputs, (0, t, 0), ops.expand_dims(output, 1))
        return t + 1, outputs, *new_states

    outputs = ops.zeros((batch, time, width), dtype=states[0].dtype)
    start = (ops.convert_to_tensor(0, dtype="int32"), outputs, *states)
    _, outputs, *states = ops.while_loop(lambda t, *_: t < time, step, start)
    if mask is not None:
        outputs = Alignment(mask).hold(outputs)
    return outputs[:, -1], outputs, states
