"""Which way a recurrent layer runs, and the backends' own kernels for whole sequences."""

import sys
from typing import NamedTuple

import keras
from keras import ops

from . import exporting
from .linear import LinearCell

PARALLEL = "parallel over time"
FUSED = "fused kernel"
UNROLLED = "unrolled"
SLICED = "loop over slices"
LOOP = "loop"

# Shorter sequences are looped over: measured, see results/benchmarks.
PARALLEL_FROM = 2


class Plan(NamedTuple):
    """How a layer will run.

    Attributes:
        kernel: `PARALLEL`, `FUSED`, `UNROLLED`, `LOOP`, or `SLICED` while `export` runs.
        fastest: whether there is nothing faster for this cell on this backend and device.
        runs: the kernel in words.
        why: if not the fastest, the reasons.
        change: if not the fastest, what to do.

    Example:
        >>> plan = MinGRU(8, unroll=True).explain((32, 100, 4))
        >>> plan.fastest, plan.change
        (False, ('Leave `unroll` away.',))
    """

    kernel: str
    fastest: bool
    runs: str
    why: tuple[str, ...] = ()
    change: tuple[str, ...] = ()

    def __str__(self):
        lines = [self.runs]
        if self.fastest:
            lines.append("Nothing faster is known for this cell on this backend and device.")
        for why, change in zip(self.why, self.change, strict=True):
            lines.append(f"Not the fastest: {why}. {change}")
        return "\n".join(lines)


def choose(layer, time, *, masked, training, traced=None) -> Plan:
    """Returns how a layer runs over sequences of `time` steps; None is an unknown number.

    Args:
        layer: an `RNN`.
        masked: whether there is a mask.
        training: whether dropout is applied.
        traced: the sequences, if they are at hand.
    """
    time = time if isinstance(time, int) else None  # JAX exports with symbols
    backend = keras.backend.backend()
    device = "GPU" if _on_gpu(traced) else "CPU"
    place = f"{backend} on a {device}"
    cell = layer.cell
    if isinstance(cell, LinearCell):
        return _linear(layer, time, place)
    name, reasons = _fused_name(cell, backend, device), []
    if name is None:
        reasons = [_no_kernel(cell, backend, device)]
    else:
        reasons = _obstacles(layer, training, traced)
        if not reasons and not layer.unroll:
            aligned = ", rows re-aligned to the right-padded form it takes" if masked else ""
            return Plan(FUSED, True, f"{name}, {place}: the whole sequence in one call{aligned}.")
    reasons = [reason for reason in reasons if reason]
    why, change = (tuple(part) for part in zip(*reasons, strict=True)) if reasons else ((), ())
    if layer.unroll:
        why += ("unroll=True lays every step out as operations of its own",)
        change += ("Leave `unroll` away.",)
        return Plan(UNROLLED, False, f"The cell's equations, unrolled, {place}.", why, change)
    if exporting.active():
        return Plan(SLICED, True, "The cell's equations at every step, written into a tensor.")
    loop = {"tensorflow": "tf.while_loop", "jax": "jax.lax.scan", "torch": "a Python loop"}[backend]
    runs = f"The cell's equations at every step, in {loop}, {place}."
    return Plan(LOOP, not why, runs, why, change)


def _linear(layer, time, place):
    if layer.unroll:
        why = "unroll=True takes the steps one by one"
        runs = f"The cell's equations, unrolled, {place}."
        return Plan(UNROLLED, False, runs, (why,), ("Leave `unroll` away.",))
    if layer.compute_dtype != layer.cell.compute_dtype:
        why = f"the layer computes in {layer.compute_dtype}, its cell in {layer.cell.compute_dtype}"
        change = "Give both the same `dtype`."
        return Plan(LOOP, False, f"The cell's equations at every step, {place}.", (why,), (change,))
    # On a CPU XLA's loop over a step without matrix products beats any scan, at every length; and
    # JAX exports unknown lengths as symbols, which only a loop runs over.
    in_xla = keras.backend.backend() == "jax" and (time is None or place.endswith("CPU"))
    if in_xla or (time is not None and time < PARALLEL_FROM):
        return Plan(LOOP, True, f"The cell's equations at every step, {place}.")
    return Plan(PARALLEL, True, f"linear_recurrence, {place}: all steps at once.")


def _on_gpu(traced) -> bool:
    if keras.backend.backend() != "torch":
        return any(name.startswith("gpu") for name in keras.distribution.list_devices())
    if traced is not None:
        return traced.device.type == "cuda"
    return keras.ops.zeros(1).device.type == "cuda"


def _fused_name(cell, backend, device) -> str | None:
    """Returns the backend's own kernel for the equations of `cell`, or None."""
    from .gru import GRUCell
    from .lstm import LSTMCell
    from .simple_rnn import SimpleRNNCell

    name = {LSTMCell: "lstm", GRUCell: "gru", SimpleRNNCell: "rnn_tanh"}.get(type(cell))
    if name is None:
        return None
    if backend == "torch":
        return f"torch.{name}"
    if device == "CPU" or name == "rnn_tanh" or (backend, name) == ("jax", "gru"):
        return None
    return f"cuDNN's {name.upper()}"


