"""One step of a loop over any cell: padded steps keep the states and repeat the output."""

from typing import Any

from keras import ops, tree

from ..cells.base import takes_training
from ..cells.contract import output_state
from ..cells.states import hold, pack_states
from ..typing import Tensor


class Step:
    """Runs the cell of a layer on one time step.

    From step to step a loop carries a flat list of tensors: the states and, with a mask, before
    them the output of the last valid step, since the output of a cell need not be one of its
    states. Before the first valid step it is the initial state that the cell is known to return
    as its output, or else zeros.

    Args:
        layer: an `RNN`.
        states: the initial states, in the structure that the cell takes.
        masked: whether there is a mask.
        training: whether dropout is applied.
    """

    def __init__(self, layer: Any, states: list[Any], masked: bool, training: bool) -> None:
        self.cell = layer.cell
        self.initial_states = states
        self.masked = masked
        self.options = {"training": training} if takes_training(layer.cell) else {}

    def first_output(self, inputs: Tensor) -> Tensor:
        """Returns an output of the cell, for its shape and dtype.

        Args:
            inputs: any step of the sequence, (batch, ...).
        """
        return self.cell(inputs, self.initial_states, **self.options)[0]

    def start(self, inputs: Tensor) -> list[Tensor]:
        """Returns what to carry into the first step.

        Args:
            inputs: any step of the sequence, (batch, ...).
        """
        states = tree.flatten(self.initial_states)
        if not self.masked:
            return states
        held = output_state(self.cell, self.initial_states)
        return [ops.zeros_like(self.first_output(inputs)) if held is None else held, *states]

    def __call__(
        self, inputs: Tensor, carry: list[Tensor], valid: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Runs one step.

        Args:
            inputs: (batch, ...).
            carry: what `start` or the previous step returned.
            valid: (batch,), false in the rows where this step is padding.

        Returns:
            `(output, what to carry into the next step)`.
        """
        states = self.states(carry)
        output, new_states = self.cell(inputs, states, **self.options)
        new_states = tree.flatten(pack_states(states, new_states, self.cell))
        if valid is None:
            return output, new_states
        pairs = zip([output, *new_states], carry, strict=True)
        output, *new_states = (hold(valid, new, old) for new, old in pairs)
        return output, [output, *new_states]

    def states(self, carry: list[Tensor]) -> list[Any]:
        """Returns the states among what is carried, in the structure that the cell takes."""
        return tree.pack_sequence_as(self.initial_states, list(carry)[int(self.masked) :])
