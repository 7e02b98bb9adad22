"""The backends' own kernels for whole sequences: cuDNN on a GPU, and PyTorch's on a CPU."""

import sys

import keras
from keras import ops


def device(traced=None) -> str:
    """Returns "CPU" or "GPU": where the sequences are, or where the backend puts what is new."""
    if keras.backend.backend() != "torch":
        accelerated = any(not of.startswith("cpu") for of in keras.distribution.list_devices())
    else:
        accelerated = (ops.zeros(1) if traced is None else traced).device.type == "cuda"
    return "GPU" if accelerated else "CPU"


def is_traced_by_torch(traced) -> bool:
    """Returns whether PyTorch is compiling or exporting what reads the sequences."""
    if traced is None or keras.backend.backend() != "torch":
        return False
    torch = sys.modules["torch"]
    return torch.jit.is_tracing() or torch.compiler.is_compiling() or torch.compiler.is_exporting()


def equations(cell) -> str | None:
    """Returns "simple_rnn", "lstm" or "gru" if these are the equations of `cell`, else None.

    Of a class made from one of these cells nobody knows what it changes.
    """
    from ..cells.gru import GRUCell
    from ..cells.lstm import LSTMCell
    from ..cells.simple_rnn import SimpleRNNCell

    return {LSTMCell: "lstm", GRUCell: "gru", SimpleRNNCell: "simple_rnn"}.get(type(cell))


def name(cell, backend, device) -> str | None:
    """Returns the backend's own kernel for the equations of `cell`, or None."""
    kind = equations(cell)
    if kind is None:
        return None
    if backend == "torch":
        return "torch.rnn_tanh" if kind == "simple_rnn" else f"torch.{kind}"
    if device == "CPU" or kind == "simple_rnn" or (backend, kind) == ("jax", "gru"):
        return None
    return f"cuDNN's {kind.upper()}"


# Added to what enters a gate it shuts or opens it to the last bit, in float16 too.
SATURATED = 1e4


def fused(cell, sequences, states, rows):
    """Runs a cell over whole sequences by a kernel of the backend's.

    Args:
        cell: an LSTM, GRU or simple RNN cell.
        sequences: (batch, time, features).
        states: before the first step.
        rows: the `Alignment` of the sequences, or None if every step is valid.

    Returns:
        `(outputs, last states)`; with `rows`, outputs in their aligned order.
    """
    kernel = ops.convert_to_tensor(cell.kernel)
    if rows is not None and len(states) == 2:
        # The kernel knows no padding. Behind the valid steps h may become what it will, since
        # outputs say what it was; c must stay: one more feature holds f at 1 and i at 0 there.
        sequences = ops.concatenate([sequences, rows.padding(sequences.dtype)], axis=-1)
        hold = ops.repeat(
            ops.convert_to_tensor([-SATURATED, SATURATED, 0.0, 0.0], dtype=kernel.dtype),
            cell.units,
        )
        kernel = ops.concatenate([kernel, ops.expand_dims(hold, 0)], axis=0)
    run = run_torch if keras.backend.backend() == "torch" else run_keras
    outputs, states = run(cell, kernel, sequences, states)
    if rows is not None:
        states = [rows.last(outputs), *states[1:]]
    return outputs, states


def run_torch(cell, kernel, sequences, states):
    """PyTorch's own kernels: on a CPU its C++, on a GPU cuDNN."""
    torch = sys.modules["torch"]
    recurrent_kernel = ops.convert_to_tensor(cell.recurrent_kernel)
    units, gates = cell.units, len(cell.gates)
    order = [1, 0, 2] if gates == 3 else range(gates)  # of a GRU: r, z, n

    def rows_of(weight):
        blocks = torch.split(weight, units, dim=-1)
        return torch.cat([blocks[gate] for gate in order], dim=-1)

    weights = [rows_of(kernel).T.contiguous(), rows_of(recurrent_kernel).T.contiguous()]
    if cell.use_bias:
        bias = ops.convert_to_tensor(cell.bias)
        both = bias if len(bias.shape) == 2 else torch.stack([bias, torch.zeros_like(bias)])
        weights += [rows_of(row).contiguous() for row in both]
    states = [torch.unsqueeze(ops.convert_to_tensor(state), 0).contiguous() for state in states]
    name = {1: "rnn_tanh", 3: "gru", 4: "lstm"}[gates]
    first = tuple(states) if name == "lstm" else states[0]
    outputs, *last = getattr(torch, name)(
        sequences, first, weights, cell.use_bias, 1, 0.0, torch.is_grad_enabled(), False, True
    )
    return outputs, [state[0] for state in last]


def run_keras(cell, kernel, sequences, states):
    """What Keras's layer of the same name takes where it can: cuDNN, on a GPU."""
    kind = keras.layers.LSTM if len(cell.gates) == 4 else keras.layers.GRU
    layer = kind(cell.units, use_bias=cell.use_bias, return_sequences=True, dtype=cell.dtype_policy)
    for name, weight in (
        ("kernel", kernel),
        ("recurrent_kernel", cell.recurrent_kernel),
        ("bias", cell.bias),
    ):
        setattr(layer.cell, name, None if weight is None else ops.convert_to_tensor(weight))
    layer.cell.built = True
    _, outputs, states = layer.inner_loop(sequences, list(states), None, training=False)
    return outputs, states
