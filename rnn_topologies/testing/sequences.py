"""Checks of a cell in a layer: loops, chunks, masks, mixed precision and compiled models."""

import inspect
from typing import Any

import keras
import numpy as np
from keras import ops

from rnn_topologies import layers

from .subject import (
    BATCH,
    MASK,
    TIME,
    CellError,
    Subject,
    as_numpy,
    failing_with,
    is_close,
    make_layer,
    run_layer,
    run_step,
)


def check_loop(subject: Subject) -> None:
    """Checks that a layer equals a Python loop over the cell, unrolled or not."""
    cell = subject.build_cell()
    x, initial_states = subject.sequence(), subject.states(cell)
    states, outputs = initial_states, []
    for t in range(TIME):
        output, states = run_step(cell, x[:, t], states)
        outputs.append(output)
    expected = (np.stack(outputs, axis=1), states)
    for unroll in (False, True):
        with failing_with(f"A layer around the cell fails (unroll={unroll})."):
            actual = run_layer(make_layer(cell, unroll=unroll), x, initial_states)
        if not is_close(actual, expected):
            raise CellError(
                f"A layer around the cell (unroll={unroll}) computes different values than calling "
                "the cell step by step. `call` must be a function of its arguments and the weights."
            )


def check_chunks(subject: Subject) -> None:
    """Checks that a sequence in two chunks, with the states passed on, gives the same values."""
    cell = subject.build_cell()
    layer, x, initial_states = make_layer(cell), subject.sequence(), subject.states(cell)
    expected, expected_states = run_layer(layer, x, initial_states)
    first, states = run_layer(layer, x[:, :2], initial_states)
    second, states = run_layer(layer, x[:, 2:], states)
    actual = np.concatenate([first, second], axis=1)
    if not is_close([actual, states], [expected, expected_states]):
        raise CellError(
            "A sequence in two chunks gives different values than the whole sequence: the states "
            "do not hold everything that the cell remembers, or the cell counts steps."
        )


def check_mask(subject: Subject) -> None:
    """Checks that padded steps change nothing."""
    cell = subject.build_cell()
    layer, x, states = make_layer(cell), subject.sequence(), subject.states(cell)
    with failing_with("A layer around the cell fails with a mask."):
        outputs, final_states = run_layer(layer, x, states, MASK)
    other_padding = run_layer(layer, np.where(MASK[..., None], x, 50.0), states, MASK)
    if not is_close((outputs, final_states), other_padding):
        raise CellError("The inputs at padded steps change the outputs or the final states.")
    for row in range(BATCH):
        without_padding = run_layer(
            layer, x[row : row + 1, MASK[row]], [state[row : row + 1] for state in states]
        )
        at_valid_steps = outputs[row : row + 1, MASK[row]]
        states_of_row = [state[row : row + 1] for state in final_states]
        if not is_close((at_valid_steps, states_of_row), without_padding):
            raise CellError(
                "A sequence with padded steps gives different values than the same sequence "
                "without them."
            )


def check_mixed_precision(subject: Subject) -> None:
    """Checks that in mixed_bfloat16 the cell computes in bfloat16 and keeps float32 weights."""
    parameters = inspect.signature(subject.cell_class.__init__).parameters
    if "dtype" not in parameters and not any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    ):
        raise CellError(
            "`__init__` does not accept `dtype`. Take `**kwargs` and pass them to `super()`."
        )
    cell = subject.build_cell()
    expected, _ = run_layer(make_layer(cell), subject.sequence(), subject.states(cell))
    with failing_with(
        "The cell fails in mixed_bfloat16. Create new tensors in `self.compute_dtype`, also in "
        "`get_initial_state`, and pass `**kwargs` to `super().__init__`."
    ):
        cell = subject.build_cell(dtype="mixed_bfloat16")
        layer = make_layer(cell, dtype="mixed_bfloat16")
        x = ops.cast(subject.sequence(), "bfloat16")
        states = [ops.cast(state, "bfloat16") for state in subject.states(cell)]
        outputs, *_ = layer(x, initial_state=states)
        layer(x)
    if keras.backend.standardize_dtype(outputs.dtype) != "bfloat16":
        raise CellError(
            f"In mixed_bfloat16 the output is {outputs.dtype}, not bfloat16: some tensor has "
            "another dtype, such as a constant created without `dtype=self.compute_dtype`."
        )
    if any(keras.backend.standardize_dtype(w.dtype) != "float32" for w in cell.weights):
        raise CellError(
            "In mixed_bfloat16, weights must stay float32. Create them with `self.add_weight`."
        )
    scale = max(1.0, float(np.abs(expected).max()))
    if not np.abs(as_numpy(outputs) - expected).max() < 0.1 * scale:  # bfloat16 has 8 bits
        raise CellError("In mixed_bfloat16 the outputs are off by more than a tenth.")


def check_compiled(subject: Subject) -> None:
    """Checks that a compiled model, for any batch size and length, computes the same."""
    cell = subject.build_cell()
    fix = (
        "Inside `call`, use only `keras.ops` on tensors: no NumPy, no `if` on values, and "
        "`ops.shape(inputs)[0]` instead of `inputs.shape[0]`, which is unknown there."
    )
    expected = as_numpy(make_layer(cell)(ops.convert_to_tensor(subject.sequence()))[0])
    with failing_with(f"A model with the cell does not compile for any length. {fix}"):
        inputs = keras.Input((None, subject.features))
        model: Any = keras.Model(inputs, layers.RNN(cell, return_sequences=True)(inputs))
        if model.output_shape[:2] != (None, None):
            raise CellError(f"The model's output shape is {model.output_shape}. {fix}")
        actual = model.predict(subject.sequence(), verbose=0)
        model.predict(subject.sequence()[:2, :3], verbose=0)
    if not is_close(actual, expected):
        raise CellError(f"Compiled, the cell computes different values than step by step. {fix}")