def _no_kernel(cell, backend, device):
    """Returns (why, change) where another cell would be faster here; None where no cell is."""
    if backend != "torch" and device == "CPU":
        return None
    kind = type(cell).__name__
    return (
        f"{backend} has no kernel of its own for {kind} on a {device}",
        "LSTM and GRU have one, if these will do."
        if backend != "jax"
        else "LSTM has one, if it will do.",
    )


def _obstacles(layer, training, traced):
    """Returns what keeps a layer from its backend's kernel: (why, change) each."""
    cell, found = layer.cell, []
    tanh = keras.activations.get("tanh")
    if cell.activation is not tanh:
        found.append(("the kernel's activation is tanh", "Leave `activation` at 'tanh'."))
    if getattr(cell, "recurrent_activation", None) not in (None, keras.activations.get("sigmoid")):
        found.append(
            ("the kernel's gates are sigmoids", "Leave `recurrent_activation` at 'sigmoid'.")
        )
    if training and cell.recurrent_dropout:
        found.append(
            (
                "recurrent_dropout masks h at every step, in training",
                "Use `dropout`, which masks the inputs once.",
            )
        )
    if not getattr(cell, "reset_after", True):
        found.append(
            ("the kernel resets after the recurrent product", "Set `reset_after=True` and retrain.")
        )
    if getattr(layer, "use_cudnn", "auto") is False:
        found.append(("use_cudnn=False asks for the equations", "Leave it at 'auto'."))
    if layer.compute_dtype != cell.compute_dtype:
        found.append(("layer and cell compute in different types", "Give both the same `dtype`."))
    if exporting.active() or (traced is not None and _is_traced_by_torch()):
        found.append(("the model is being exported", "Nothing: exported models hold equations."))
    return found


def _is_traced_by_torch() -> bool:
    if keras.backend.backend() != "torch":
        return False
    import torch

    return torch.jit.is_tracing() or torch.compiler.is_compiling() or torch.compiler.is_exporting()


class Alignment:
    """Moves the valid steps of every row to its beginning, in their order, and back.

    A kernel that takes only right-padded rows, or none with padding, can then run any mask:

        mask   0 1 0 1 1       row   a b c d e
        align                        b d e a c
        restore                      (b) b b d e      each step: the last valid one up to it

    Args:
        mask: (batch, time), true at valid steps.
    """

    def __init__(self, mask):
        self.time = ops.shape(mask)[1]
        self.mask = mask
        places = ops.arange(self.time, dtype="int32")
        self.order = ops.argsort(ops.where(mask, places, places + self.time), axis=1)
        self.sofar = ops.cumsum(ops.cast(mask, "int32"), axis=1)
        self.count = self.sofar[:, -1]

    def _take(self, x, places):
        """Returns x[b, places[b, t]] for x (batch, time, width)."""
        rows = ops.shape(x)[0]
        first = ops.expand_dims(ops.arange(rows, dtype="int32") * self.time, 1)
        flat = ops.reshape(first + ops.cast(places, "int32"), (-1,))
        width = x.shape[-1]
        found = ops.take(ops.reshape(x, (-1, width)), flat, axis=0)
        return ops.reshape(found, (-1, self.time, width))

    def align(self, x):
        """Returns x with the valid steps first."""
        return self._take(x, self.order)

    def restore(self, aligned):
        """Returns, at every step of the unaligned row, the last valid one up to it."""
        return self._take(aligned, ops.maximum(self.sofar - 1, 0))

    def hold(self, x):
        """Returns x with, at every step, the last valid one up to it."""
        return self.restore(self.align(x))

    def last(self, aligned):
        """Returns the last valid step of every aligned row."""
        places = ops.expand_dims(ops.maximum(self.count - 1, 0), 1)
        rows = ops.shape(aligned)[0]
        first = ops.expand_dims(ops.arange(rows, dtype="int32") * self.time, 1)
        flat = ops.reshape(first + places, (-1,))
        return ops.take(ops.reshape(aligned, (-1, aligned.shape[-1])), flat, axis=0)

    def padding(self, dtype):
        """Returns (batch, time, 1): 1 at the padded steps of an aligned row, else 0."""
        places = ops.expand_dims(ops.arange(self.time, dtype="int32"), 0)
        return ops.cast(ops.expand_dims(places >= ops.expand_dims(self.count, 1), -1), dtype)


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
    run = _torch if keras.backend.backend() == "torch" else _keras
    outputs, states = run(cell, kernel, sequences, states)
    if rows is not None:
        states = [rows.last(outputs), *states[1:]]
    return outputs, states


def _torch(cell, kernel, sequences, states):
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


def _keras(cell, kernel, sequences, states):
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
