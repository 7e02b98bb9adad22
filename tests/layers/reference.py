"""Recurrent networks in NumPy float64, written from the equations of the papers only."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn(x, states, weights):
    kernel, recurrent_kernel, bias = weights
    h = np.tanh(x @ kernel + states[0] @ recurrent_kernel + bias)
    return [h]


def lstm(x, states, weights, order="ifco"):
    """`order` lists the gates in the order of their column blocks."""
    kernel, recurrent_kernel, bias = weights
    h, c = states
    units = c.shape[-1]
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


def lstm_gates(x, h, weights, names):
    """Returns the pre-activations of the gates, by name."""
    kernel, recurrent_kernel, bias = weights[:3]
    sums = x @ kernel + h @ recurrent_kernel + bias
    return dict(zip(names, np.split(sums, len(names), axis=-1), strict=True))


def peephole_lstm(x, states, weights):
    h, c = states
    z, peep = lstm_gates(x, h, weights, "ifco"), dict(zip("ifo", weights[3], strict=True))
    forget, enter = sigmoid(z["f"] + peep["f"] * c), sigmoid(z["i"] + peep["i"] * c)
    c = forget * c + enter * np.tanh(z["c"])
    return [sigmoid(z["o"] + peep["o"] * c) * np.tanh(c), c]


def coupled_lstm(x, states, weights):
    h, c = states
    z = lstm_gates(x, h, weights, "fco")
    forget = sigmoid(z["f"])
    c = forget * c + (1 - forget) * np.tanh(z["c"])
    return [sigmoid(z["o"]) * np.tanh(c), c]


def lstmp(x, states, weights):
    h, c = lstm(x, states, weights[:3])
    return [h @ weights[3], c]


def norm(a):
    spread = np.sqrt(a.var(-1, keepdims=True) + 1e-5)
    return (a - a.mean(-1, keepdims=True)) / spread


def layer_norm_lstm(x, states, weights):
    kernel, recurrent_kernel, bias, gain_x, gain_h, gain_c, bias_c = weights
    h, c = states
    sums = norm(x @ kernel) * gain_x + norm(h @ recurrent_kernel) * gain_h + bias
    enter, forget, candidate, show = np.split(sums, 4, axis=-1)
    c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(candidate)
    return [sigmoid(show) * np.tanh(norm(c) * gain_c + bias_c), c]


def layer_norm_gru(x, states, weights):
    kernel, recurrent_kernel, (b, d), gain_x, gain_h = weights
    (h,) = states
    gates = 2 * h.shape[-1]

    def normalized(product, gain, shift):
        parts = norm(product[:, :gates]), norm(product[:, gates:])
        return np.split(np.concatenate(parts, -1) * gain + shift, 3, axis=-1)

    x_z, x_r, x_n = normalized(x @ kernel, gain_x, b)
    a_z, a_r, a_n = normalized(h @ recurrent_kernel, gain_h, d)
    update = sigmoid(x_z + a_z)
    return [update * h + (1 - update) * np.tanh(x_n + sigmoid(x_r + a_r) * a_n)]


def ind_rnn(x, states, weights):
    kernel, (u,), bias = weights
    return [np.maximum(x @ kernel + u * states[0] + bias, 0)]


def min_gru(x, states, weights):
    kernel, bias = weights
    update, candidate = np.split(x @ kernel + bias, 2, axis=-1)
    update = sigmoid(update)
    return [update * states[0] + (1 - update) * candidate]


def min_lstm(x, states, weights):
    kernel, bias = weights
    forget, enter, candidate = np.split(x @ kernel + bias, 3, axis=-1)
    forget, enter = sigmoid(forget), sigmoid(enter)
    return [(forget * states[0] + enter * candidate) / (forget + enter)]


STEPS = {
    step.__name__: step
    for step in (
        *(simple_rnn, lstm, gru, gru_reset_before, peephole_lstm, coupled_lstm, lstmp),
        *(layer_norm_lstm, layer_norm_gru, ind_rnn, min_gru, min_lstm),
    )
}


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
