"""Recurrent networks in NumPy float64, written from the equations and from nothing else."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn(x, states, weights):
    kernel, recurrent_kernel, bias = weights
    h = np.tanh(x @ kernel + states[0] @ recurrent_kernel + bias)
    return [h]


def lstm(x, states, weights, order="ifco"):
    """`order` says which block of columns belongs to which gate."""
    kernel, recurrent_kernel, bias = weights
    h, c = states
    units = h.shape[-1]
    z = {}
    for position, gate in enumerate(order):
        columns = slice(position * units, (position + 1) * units)
        z[gate] = x @ kernel[:, columns] + h @ recurrent_kernel[:, columns] + bias[columns]
    forget, enter, show = sigmoid(z["f"]), sigmoid(z["i"]), sigmoid(z["o"])
    c = forget * c + enter * np.tanh(z["c"])
    return [show * np.tanh(c), c]


def gru(x, states, weights, order="zrh", reset_after=True):
    kernel, recurrent_kernel, bias = weights
    (h,) = states
    units = h.shape[-1]
    blocks = {gate: slice(p * units, (p + 1) * units) for p, gate in enumerate(order)}
    b, d = bias if reset_after else (bias, np.zeros_like(bias))

    def product(gate, state):
        return state @ recurrent_kernel[:, blocks[gate]] + d[blocks[gate]]

    def entering(gate):
        return x @ kernel[:, blocks[gate]] + b[blocks[gate]]

    update = sigmoid(entering("z") + product("z", h))
    reset = sigmoid(entering("r") + product("r", h))
    if reset_after:
        candidate = np.tanh(entering("h") + reset * product("h", h))
    else:
        candidate = np.tanh(entering("h") + product("h", reset * h))
    return [update * h + (1 - update) * candidate]


def gru_reset_before(x, states, weights, order="zrh"):
    return gru(x, states, weights, order, reset_after=False)


STEPS = {"simple_rnn": simple_rnn, "lstm": lstm, "gru": gru, "gru_reset_before": gru_reset_before}


def sequence(step, x, states, weights, mask=None, go_backwards=False):
    """Returns (outputs in reading order, last states), row by row and step by step."""
    batch, time, _ = x.shape
    mask = np.ones((batch, time), bool) if mask is None else np.asarray(mask, bool)
    units = states[0].shape[-1]
    outputs = np.zeros((batch, time, units))
    last = [np.array(state, float) for state in states]
    for row in range(batch):
        now = [state[row : row + 1].astype(float) for state in states]
        order = range(time - 1, -1, -1) if go_backwards else range(time)
        for place, t in enumerate(order):
            if mask[row, t]:
                now = step(x[row : row + 1, t], now, weights)
            outputs[row, place] = now[0][0]
        for state, value in zip(last, now, strict=True):
            state[row] = value[0]
    return outputs, last
