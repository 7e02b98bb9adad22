"""What to compile on which backend."""

import keras


def jit_compile() -> bool | str:
    """Returns what `keras.Model.compile` shall take as `jit_compile`.

    XLA makes a recurrent loop slower on TensorFlow's CPU, takes a minute to do so, and compiles a
    search anew for every shape.
    """
    return "auto" if keras.backend.backend() == "jax" else False


def shape_multiple() -> int:
    """Returns the number of steps to round the width of a batch up to.

    JAX compiles anew for every shape: sixteen times fewer of them, for a little padding.
    """
    return 16 if keras.backend.backend() == "jax" else 1
