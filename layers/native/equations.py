"""The kernel's equations in backend operations: what it computes, as differentiable code.

The kernel only has first derivatives in reverse mode. For everything else, the adapters
differentiate these equations: second derivatives, forward mode and vectorization.
"""

from keras import ops

from ..typing import Tensor


def run_equations(
    settings: tuple[int, int, int],
    x: Tensor,
    mask: Tensor,
    h0: Tensor,
    c0: Tensor,
    kernel: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    *,
    unroll: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what the kernel returns for the same arguments, see `src/kernel.h`.

    Args:
        settings: index of the cell in `native.CELLS`, whether to read the last step first, and the
            number of threads, which is ignored.
        x: (batch, time, features).
        mask: (batch, time), true at valid steps, or (0,) without a mask.
        h0: (batch, units).
        c0: (batch, units), or (0,) for cells other than the LSTM.
        kernel: (features, gates * units).
        recurrent: (units, gates * units).
        bias: as in Keras, or (0,) without bias.
        unroll: whether to avoid a backend loop if the number of steps is known.

    Returns:
        `(y, h, c)`: h after every step, (batch, time, units), and the final states.
    """
    cell, reverse, _ = settings
    step, masked = STEPS[cell], len(mask.shape) == 2
    if masked:
        x = ops.where(ops.expand_dims(mask, -1), x, ops.zeros_like(x))
    x_bias, h_bias = (bias[0], bias[1]) if len(bias.shape) == 2 else (bias, bias[:0])
    sequences = [_add_bias(ops.matmul(x, kernel), x_bias)]
    sequences += [ops.expand_dims(mask, -1)] if masked else []
    if reverse:
        sequences = [ops.flip(sequence, axis=1) for sequence in sequences]
    states = [h0, c0][: 2 if step is _lstm else 1]

    def run_step(states, inputs):
        new_states = step(inputs[0], states, recurrent, h_bias)
        if masked:
            pairs = zip(new_states, states, strict=True)
            new_states = [ops.where(inputs[1], new, old) for new, old in pairs]
        return new_states, new_states

    if x.shape[1] == 0:
        return ops.matmul(x, kernel)[..., : h0.shape[1]], h0, c0
    scan = _unrolled_scan if unroll and isinstance(x.shape[1], int) else ops.scan
    steps_first = [ops.swapaxes(sequence, 0, 1) for sequence in sequences]
    states, outputs = scan(run_step, states, steps_first)
    return ops.swapaxes(outputs[0], 0, 1), states[0], (states[1] if step is _lstm else c0)


def _unrolled_scan(step, states, sequences):
    outputs = []
    for inputs in zip(*map(ops.unstack, sequences), strict=True):
        states, output = step(states, inputs)
        outputs.append(output)
    return states, [ops.stack(parts) for parts in zip(*outputs, strict=True)]


def _add_bias(product, bias):
    return product + bias if bias.shape[0] else product


def _simple_rnn(x, states, recurrent, _):
    return [ops.tanh(x + ops.matmul(states[0], recurrent))]


def _lstm(x, states, recurrent, _):
    h, c = states
    i, f, g, o = ops.split(x + ops.matmul(h, recurrent), 4, axis=-1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    return [ops.sigmoid(o) * ops.tanh(c), c]


def _gru(x, states, recurrent, bias):
    (h,) = states
    x_z, x_r, x_n = ops.split(x, 3, axis=-1)
    a_z, a_r, a_n = ops.split(_add_bias(ops.matmul(h, recurrent), bias), 3, axis=-1)
    z, r = ops.sigmoid(x_z + a_z), ops.sigmoid(x_r + a_r)
    return [z * h + (1 - z) * ops.tanh(x_n + r * a_n)]


def _gru_reset_before(x, states, recurrent, _):
    (h,) = states
    units = h.shape[-1]
    gates, candidate = recurrent[:, : 2 * units], recurrent[:, 2 * units :]
    x_z, x_r, x_n = ops.split(x, 3, axis=-1)
    a_z, a_r = ops.split(ops.matmul(h, gates), 2, axis=-1)
    z, r = ops.sigmoid(x_z + a_z), ops.sigmoid(x_r + a_r)
    return [z * h + (1 - z) * ops.tanh(x_n + ops.matmul(r * h, candidate))]


STEPS = (_simple_rnn, _lstm, _gru, _gru_reset_before)  # in the order of `native.CELLS`
