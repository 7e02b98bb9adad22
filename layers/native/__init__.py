"""A native CPU kernel: a simple RNN, LSTM or GRU over a whole sequence in one call of C++ code.

It is compiled when the package is installed, if there is a C++ compiler. Two environment
variables control it. They are read whenever a layer is called eagerly or traced:

    RNN_TOPOLOGIES_CPU_KERNEL   `auto` (the default), `off`, or the instruction set to use:
                                `avx512`, `avx2`, `portable`
    RNN_TOPOLOGIES_CPU_THREADS  maximum number of threads; by default the setting of the backend,
                                or else one thread per core
"""

import functools
import importlib
import os
from types import ModuleType
from typing import Any

import keras
from keras import ops

from ..typing import Tensor
from . import location
from .compiled import load_library

KERNEL_VARIABLE = "RNN_TOPOLOGIES_CPU_KERNEL"
THREADS_VARIABLE = "RNN_TOPOLOGIES_CPU_THREADS"
INSTRUCTION_SETS = ("avx512", "avx2", "portable")
CELLS = ("simple_rnn", "lstm", "gru", "gru_reset_before")  # numbered as in kernel.h


@functools.cache
def _adapter() -> ModuleType:
    """Returns the module that connects the kernel to the backend."""
    return importlib.import_module(f".on_{keras.backend.backend()}", __name__)


def fallback_reason(sequences: Tensor | None = None) -> tuple[str, str] | None:
    """Returns why the kernel cannot run and what to do about it, or None if it can run.

    Args:
        sequences: the inputs, if they are available.

    Raises:
        ValueError: the environment variable has an unknown value, or names an instruction set
            that this machine lacks.
    """
    choice = os.environ.get(KERNEL_VARIABLE, "auto")
    if choice not in ("auto", "off", *INSTRUCTION_SETS):
        raise ValueError(
            f"{KERNEL_VARIABLE} must be 'auto', 'off' or one of {', '.join(INSTRUCTION_SETS)}; "
            f"got {choice!r}."
        )
    if choice == "off":
        return f"{KERNEL_VARIABLE}=off disables the CPU kernel", f"Unset {KERNEL_VARIABLE}."
    if location.library_path() is None:
        return (
            "the CPU kernel was not compiled when this package was installed",
            "Reinstall it with a C++ compiler available, g++ or clang++.",
        )
    try:
        adapter = _adapter()
    except (OSError, RuntimeError) as error:
        return f"the CPU kernel could not be loaded: {error}", "Reinstall the package."
    if load_library().rnn_topologies_choose(None if choice == "auto" else choice.encode()):
        raise ValueError(
            f"{KERNEL_VARIABLE}={choice}, but this machine does not support {choice}. Use 'auto'."
        )
    return adapter.fallback_reason(sequences)


def instruction_set() -> str:
    """Returns the name of the instruction set that the kernel uses."""
    return load_library().rnn_topologies_instruction_set().decode()


def threads() -> int:
    """Returns the maximum number of threads for the kernel; 0 means one per core.

    Raises:
        ValueError: the environment variable is not a positive integer.
    """
    value = os.environ.get(THREADS_VARIABLE)
    if value is None:
        return _adapter().threads()
    if not value.isdigit() or int(value) < 1:
        raise ValueError(f"{THREADS_VARIABLE} must be a positive integer, got {value!r}.")
    return int(value)


def run_kernel(
    name: str,
    sequences: Tensor,
    states: list[Tensor],
    weights: tuple[Any, Any, Any],
    *,
    mask: Tensor | None,
    reverse: bool,
    training: bool,
    keep_outputs: bool,
) -> tuple[Tensor | None, list[Tensor]]:
    """Runs a layer over whole sequences, in float32 on a CPU, with gradients.

    Args:
        name: one of `CELLS`.
        sequences: (batch, time, features).
        states: the initial states, each (batch, units).
        weights: kernel, recurrent kernel, and bias or None, as in Keras.
        mask: (batch, time), true at valid steps, or None.
        reverse: whether to read the last step first.
        training: whether gradients will probably be computed. On TensorFlow the forward pass then
            keeps what they need. They are correct in either case, but without it they cost a
            second forward pass.
        keep_outputs: whether the outputs of all steps are needed.

    Returns:
        `(outputs, states)`: h after every step, in the order in which the steps are read, or
        None; the final states. At padded steps, h is that of the last valid step, or the initial
        state before the first one.
    """
    empty = ops.zeros((0,), dtype="float32")
    kernel, recurrent_kernel, bias = weights
    h0, c0 = states if len(states) == 2 else (*states, empty)
    arrays = (
        ops.cast(sequences, "float32"),  # Keras does not cast integer inputs
        ops.zeros((0,), dtype="bool") if mask is None else mask,
        ops.convert_to_tensor(h0),
        ops.convert_to_tensor(c0),
        ops.convert_to_tensor(kernel),
        ops.convert_to_tensor(recurrent_kernel),
        empty if bias is None else ops.convert_to_tensor(bias),
    )
    settings = (CELLS.index(name), int(reverse), threads())
    outputs, h, c = _adapter().run_kernel(settings, arrays, bool(training), keep_outputs)
    return outputs, [h, c] if len(states) == 2 else [h]
