"""Which way a recurrent layer runs."""

from typing import NamedTuple

import keras

from .. import export, native
from ..cells.linear import LinearCell
from . import fused

PARALLEL = "parallel over time"
NATIVE = "CPU kernel"
FUSED = "fused kernel"
UNROLLED = "unrolled"
SLICED = "loop over slices"
LOOP = "loop"

# Shorter sequences are looped over: measured, see results/benchmarks.
PARALLEL_FROM = 2


class Plan(NamedTuple):
    """How a layer will run.

    Attributes:
        kernel: `PARALLEL`, `NATIVE`, `FUSED`, `UNROLLED`, `LOOP`, or `SLICED` while `export` runs.
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
    device = fused.device(traced)
    place = f"{backend} on a {device}"
    cell = layer.cell
    if isinstance(cell, LinearCell):
        return _linear(layer, time, place)
    reasons = []
    if device == "CPU" and native_name(cell):
        reasons = _obstacles(layer, training, traced) or _native_obstacles(layer, traced)
        if not reasons and not layer.unroll:
            threads = native.threads() or "all"
            kind = f"{native.instruction_set()}, {threads} threads"
            runs = f"Our own CPU kernel ({kind}), {place}: the whole sequence in one call."
            return Plan(NATIVE, True, runs)
    name = fused.name(cell, backend, device)
    if name is not None:
        hindered = _obstacles(layer, training, traced) or _fused_obstacles(layer)
        if not hindered and not layer.unroll:
            aligned = ", rows re-aligned to the right-padded form it takes" if masked else ""
            runs = f"{name}, {place}: the whole sequence in one call{aligned}."
            return _plan(FUSED, runs, reasons)
        reasons = reasons or hindered
    elif not reasons:
        reasons = _no_kernel(cell, backend, device)
    if layer.unroll:
        reasons = [
            *reasons,
            ("unroll=True lays every step out as operations of its own", "Leave `unroll` away."),
        ]
        return _plan(UNROLLED, f"The cell's equations, unrolled, {place}.", reasons)
    if export.active():
        return Plan(SLICED, True, "The cell's equations at every step, written into a tensor.")
    loop = {"tensorflow": "tf.while_loop", "jax": "jax.lax.scan", "torch": "a Python loop"}[backend]
    return _plan(LOOP, f"The cell's equations at every step, in {loop}, {place}.", reasons)


def _plan(kernel, runs, reasons) -> Plan:
    why, change = (tuple(part) for part in zip(*reasons, strict=True)) if reasons else ((), ())
    return Plan(kernel, not reasons, runs, why, change)


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


def native_name(cell) -> str | None:
    """Returns the name that the CPU kernel has for the equations of `cell`, or None."""
    name = fused.equations(cell)
    return "gru_reset_before" if name == "gru" and not cell.reset_after else name


def _no_kernel(cell, backend, device):
    """Returns (why, change) where another cell would be faster here; empty where no cell is."""
    kind = type(cell).__name__
    if device == "CPU":
        obstacle = native.obstacle()
        if obstacle is None:
            change = "LSTM, GRU and SimpleRNN have one, if these will do."
            return [(f"there is no kernel for {kind} on a CPU", change)]
        return []
    change = "LSTM and GRU have one, if these will do."
    if backend == "jax":
        change = "LSTM has one, if it will do."
    return [(f"{backend} has no kernel of its own for {kind} on a {device}", change)]


def _obstacles(layer, training, traced):
    """Returns what keeps a layer from any kernel: (why, change) each."""
    cell, found = layer.cell, []
    if cell.activation is not keras.activations.tanh:
        found.append(("the kernel's activation is tanh", "Leave `activation` at 'tanh'."))
    if getattr(cell, "recurrent_activation", None) not in (None, keras.activations.sigmoid):
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
    if getattr(layer, "use_cudnn", "auto") is False:
        found.append(("use_cudnn=False asks for the equations", "Leave it at 'auto'."))
    if layer.compute_dtype != cell.compute_dtype:
        found.append(("layer and cell compute in different types", "Give both the same `dtype`."))
    if export.active() or fused.is_traced_by_torch(traced):
        found.append(("the model is being exported", "Nothing: exported models hold equations."))
    return found


def _native_obstacles(layer, traced):
    if layer.compute_dtype != "float32":
        change = "Leave `dtype` at 'float32'; a CPU gains little by less."
        return [(f"the CPU kernel computes in float32, the layer in {layer.compute_dtype}", change)]
    if getattr(layer, "use_cudnn", "auto") is True:
        return [("use_cudnn=True asks for the backend's own kernel", "Leave it at 'auto'.")]
    obstacle = native.obstacle(traced)
    return [obstacle] if obstacle else []


def _fused_obstacles(layer):
    if getattr(layer.cell, "reset_after", True):
        return []
    return [
        ("the kernel resets after the recurrent product", "Set `reset_after=True` and retrain.")
    ]
