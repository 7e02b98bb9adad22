"""One step of a loop over any cell. Padded steps keep the states and repeat the output."""

from typing import Any

from keras import ops, tree

from ..cells.base import takes_training
from ..cells.contract import output_state
from ..cells.states import hold, pack_states
from ..typing import Tensor


class Step:
    """Runs the cell of a layer on one time step.

    The loop carries a flat list of tensors, the states. With a mask it also carries the output of
    the last valid step, first in the list, unless the cell is known to return one of its states.
    Before the first valid step the output is the initial value of that state, or zero if there is
    none.

    Args:
        layer: an `RNN`.
        states: the initial states, in the structure that the cell expects.
        masked: whether there is a mask.
        training: whether dropout is applied.
    """

    def __init__(self, layer: Any, states: list[Any], masked: bool, training: bool) -> None:
        self.cell = layer.cell
        self.initial_states = states
        self.options = {"training": training} if takes_training(layer.cell) else {}
        numbers = list(range(len(tree.flatten(states))))
        known = output_state(self.cell, tree.pack_sequence_as(states, numbers))
        self.carries_output = masked and known is None
        self.output_position = 0 if known is None else known  # in the carry

    def first_output(self, inputs: Tensor) -> Tensor:
        """Returns an output of the cell, for its shape and dtype.

        Args:
            inputs: any step of the sequence, (batch, ...).
        """
        return self.cell(inputs, self.initial_states, **self.options)[0]

    def start(self, inputs: Tensor) -> list[Tensor]:
        """Returns the carry for the first step.

        Args:
            inputs: any step of the sequence, (batch, ...).
        """
        states = tree.flatten(self.initial_states)
        if not self.carries_output:
            return states
        return [ops.zeros_like(self.first_output(inputs)), *states]

    def __call__(
        self, inputs: Tensor, carry: list[Tensor], valid: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Runs one step.

        Args:
            inputs: (batch, ...).
            carry: returned by `start` or the previous step.
            valid: (batch,), false in the rows where this step is padding.

        Returns:
            `(output, carry for the next step)`.
        """
        states = self.states(carry)
        output, new_states = self.cell(inputs, states, **self.options)
        new = tree.flatten(pack_states(states, new_states, self.cell))
        if valid is None:
            return output, new
        new = [output, *new] if self.carries_output else new
        held = [hold(valid, after, before) for after, before in zip(new, carry, strict=True)]
        return held[self.output_position], held

    def states(self, carry: list[Tensor]) -> list[Any]:
        """Returns the states in the carry, in the structure that the cell expects."""
        return tree.pack_sequence_as(self.initial_states, list(carry)[int(self.carries_output) :])
