"""A kernel for CPUs: whole sequences of a simple RNN, LSTM or GRU in one call of compiled code.

It is built when the package is installed, if there is a C++ compiler. Two variables of the
environment steer it, read whenever a layer is called from Python or traced:

    RNN_TOPOLOGIES_CPU_KERNEL   `auto` (the default), `off`, or the instruction set to use:
                                `avx512`, `avx2`, `portable`
    RNN_TOPOLOGIES_CPU_THREADS  at most so many threads; by default what the backend was told,
                                else one for each core
"""

import functools
import importlib
import os

import keras
from keras import ops

from . import compiled

SWITCH = "RNN_TOPOLOGIES_CPU_KERNEL"
THREADS = "RNN_TOPOLOGIES_CPU_THREADS"
INSTRUCTION_SETS = ("avx512", "avx2", "portable")
CELLS = ("simple_rnn", "lstm", "gru", "gru_reset_before")  # as numbered in kernel.h


@functools.cache
def _adapter():
    """Returns what joins the kernel to the backend."""
    return importlib.import_module(f".on_{keras.backend.backend()}", __name__)


def obstacle(sequences=None) -> tuple[str, str] | None:
    """Returns why the kernel cannot run and what to do about it, or None if it can.

    Args:
        sequences: what is to be read, if it is at hand.

    Raises:
        ValueError: the switch in the environment is none of its values, or names an instruction
            set that this machine does not have.
    """
    wanted = os.environ.get(SWITCH, "auto")
    if wanted not in ("auto", "off", *INSTRUCTION_SETS):
        raise ValueError(
            f"{SWITCH} must be 'auto', 'off' or one of {', '.join(INSTRUCTION_SETS)}; "
            f"got {wanted!r}."
        )
    if wanted == "off":
        return f"{SWITCH}=off switches the CPU kernel off", f"Unset {SWITCH}."
    if compiled.path() is None:
        return (
            "the CPU kernel was not built when this package was installed",
            "Install it again where there is a C++ compiler, g++ or clang++.",
        )
    try:
        adapter = _adapter()
    except (OSError, RuntimeError) as error:
        return f"the CPU kernel could not be loaded: {error}", "Install the package again."
    if compiled.library().rnn_topologies_choose(None if wanted == "auto" else wanted.encode()):
        raise ValueError(f"{SWITCH}={wanted}, and this machine has no such instructions.")
    return adapter.obstacle(sequences)


def instruction_set() -> str:
    """Returns the name of the instruction set that the kernel uses."""
    return compiled.library().rnn_topologies_instruction_set().decode()


def threads() -> int:
    """Returns how many threads the kernel may take; 0 stands for one for each core.

    Raises:
        ValueError: the number in the environment is none.
    """
    wanted = os.environ.get(THREADS)
    if wanted is None:
        return _adapter().threads()
    if not wanted.isdigit() or int(wanted) < 1:
        raise ValueError(f"{THREADS} must be a whole number from 1 on, got {wanted!r}.")
    return int(wanted)


def run(name, sequences, states, weights, *, mask, reverse, training, keep_outputs):
    """Runs a layer over whole sequences, float32 on a CPU, with gradients.

    Args:
        name: one of `CELLS`.
        sequences: (batch, time, features).
        states: before the first step, each (batch, units).
        weights: kernel, recurrent kernel, and bias or None, as in Keras.
        mask: (batch, time), true at valid steps, or None.
        reverse: whether the last step is read first.
        training: whether gradients are likely to be asked for. On TensorFlow what they need is
            kept then; they are right in any case, but cost another forward pass where it was not.
        keep_outputs: whether the outputs of all steps are needed.

    Returns:
        `(outputs, states)`: h after every step, in the order in which steps are read, or None;
        the states after the last step. Of padded steps h is the last valid one, or the first
        state.
    """
    nothing = ops.zeros((0,), dtype="float32")
    kernel, recurrent_kernel, bias = weights
    h0, c0 = states if len(states) == 2 else (*states, nothing)
    arrays = (
        ops.cast(sequences, "float32"),  # what is whole numbers Keras leaves so
        ops.zeros((0,), dtype="bool") if mask is None else mask,
        ops.convert_to_tensor(h0),
        ops.convert_to_tensor(c0),
        ops.convert_to_tensor(kernel),
        ops.convert_to_tensor(recurrent_kernel),
        nothing if bias is None else ops.convert_to_tensor(bias),
    )
    settings = (CELLS.index(name), int(reverse), threads())
    outputs, h, c = _adapter().run(settings, arrays, bool(training), keep_outputs)
    return outputs, [h, c] if len(states) == 2 else [h]
