"""Checks of single steps of a cell."""

from typing import Any

import numpy as np
from keras import ops, tree

from rnn_topologies import layers

from .subject import (
    ATOL,
    BATCH,
    RTOL,
    CellError,
    Skipped,
    Subject,
    as_list,
    as_tensors,
    failing_with,
    is_close,
    run_step,
    state_sizes,
)


def check_contract(subject: Subject) -> None:
    """Checks the sizes and number of states, the output shape and the initial states."""
    with failing_with("The cell cannot be created and built with the given arguments."):
        cell = subject.build_cell()
    _check_state_size(cell)
    x, states = subject.sequence()[:, 0], subject.states(cell)
    with failing_with("`call(inputs, states)` fails on one step. It must take a list of states."):
        result = cell(ops.convert_to_tensor(x), as_tensors(states))
    if not isinstance(result, list | tuple) or len(result) != 2:
        raise CellError("`call` must return two values: the output and the new states.")
    output, new_states = result
    _check_new_states(cell, new_states)
    size = getattr(cell, "output_size", None) or state_sizes(cell)[0]
    if tuple(output.shape) != (BATCH, size):
        raise CellError(
            f"The output has shape {tuple(output.shape)}, expected {(BATCH, size)}. Set "
            "`output_size` if it differs from the size of the first state."
        )
    if hasattr(cell, "get_initial_state"):
        _check_initial_states(cell)


def _check_state_size(cell: Any) -> None:
    sizes = getattr(cell, "state_size", None)
    is_list = isinstance(sizes, list | tuple) and sizes and all(isinstance(n, int) for n in sizes)
    if not isinstance(sizes, int) and not is_list:
        raise CellError(
            "`state_size` must be the size of the state, or a list of sizes, got "
            f"{sizes!r}. Set it in `__init__`."
        )


def _check_new_states(cell: Any, new_states: Any) -> None:
    sizes = state_sizes(cell)
    if not isinstance(new_states, list | tuple) or len(new_states) != len(sizes):
        count = len(new_states) if isinstance(new_states, list | tuple) else "a tensor"
        raise CellError(
            "`call` must return its new states in a list, one for each of `state_size` "
            f"({len(sizes)}), got {count}. End it with `return output, [h, ...]`."
        )
    for number, (state, size) in enumerate(zip(new_states, sizes, strict=True)):
        if tuple(state.shape) != (BATCH, size):
            raise CellError(
                f"State {number} is returned with shape {tuple(state.shape)}, but `state_size` "
                f"means {(BATCH, size)}. The loop carries states from step to step: their shapes "
                "must not change."
            )


def _check_initial_states(cell: Any) -> None:
    with failing_with("`get_initial_state(batch_size=...)` fails."):
        initial_states = as_list(cell.get_initial_state(batch_size=BATCH))
    shapes = [tuple(state.shape) for state in initial_states]
    expected = [(BATCH, size) for size in state_sizes(cell)]
    if shapes != expected:
        raise CellError(
            f"`get_initial_state` returns shapes {shapes}, but `state_size` means {expected}."
        )


def check_output_state(subject: Subject) -> None:
    """Checks that the first state is the output, as Keras's masked loop on JAX assumes."""
    cell = subject.build_cell()
    output, new_states = run_step(cell, subject.sequence()[:, 0], subject.states(cell))
    output_state = new_states[0]
    if isinstance(cell, layers.RecurrentCell):
        output_state = cell.output_state(new_states)
        if output_state is None:
            raise Skipped("the cell declares that its output is not a state; `RNN` handles that")
    if not is_close(output, output_state):
        raise CellError(
            "The first state is not the output. `rnn_topologies.layers.RNN` handles that, but "
            "`keras.layers.RNN` on JAX repeats the first state at padded steps. Put the output "
            "first, or subclass `rnn_topologies.layers.RecurrentCell` and set "
            "`output_name`."
        )


def check_purity(subject: Subject) -> None:
    """Checks that the same step twice gives the same result."""
    cell = subject.build_cell()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    expected = run_step(cell, x, states)
    run_step(cell, 3 * x, states)
    if not is_close(run_step(cell, x, states), expected):
        raise CellError(
            "The same inputs and states give different values the second time: the cell keeps "
            "information outside its states, or uses random numbers outside training. Keep "
            "everything that is passed from step to step in the states."
        )


def check_rows(subject: Subject) -> None:
    """Checks that the rows of a batch do not influence each other."""
    cell = subject.build_cell()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    batch = run_step(cell, x, states)
    first_row = run_step(cell, x[:1], [state[:1] for state in states])
    if not is_close(tree.map_structure(lambda value: value[:1], batch), first_row):
        raise CellError(
            "A row's output depends on the other rows of its batch. Take means and maxima over the "
            "last axis, never over the first."
        )


def check_memory(subject: Subject) -> None:
    """Checks that the output depends on previous steps."""
    cell = subject.build_cell()
    x = subject.sequence()[:, 0]
    result = run_step(cell, x, subject.states(cell, seed=2))
    with_other_states = run_step(cell, x, subject.states(cell, seed=3))
    if is_close(result, with_other_states):
        raise CellError(
            "Neither the output nor the new states depend on the old states: the cell has no "
            "memory. Multiply the old state by a recurrent kernel, or carry it over."
        )


def check_reference(subject: Subject) -> None:
    """Checks one step against the NumPy reference."""
    if subject.reference is None:
        raise Skipped("no `reference` was passed")
    cell = subject.build_cell()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    weights = [weight.astype("float64") for weight in cell.get_weights()]
    reference_states = subject.reference(
        x.astype("float64"), [state.astype("float64") for state in states], weights
    )
    _, new_states = run_step(cell, x, states)
    for number, (actual, expected) in enumerate(zip(new_states, reference_states, strict=True)):
        if not np.allclose(actual, expected, rtol=RTOL, atol=ATOL):
            difference = np.abs(actual - expected).max()
            raise CellError(
                f"State {number} differs from the reference by up to {difference:.2g}. Check the "
                "order of the gates in the weights, signs, and whether the old or the new state is "
                "used."
            )
