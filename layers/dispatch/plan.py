"""Which way a recurrent layer runs, and why."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from .. import native
from ..cells.contract import uses_values
from ..cells.linear import LinearCell
from ..export import is_exporting
from ..typing import Tensor
from . import fused
from .transforms import is_transformed_by_torch

PARALLEL = "parallel over time"
NATIVE = "CPU kernel"
FUSED = "fused kernel"
UNROLLED = "unrolled"
SLICED = "loop over slices"
LOOP = "loop"

# Shorter sequences run in a loop: measured, see results/benchmarks.
PARALLEL_FROM = 2

# Suggestions that several reasons share.
KEEP_AUTO = "Keep it at 'auto'."
REMOVE_UNROLL = "Remove `unroll`."
SAME_DTYPE = "Give both the same `dtype`."
NOTHING_TO_DO = "Nothing to do: exports use the equations."


class Plan(NamedTuple):
    """How a layer will run.

    Attributes:
        method: `PARALLEL`, `NATIVE`, `FUSED`, `UNROLLED`, `LOOP`, or `SLICED` during `export`.
        fastest: whether nothing faster exists for this cell on this backend and device.
        description: the method in words.
        reasons: why it is not the fastest; empty if it is.
        suggestions: what to change, one for each reason.

    Example:
        >>> plan = MinGRU(8, unroll=True).explain((32, 100, 4))
        >>> plan.fastest, plan.suggestions
        (False, ('Remove `unroll`.',))
    """

    method: str
    fastest: bool
    description: str
    reasons: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [self.description]
        if self.fastest:
            lines.append("Nothing faster is known for this cell on this backend and device.")
        for reason, suggestion in zip(self.reasons, self.suggestions, strict=True):
            lines.append(f"Not the fastest: {reason}. {suggestion}")
        return "\n".join(lines)


class Fallback(NamedTuple):
    """Why a faster method cannot run, and what to change."""

    reason: str
    suggestion: str


def choose_plan(
    layer: Any,
    time: Any,
    *,
    masked: bool,
    training: bool,
    sequences: Tensor | None = None,
    states: Sequence[Tensor] = (),
) -> Plan:
    """Returns how a layer runs over sequences of `time` steps.

    Args:
        layer: an `RNN`.
        time: number of steps; None, or a symbol while JAX exports, if unknown.
        masked: whether there is a mask.
        training: whether dropout is applied.
        sequences: the sequences, if they are available.
        states: the initial states, if they are available.
    """
    time = time if isinstance(time, int) else None
    backend, device = keras.backend.backend(), fused.device_of(sequences)
    where = f"{backend} on a {device}"
    if is_linear(layer.cell):
        return _plan_linear(layer, time, where)
    fallbacks = []
    if device == "CPU" and native_name(layer.cell):
        fallbacks = _fallbacks(layer, training, sequences) or _native_fallbacks(layer, sequences)
        if not fallbacks and not layer.unroll:
            threads = native.threads() or "all"
            kind = f"{native.instruction_set()}, {threads} threads"
            description = f"Native CPU kernel ({kind}), {where}: the whole sequence in one call."
            return Plan(NATIVE, True, description)
    fused_name = fused.name_of(layer.cell, backend, device)
    if fused_name is not None:
        own = _fallbacks(layer, training, sequences) or _fused_fallbacks(layer, sequences, states)
        if not own and not layer.unroll:
            aligned = ", rows re-aligned to the right-padded form it needs" if masked else ""
            description = f"{fused_name}, {where}: the whole sequence in one call{aligned}."
            return _plan(FUSED, description, fallbacks)
        fallbacks = fallbacks or own
    elif not fallbacks:
        fallbacks = _missing_kernel(layer.cell, backend, device)
    if layer.unroll:
        unrolled = Fallback("unroll=True turns every step into separate operations", REMOVE_UNROLL)
        description = f"The cell's equations, unrolled, {where}."
        return _plan(UNROLLED, description, [*fallbacks, unrolled])
    if is_exporting():
        return Plan(SLICED, True, "The cell's equations at every step, written into a tensor.")
    loop = {"tensorflow": "tf.while_loop", "jax": "jax.lax.scan", "torch": "a Python loop"}[backend]
    return _plan(LOOP, f"The cell's equations at every step, in {loop}, {where}.", fallbacks)


def _plan(method: str, description: str, fallbacks: Iterable[Fallback]) -> Plan:
    fallbacks = list(fallbacks)
    reasons = tuple(fallback.reason for fallback in fallbacks)
    suggestions = tuple(fallback.suggestion for fallback in fallbacks)
    return Plan(method, not fallbacks, description, reasons, suggestions)


def _plan_linear(layer, time, where) -> Plan:
    equations = f"The cell's equations at every step, {where}."
    if layer.unroll:
        fallback = Fallback("unroll=True takes the steps one by one", REMOVE_UNROLL)
        return _plan(UNROLLED, f"The cell's equations, unrolled, {where}.", [fallback])
    layer_dtype, cell_dtype = layer.compute_dtype, layer.cell.compute_dtype
    if layer_dtype != cell_dtype:
        reason = f"the layer computes in {layer_dtype}, its cell in {cell_dtype}"
        return _plan(LOOP, equations, [Fallback(reason, SAME_DTYPE)])
    # On a CPU, XLA's loop over a step without matrix products beats any scan, at every length; and
    # JAX exports unknown lengths as symbols, over which only a loop runs.
    xla_loop = keras.backend.backend() == "jax" and (time is None or where.endswith("CPU"))
    if xla_loop or (time is not None and time < PARALLEL_FROM):
        return Plan(LOOP, True, equations)
    return Plan(PARALLEL, True, f"linear_recurrence, {where}: all steps at once.")


def is_linear(cell: Any) -> bool:
    """Returns whether `coefficients` define the cell: a subclass may override the step itself."""
    return (
        isinstance(cell, LinearCell)
        and uses_values(cell)
        and type(cell).values is LinearCell.values
    )


def native_name(cell: Any) -> str | None:
    """Returns the native kernel's name for the equations of `cell`, or None if it has none."""
    equations = fused.equations_of(cell)
    return "gru_reset_before" if equations == "gru" and not cell.reset_after else equations


