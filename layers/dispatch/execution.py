"""Running a plan: direction and padding are normalized here, once for every method."""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from ..cells.states import zero_padding
from ..typing import Tensor
from . import plan
from .fused import run_fused
from .loop import run_loop, run_sliced
from .native import run_native
from .parallel import run_parallel
from .unrolled import run_unrolled


class Method(NamedTuple):
    """One way to run a layer over time.

    Attributes:
        run: `(layer, sequences, states, mask, training) -> (last output, outputs, last states)`.
            Padded steps leave the states unchanged and repeat the last valid output. `outputs`
            is ignored without `return_sequences`.
        reverses: whether it applies `layer.go_backwards` itself; the others get sequences and
            mask in reading order.
    """

    run: Callable[..., tuple[Tensor, Tensor, list[Any]]]
    reverses: bool = False


METHODS = {
    plan.PARALLEL: Method(run_parallel),
    plan.NATIVE: Method(run_native, reverses=True),
    plan.FUSED: Method(run_fused),
    plan.UNROLLED: Method(run_unrolled),
    plan.LOOP: Method(run_loop, reverses=True),
    plan.SLICED: Method(run_sliced),
}


def execute(
    name: str,
    layer: Any,
    sequences: Tensor,
    states: list[Any],
    mask: Tensor | None,
    training: bool,
) -> tuple[Tensor, Tensor, list[Any]]:
    """Runs a layer over whole sequences.

    Args:
        name: a key of `METHODS`.
        layer: an `RNN`.
        sequences: (batch, time, ...).
        states: the initial states, in the structure that the cell expects.
        mask: (batch, time), true at valid steps, or None.
        training: whether dropout is applied.

    Returns:
        `(last output, outputs, last states)`, outputs in reading order.
    """
    method = METHODS[name]
    reading_mask = mask
    if mask is not None:
        sequences = zero_padding(mask, sequences)
        reading_mask = ops.flip(mask, axis=1) if layer.go_backwards else mask
    if layer.go_backwards and not method.reverses:
        sequences, mask = ops.flip(sequences, axis=1), reading_mask
    last, outputs, new_states = method.run(layer, sequences, states, mask, training)
    if reading_mask is not None and layer.return_sequences and layer.zero_output_for_mask:
        outputs = zero_padding(reading_mask, outputs)
    return last, outputs, new_states
