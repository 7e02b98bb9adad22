"""Compilation settings that depend on the backend."""

import keras


def jit_compile() -> bool | str:
    """Returns the argument `jit_compile` of `keras.Model.compile`.

    On TensorFlow's CPU device, XLA slows a recurrent loop down, takes a minute to compile it, and
    compiles a beam search again for every new shape.
    """
    return "auto" if keras.backend.backend() == "jax" else False


def shape_multiple() -> int:
    """Returns the number whose multiples padded lengths are rounded up to.

    JAX compiles again for every new shape. Multiples of 16 leave a sixteenth of the shapes, at
    the price of a little padding.
    """
    return 16 if keras.backend.backend() == "jax" else 1
