"""Looking into recurrent layers: what every gate does at every step."""

import keras
from keras import ops

from .cells.base import RecurrentCell
from .rnn import RNN


def trace_gates(layer, inputs, *, initial_state=None, mask=None) -> dict:
    """Returns the gates, candidates and states of a recurrent layer at every step.

    The steps are the cell's own, taken one by one, without dropout; so the states are those of
    the layer's forward pass.

    Args:
        layer: any of our layers, built or not, or a `keras.layers.Bidirectional` of two of them.
        inputs: (batch, time, features).
        initial_state: the states to start from, as the layer takes them; by default those that
            the layer would start from itself.
        mask: (batch, time), true at valid steps; None if all are.

    Returns:
        `{name: array (batch, time, units)}`, NumPy arrays under the names of the cell's equations:
        of an LSTM f, i, g, c, o, h; of a GRU z, r, n, h; of a simple RNN h. Of a bidirectional
        layer they begin with `forward_` and `backward_`. The second axis is the time of the
        inputs, also where a layer reads backwards. At padded steps states are held, all else is
        NaN.

    Raises:
        TypeError: `layer` is none of ours, or its cell.

    Example:
        >>> trace = trace_gates(LSTM(4), np.ones((2, 5, 3)))
        >>> sorted(trace), trace["f"].shape
        (['c', 'f', 'g', 'h', 'i', 'o'], (2, 5, 4))
    """
    inputs = ops.convert_to_tensor(inputs, dtype=layer.compute_dtype)
    if isinstance(layer, keras.layers.Bidirectional):
        return _both_ways(layer, inputs, initial_state, mask)
    if not isinstance(layer, RNN) or not isinstance(layer.cell, RecurrentCell):
        raise TypeError(
            f"`layer` must be a recurrent layer of rnn_topologies.layers, got {type(layer)!r}."
        )
    if not layer.built:
        layer.build(inputs.shape)
    states = _first_states(layer, inputs, initial_state)
    cell, times = layer.cell, range(inputs.shape[1])
    steps = [None] * len(times)
    for t in reversed(times) if layer.go_backwards else times:
        values = cell.values(inputs[:, t], states)
        if mask is not None:
            values = _held(values, cell.state_names, states, ops.convert_to_tensor(mask)[:, t])
        states = [values[name] for name in cell.state_names]
        steps[t] = values
    return {
        name: ops.convert_to_numpy(ops.stack([step[name] for step in steps], axis=1))
        for name in steps[0]
    }


def _both_ways(layer, inputs, initial_state, mask):
    if not layer.built:
        layer.build(inputs.shape)
    forward, backward = layer.forward_layer, layer.backward_layer
    count = len(forward.state_size)
    start = (None, None)
    if initial_state is not None:
        start = initial_state[:count], initial_state[count:]
    directions = zip(("forward", "backward"), (forward, backward), start, strict=True)
    return {
        f"{direction}_{name}": values
        for direction, one, states in directions
        for name, values in trace_gates(one, inputs, initial_state=states, mask=mask).items()
    }


def _first_states(layer, inputs, initial_state):
    if initial_state is not None:
        states = initial_state if isinstance(initial_state, list | tuple) else [initial_state]
        return [ops.convert_to_tensor(state, dtype=layer.compute_dtype) for state in states]
    if layer.stateful:
        return list(layer.states)
    return layer.get_initial_state(inputs.shape[0])


def _held(values, state_names, states, valid):
    """Puts the old states, and NaN for all else, where a step is padding."""
    valid = ops.expand_dims(ops.cast(valid, "bool"), -1)
    before = dict(zip(state_names, states, strict=True))
    return {
        name: ops.where(valid, value, before.get(name, float("nan")))
        for name, value in values.items()
    }
