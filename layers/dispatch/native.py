"""Whole sequences in the native CPU kernel."""

from typing import Any

from .. import native
from ..typing import Tensor
from .plan import native_name


def run_native(
    layer: Any, sequences: Tensor, states: list[Tensor], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs the kernel, which reads in either direction and holds outputs at padded steps."""
    cell = layer.cell
    name = native_name(cell)
    assert name is not None  # the plan is made for cells that the kernel supports
    outputs, states = native.run_kernel(
        name,
        cell.drop_inputs(sequences, training),
        states,
        (cell.kernel, cell.recurrent_kernel, cell.bias),
        mask=mask,
        reverse=layer.go_backwards,
        training=training,
        keep_outputs=layer.return_sequences,
    )
    last = states[0]
    return last, last if outputs is None else outputs, states
