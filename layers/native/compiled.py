"""The compiled library, opened with `ctypes`."""

import ctypes
import functools

import keras

from .location import library_path


@functools.cache
def load_library() -> ctypes.CDLL:
    """Returns the compiled library.

    Raises:
        RuntimeError: the backend is TensorFlow, and it did not register the kernel's operations.
    """
    if keras.backend.backend() == "tensorflow":
        # TensorFlow registers the operations while it loads the library, so it must load it first.
        from . import on_tensorflow  # noqa: F401

    library = ctypes.CDLL(str(library_path()))
    library.rnn_topologies_forward.restype = ctypes.c_char_p
    library.rnn_topologies_backward.restype = ctypes.c_char_p
    library.rnn_topologies_instruction_set.restype = ctypes.c_char_p
    library.rnn_topologies_choose.argtypes = [ctypes.c_char_p]
    library.rnn_topologies_reserve.argtypes = [ctypes.c_int64] * 4
    library.rnn_topologies_reserve.restype = ctypes.c_int64
    return library
