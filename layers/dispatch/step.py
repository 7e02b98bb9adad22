"""One step of a loop over any cell: padded steps keep the states and repeat the output."""

from typing import Any

from keras import ops, tree

from ..cells.base import takes_training
from ..cells.contract import output_state
from ..cells.states import hold, pack_states
from ..typing import Tensor


class Step:
    """Runs the cell of a layer on one time step.

    From step to step a loop carries a flat list of tensors, the states. The output of a cell need
    not be one of them: with a mask, unless the cell is known to return a state, the output of the
    last valid step comes first in the list. Before the first valid step the output is the initial
    state that the cell is known to return, or else zero.

    Args:
        layer: an `RNN`.
        states: the initial states, in the structure that the cell takes.
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
        self.output_position = 0 if known is None else known  # in what is carried

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
        if not self.carries_output:
            return states
        return [ops.zeros_like(self.first_output(inputs)), *states]

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
        new = tree.flatten(pack_states(states, new_states, self.cell))
        if valid is None:
            return output, new
        new = [output, *new] if self.carries_output else new
        held = [hold(valid, after, before) for after, before in zip(new, carry, strict=True)]
        return held[self.output_position], held

    def states(self, carry: list[Tensor]) -> list[Any]:
        """Returns the states among what is carried, in the structure that the cell takes."""
        return tree.pack_sequence_as(self.initial_states, list(carry)[int(self.carries_output) :])