def _missing_kernel(cell, backend, device) -> list[Fallback]:
    """Returns a fallback if another cell would be faster here."""
    kind = type(cell).__name__
    if device == "CPU":
        if native.fallback_reason() is None:
            suggestion = "LSTM, GRU and SimpleRNN have one, if they meet your needs."
            return [Fallback(f"there is no CPU kernel for {kind}", suggestion)]
        return []
    suggestion = "LSTM and GRU have one, if they meet your needs."
    if backend == "jax":
        suggestion = "LSTM has one, if it meets your needs."
    return [Fallback(f"{backend} has no fused kernel for {kind} on a {device}", suggestion)]


def _fallbacks(layer, training, sequences) -> list[Fallback]:
    """Returns what keeps a layer from both the native and a fused kernel."""
    cell, found = layer.cell, []
    if cell.activation is not keras.activations.tanh:
        found.append(Fallback("the kernel's activation is tanh", "Keep `activation` at 'tanh'."))
    if getattr(cell, "recurrent_activation", None) not in (None, keras.activations.sigmoid):
        suggestion = "Keep `recurrent_activation` at 'sigmoid'."
        found.append(Fallback("the kernel's gates are sigmoids", suggestion))
    if training and cell.recurrent_dropout:
        reason = "recurrent_dropout masks h at every step of training"
        found.append(Fallback(reason, "Use `dropout`, which masks the inputs once."))
    if getattr(layer, "use_cudnn", "auto") is False:
        found.append(Fallback("use_cudnn=False selects the equations", KEEP_AUTO))
    if layer.compute_dtype != cell.compute_dtype:
        found.append(Fallback("layer and cell compute in different dtypes", SAME_DTYPE))
    if is_exporting() or fused.is_traced_by_torch(sequences):
        found.append(Fallback("the model is being exported", NOTHING_TO_DO))
    return found


def _native_fallbacks(layer, sequences) -> list[Fallback]:
    if layer.compute_dtype != "float32":
        reason = f"the CPU kernel computes in float32, the layer in {layer.compute_dtype}"
        suggestion = "Keep `dtype` at 'float32'; other types gain little on a CPU."
        return [Fallback(reason, suggestion)]
    if getattr(layer, "use_cudnn", "auto") is True:
        return [Fallback("use_cudnn=True requests the backend's fused kernel", KEEP_AUTO)]
    reason = native.fallback_reason(sequences)
    return [Fallback(*reason)] if reason else []


def _fused_fallbacks(layer, sequences, states) -> list[Fallback]:
    if not getattr(layer.cell, "reset_after", True):
        reason = "the kernel applies the reset gate after the recurrent product"
        return [Fallback(reason, "Set `reset_after=True` and retrain.")]
    weights = layer.cell.weights if sequences is not None else ()
    if is_transformed_by_torch([sequences, *states, *map(ops.convert_to_tensor, weights)]):
        reason = "torch.func or forward-mode differentiation transforms the layer"
        return [Fallback(reason, "Nothing to do: PyTorch transforms the equations.")]
    return []
