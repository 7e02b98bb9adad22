"""A loop over the cell's equations: Keras's own, or one that LiteRT can hold."""

from types import SimpleNamespace
from typing import Any

import keras
from keras import ops

from ..cells.states import expand_mask
from ..typing import Tensor
from .step import Step


def run_loop(
    layer: Any, sequences: Tensor, states: list[Any], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Any]]:
    """Runs the backend's loop, as in Keras, which also applies `go_backwards`.

    On some backends Keras's own masking assumes that the output is the first state, or fails. Here
    the mask enters the loop as an additional feature, and the step applies it.
    """
    step = Step(layer, states, mask is not None, training)
    carry = step.start(sequences[:, 0])

    def run_step(inputs, carry):
        if mask is None:
            return step(inputs, carry)
        first = (0,) * (len(inputs.shape) - 2)
        valid = ops.cast(inputs[(slice(None), *first, -1)], "bool")
        return step(inputs[..., :-1], carry, valid)

    if mask is not None:
        valid = ops.cast(expand_mask(mask, sequences), sequences.dtype)
        valid = ops.broadcast_to(valid, (*ops.shape(sequences)[:-1], 1))
        sequences = ops.concatenate([sequences, valid], axis=-1)
    loop = SimpleNamespace(
        cell=run_step,
        go_backwards=layer.go_backwards,
        stateful=layer.stateful,
        return_sequences=layer.return_sequences,
        zero_output_for_mask=False,
        unroll=False,
    )
    inner_loop: Any = keras.layers.RNN.inner_loop
    last, outputs, carry = inner_loop(loop, sequences, carry, None)
    return last, outputs, step.states(carry)


def run_sliced(
    layer: Any, sequences: Tensor, states: list[Any], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Any]]:
    """Runs a loop that writes every output into one tensor, which LiteRT can hold.

    On TensorFlow, Keras's loop collects outputs in a `TensorList`, which LiteRT lacks.
    """
    step = Step(layer, states, mask is not None, training)
    batch, time = ops.shape(sequences)[:2]
    output = step.first_output(sequences[:, 0])

    def run_step(t, outputs, *carry):
        valid = None if mask is None else ops.take(mask, t, axis=1)
        output, carry = step(ops.take(sequences, t, axis=1), list(carry), valid)
        start = (0, t, *(0 for _ in output.shape[1:]))
        return t + 1, ops.slice_update(outputs, start, ops.expand_dims(output, 1)), *carry

    outputs = ops.zeros((batch, time, *output.shape[1:]), dtype=output.dtype)
    start = (ops.convert_to_tensor(0, dtype="int32"), outputs, *step.start(sequences[:, 0]))
    _, outputs, *carry = ops.while_loop(lambda t, *_: t < time, run_step, start)
    return outputs[:, -1], outputs, step.states(carry)
