"""Tracing recurrent layers: the value of every gate at every step."""

import keras
import numpy as np
from keras import ops, tree

from .cells.base import RecurrentCell
from .cells.contract import uses_values
from .cells.states import expand_mask
from .inputs import check_features, features_of
from .rnn import RNN
from .typing import States, Tensor


def trace_gates(
    layer: keras.layers.Layer,
    inputs: Tensor,
    *,
    initial_state: States | Tensor | None = None,
    mask: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Returns the gates, candidates and states of a recurrent layer at every step.

    It runs the cell step by step, without dropout; the states are those of the layer's forward
    pass.

    Args:
        layer: any recurrent layer of this library, built or not, or a
            `keras.layers.Bidirectional` of two of them.
        inputs: (batch, time, features).
        initial_state: the initial states, as in a call of the layer; by default the layer's own.
        mask: (batch, time), true at valid steps; None if all are valid.

    Returns:
        `{name: array (batch, time, units)}`, NumPy arrays named as in the cell's equations:
        f, i, g, c, o, h for an LSTM; z, r, n, h for a GRU; h for a simple RNN. The names of a
        bidirectional layer start with `forward_` and `backward_`. The time axis is that of the
        inputs, even if a layer runs backwards. At padded steps the states repeat their last valid
        value and everything else is NaN.

    Raises:
        TypeError: `layer`, or its cell, is not from this library, or the cell overrides `call`.

    Example:
        >>> trace = trace_gates(LSTM(4), np.ones((2, 5, 3)))
        >>> sorted(trace), trace["f"].shape
        (['c', 'f', 'g', 'h', 'i', 'o'], (2, 5, 4))
    """
    x = ops.convert_to_tensor(inputs, dtype=layer.compute_dtype)
    if isinstance(layer, keras.layers.Bidirectional):
        return _trace_bidirectional(layer, x, initial_state, mask)
    if not isinstance(layer, RNN) or not isinstance(layer.cell, RecurrentCell):
        raise TypeError(
            f"`layer` must be a recurrent layer of rnn_topologies.layers, got {type(layer)!r}."
        )
    if not uses_values(layer.cell):
        raise TypeError(
            f"{type(layer.cell).__name__} overrides `call`, so its `values` may not be what it "
            "computes. Override `values` instead."
        )
    if not layer.built:
        layer.build(x.shape)
    check_features(type(layer).__name__, features_of(layer.cell), x.shape)
    valid = None if mask is None else ops.convert_to_tensor(mask)
    return _trace_steps(layer, x, _initial_states(layer, x, initial_state), valid)


def _trace_steps(
    layer: RNN, inputs: Tensor, states: list[Tensor], mask: Tensor | None
) -> dict[str, np.ndarray]:
    cell, times = layer.cell, range(inputs.shape[1])
    steps: dict[int, dict[str, Tensor]] = {}
    for t in reversed(times) if layer.go_backwards else times:
        values = cell.values(inputs[:, t], states)
        if mask is not None:
            values = _mask_values(values, cell.state_names, states, mask[:, t])
        states = [values[name] for name in cell.state_names]
        steps[t] = values
    return {
        name: ops.convert_to_numpy(ops.stack([steps[t][name] for t in times], axis=1))
        for name in steps[0]
    }


def _trace_bidirectional(
    layer: keras.layers.Bidirectional,
    inputs: Tensor,
    initial_state: States | None,
    mask: Tensor | None,
) -> dict[str, np.ndarray]:
    if not layer.built:
        layer.build(inputs.shape)
    count = len(layer.forward_layer.state_size)
    forward_states = backward_states = None
    if initial_state is not None:
        forward_states, backward_states = initial_state[:count], initial_state[count:]
    directions = (
        ("forward", layer.forward_layer, forward_states),
        ("backward", layer.backward_layer, backward_states),
    )
    return {
        f"{direction}_{name}": values
        for direction, one_way, states in directions
        for name, values in trace_gates(one_way, inputs, initial_state=states, mask=mask).items()
    }


def _initial_states(
    layer: RNN, inputs: Tensor, initial_state: States | Tensor | None
) -> list[Tensor]:
    if initial_state is not None:
        states = tree.flatten(initial_state)
        return [ops.convert_to_tensor(state, dtype=layer.compute_dtype) for state in states]
    if layer.stateful and layer.states is not None:
        return list(layer.states)
    return layer.get_initial_state(inputs.shape[0])


def _mask_values(
    values: dict[str, Tensor], state_names: tuple[str, ...], states: States, valid: Tensor
) -> dict[str, Tensor]:
    """Replaces the values of padded steps: states with the old ones, everything else with NaN."""
    valid = ops.cast(valid, "bool")
    old_states = dict(zip(state_names, states, strict=True))
    return {
        name: ops.where(expand_mask(valid, value), value, old_states.get(name, float("nan")))
        for name, value in values.items()
    }
