"""Running a plan: direction and padding are normalized here, once for every method."""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops, tree

from ..cells.base import RecurrentCell
from ..typing import Tensor
from . import plan
from .alignment import Alignment
from .fused import run_fused
from .loop import run_loop, run_sliced
from .native import run_native
from .parallel import run_parallel
from .unrolled import run_unrolled


class Method(NamedTuple):
    """One way to run a layer over time.

    Attributes:
        run: `(layer, sequences, states, mask, training) -> (last output, outputs, last states)`.
            Padded steps leave the states unchanged. `outputs` may be anything without
            `return_sequences`.
        reverses: whether it applies `layer.go_backwards` itself; the others get sequences and
            mask in reading order.
        holds_outputs: whether padded steps already repeat the last valid output.
    """

    run: Callable[..., tuple[Tensor, Tensor, list[Tensor]]]
    reverses: bool = False
    holds_outputs: bool = False


METHODS = {
    plan.PARALLEL: Method(run_parallel),
    plan.NATIVE: Method(run_native, reverses=True, holds_outputs=True),  # without copying
    plan.FUSED: Method(run_fused),
    plan.UNROLLED: Method(run_unrolled),
    plan.LOOP: Method(run_loop, reverses=True),
    plan.SLICED: Method(run_sliced),
}


def execute(
    name: str,
    layer: Any,
    sequences: Tensor,
    states: list[Tensor],
    mask: Tensor | None,
    training: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs a layer over whole sequences.

    Args:
        name: a key of `METHODS`.
        layer: an `RNN`.
        sequences: (batch, time, features).
        states: the initial states.
        mask: (batch, time), true at valid steps, or None.
        training: whether dropout is applied.

    Returns:
        `(last output, outputs, last states)`, outputs in reading order.
    """
    method = METHODS[name]
    reading_mask = mask
    if layer.go_backwards and mask is not None:
        reading_mask = ops.flip(mask, axis=1)
    if layer.go_backwards and not method.reverses:
        sequences, mask = ops.flip(sequences, axis=1), reading_mask
    last, outputs, new_states = method.run(layer, sequences, states, mask, training)
    if mask is None:
        return last, outputs, new_states
    if not method.holds_outputs:
        last, outputs = _hold(layer, last, outputs, states, new_states, reading_mask)
    if layer.return_sequences and layer.zero_output_for_mask:
        valid = ops.expand_dims(reading_mask, -1)
        outputs = ops.where(valid, outputs, ops.zeros_like(outputs))
    return last, outputs, new_states


def _hold(layer, last, outputs, initial_states, last_states, mask):
    """Returns the outputs with padded steps as `RNN` documents them.

    All methods freeze the states alike but differ in these outputs: before the first valid step
    TensorFlow's and PyTorch's loops return zeros, JAX's the initial state.
    """
    initial = _output_state(layer.cell, initial_states)
    final = _output_state(layer.cell, last_states)
    if final is not None:
        last = final
    if not layer.return_sequences:
        return last, outputs
    started = ops.cumsum(ops.cast(ops.expand_dims(mask, -1), "int32"), axis=1) > 0
    if final is None:
        outputs = Alignment(mask).hold(outputs)
        outputs = ops.where(started, outputs, ops.zeros_like(outputs))
        last = outputs[:, -1]
    elif initial is not None and not layer.zero_output_for_mask:
        outputs = ops.where(started, outputs, ops.expand_dims(initial, 1))
    return last, outputs


def _output_state(cell, states):
    """Returns the state that is also the output, or None if no state is."""
    if isinstance(cell, RecurrentCell):
        return cell.output_state(states)
    # In Keras's stacked cells it is the first state of the last cell.
    return states[-1][0] if tree.is_nested(states[0]) else states[0]
