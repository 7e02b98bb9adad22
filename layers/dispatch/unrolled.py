"""Every step as separate operations."""

from typing import Any

from keras import ops, tree

from ..cells.base import takes_training
from ..typing import Tensor


def run_unrolled(
    layer: Any, sequences: Tensor, states: list[Tensor], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Unrolls the loop. Keras's own unrolling is wrong under masks, or fails, on some backends."""
    options = {"training": training} if takes_training(layer.cell) else {}
    outputs = []
    for t in range(sequences.shape[1]):
        output, new_states = layer.cell(sequences[:, t], states, **options)
        if mask is not None:
            valid = ops.expand_dims(mask[:, t], -1)
            new_states = tree.map_structure(
                lambda new, old, valid=valid: ops.where(valid, new, old),
                list(new_states),
                list(states),
            )
            output = ops.where(valid, output, outputs[-1] if outputs else 0.0)
        states = new_states
        outputs.append(output)
    return outputs[-1], ops.stack(outputs, axis=1), states
