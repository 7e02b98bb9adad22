"""The compiled library, and what it needs to be told."""

import ctypes
import functools
import pathlib

import keras


@functools.cache
def path() -> pathlib.Path | None:
    """Returns the file of the compiled library, or None if it was not built."""
    built = sorted(pathlib.Path(__file__).parent.glob("_kernel*.so"))
    return built[0] if built else None


@functools.cache
def library() -> ctypes.CDLL:
    """Returns the compiled library.

    Raises:
        RuntimeError: TensorFlow is the backend and does not take the kernel's operations.
    """
    if keras.backend.backend() == "tensorflow":
        from . import on_tensorflow  # noqa: F401  registers while it loads, so it must be first

    found = ctypes.CDLL(str(path()))
    found.rnn_topologies_forward.restype = ctypes.c_char_p
    found.rnn_topologies_backward.restype = ctypes.c_char_p
    found.rnn_topologies_instruction_set.restype = ctypes.c_char_p
    found.rnn_topologies_choose.argtypes = [ctypes.c_char_p]
    found.rnn_topologies_reserve.argtypes = [ctypes.c_int64] * 4
    found.rnn_topologies_reserve.restype = ctypes.c_int64
    return found
