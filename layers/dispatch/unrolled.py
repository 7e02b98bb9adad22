"""Every step as separate operations."""

from typing import Any

from keras import ops

from ..typing import Tensor
from .step import Step


def run_unrolled(
    layer: Any, sequences: Tensor, states: list[Any], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Any]]:
    """Unrolls the loop. Keras's own unrolling is wrong under masks, or fails, on some backends."""
    step = Step(layer, states, mask is not None, training)
    carry, outputs = step.start(sequences[:, 0]), []
    for t in range(sequences.shape[1]):
        valid = None if mask is None else mask[:, t]
        output, carry = step(sequences[:, t], carry, valid)
        outputs.append(output)
    return outputs[-1], ops.stack(outputs, axis=1), step.states(carry)
