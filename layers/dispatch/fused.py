"""Whole sequences in a fused kernel of the backend: cuDNN on a GPU, PyTorch's own on a CPU."""

import sys
from typing import Any

import keras
from keras import ops

from ..typing import Tensor
from .alignment import Alignment

# Added to a gate's input, it opens or shuts the gate to the last bit, in float16 too.
SATURATED = 1e4


def device_of(sequences: Tensor | None = None) -> str:
    """Returns "CPU" or "GPU": where the sequences are, or where the backend puts new tensors."""
    if keras.backend.backend() != "torch":
        accelerated = any(not name.startswith("cpu") for name in keras.distribution.list_devices())
    else:
        accelerated = (ops.zeros(1) if sequences is None else sequences).device.type == "cuda"
    return "GPU" if accelerated else "CPU"


def is_traced_by_torch(sequences: Tensor | None) -> bool:
    """Returns whether PyTorch is compiling or exporting the model that reads the sequences."""
    if sequences is None or keras.backend.backend() != "torch":
        return False
    torch = sys.modules["torch"]
    return torch.jit.is_tracing() or torch.compiler.is_compiling() or torch.compiler.is_exporting()


def equations_of(cell: Any) -> str | None:
    """Returns "simple_rnn", "lstm" or "gru" if the cell has exactly these equations, else None.

    They are not inherited: a subclass may override the math.
    """
    return vars(type(cell)).get("equations")


def name_of(cell: Any, backend: str, device: str) -> str | None:
    """Returns the name of the backend's fused kernel for a cell, or None if it has none."""
    equations = equations_of(cell)
    if equations is None:
        return None
    if backend == "torch":
        return "torch.rnn_tanh" if equations == "simple_rnn" else f"torch.{equations}"
    if device == "CPU" or equations == "simple_rnn" or (backend, equations) == ("jax", "gru"):
        return None
    return f"cuDNN's {equations.upper()}"


def run_fused(
    layer: Any, sequences: Tensor, states: list[Tensor], mask: Tensor | None, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs the backend's kernel on rows that are re-aligned to the padding that it supports."""
    cell = layer.cell
    sequences = cell.drop_inputs(sequences, training)
    if keras.backend.backend() == "tensorflow":
        layer.supports_jit = False  # XLA cannot compile cuDNN calls
    if mask is None:
        outputs, new_states = _run_kernel(cell, cell.kernel, sequences, states)
        return outputs[:, -1], outputs, new_states
    rows = Alignment(mask)
    sequences, weights = rows.align(sequences), ops.convert_to_tensor(cell.kernel)
    if len(states) == 2:
        # The kernel does not know about padding. h after the valid steps does not matter, since
        # the outputs are known; c must not change: one more feature holds f at 1 and i at 0 there.
        sequences = ops.concatenate([sequences, rows.padding(sequences.dtype)], axis=-1)
        hold = ops.convert_to_tensor([-SATURATED, SATURATED, 0.0, 0.0], dtype=weights.dtype)
        hold = ops.repeat(hold, cell.units)
        weights = ops.concatenate([weights, ops.expand_dims(hold, 0)], axis=0)
    aligned, new_states = _run_kernel(cell, weights, sequences, states)
    new_states = [rows.last(aligned), *new_states[1:]]
    not_empty = ops.expand_dims(rows.count > 0, -1)
    pairs = zip(new_states, states, strict=True)
    new_states = [ops.where(not_empty, new, old) for new, old in pairs]
    started = ops.expand_dims(rows.valid_so_far > 0, -1)
    outputs = ops.where(started, rows.restore(aligned), ops.expand_dims(states[0], 1))
    return new_states[0], outputs, new_states


def _run_kernel(cell, kernel, sequences, states):
    sequences = ops.cast(sequences, cell.compute_dtype)  # they may be integers
    run = run_torch if keras.backend.backend() == "torch" else run_keras
    return run(cell, kernel, sequences, states)


def run_torch(
    cell: Any, kernel: Tensor, sequences: Tensor, states: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Runs PyTorch's kernels: C++ on a CPU, cuDNN on a GPU.

    Args:
        cell: an LSTM, GRU or simple RNN cell.
        kernel: the cell's `kernel`, or one with more rows if the sequences have more features.
        sequences: (batch, time, features).
        states: the initial states.

    Returns:
        `(outputs, last states)`.
    """
    torch = sys.modules["torch"]
    kernel = ops.convert_to_tensor(kernel)
    recurrent_kernel = ops.convert_to_tensor(cell.recurrent_kernel)
    units, gates = cell.units, len(cell.gates)
    order = [1, 0, 2] if gates == 3 else range(gates)  # PyTorch's GRU has the order r, z, n

    def reordered(weight):
        blocks = torch.split(weight, units, dim=-1)
        return torch.cat([blocks[gate] for gate in order], dim=-1)

    weights = [reordered(kernel).T.contiguous(), reordered(recurrent_kernel).T.contiguous()]
    if cell.use_bias:
        bias = ops.convert_to_tensor(cell.bias)
        both = bias if len(bias.shape) == 2 else torch.stack([bias, torch.zeros_like(bias)])
        weights += [reordered(row).contiguous() for row in both]
    states = [torch.unsqueeze(ops.convert_to_tensor(state), 0).contiguous() for state in states]
    name = {1: "rnn_tanh", 3: "gru", 4: "lstm"}[gates]
    initial = tuple(states) if name == "lstm" else states[0]
    outputs, *last = getattr(torch, name)(
        sequences, initial, weights, cell.use_bias, 1, 0.0, torch.is_grad_enabled(), False, True
    )
    return outputs, [state[0] for state in last]


def run_keras(
    cell: Any, kernel: Tensor, sequences: Tensor, states: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Runs what Keras's layer of the same name uses where it can: cuDNN on a GPU.

    Args and returns: see `run_torch`.
    """
    layer_class = keras.layers.LSTM if len(cell.gates) == 4 else keras.layers.GRU
    layer = layer_class(
        cell.units, use_bias=cell.use_bias, return_sequences=True, dtype=cell.dtype_policy
    )
    for name, weight in (
        ("kernel", kernel),
        ("recurrent_kernel", cell.recurrent_kernel),
        ("bias", cell.bias),
    ):
        setattr(layer.cell, name, None if weight is None else ops.convert_to_tensor(weight))
    layer.cell.built = True
    _, outputs, states = layer.inner_loop(sequences, list(states), None, training=False)
    return outputs, states
