"""The native CPU kernel on JAX: targets of XLA's foreign function interface."""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from ..typing import Tensor
from .compiled import load_library

# Models traced by these modules run in other programs, which lack the kernel.
EXPORTERS = ("keras.src.export", "jax._src.export", "jax.experimental.jax2tf", "jax2onnx")


for _name in ("forward", "backward"):
    _function = getattr(load_library(), f"rnn_topologies_xla_{_name}")
    jax.ffi.register_ffi_target(
        f"rnn_topologies_{_name}", jax.ffi.pycapsule(_function), platform="cpu"
    )


def threads() -> int:
    """Returns 0: JAX has no setting for the number of threads."""
    return 0


def fallback_reason(_: Tensor | None) -> tuple[str, str] | None:
    """Returns why the kernel cannot run in the current trace and what to do, or None."""
    if keras.distribution.distribution() is not None:
        return "a distribution splits the batch", "Nothing to do: each device runs its part."
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(EXPORTERS):
            return "the model is being exported", "Nothing to do: exported models hold equations."
        frame = frame.f_back
    return None


def _call(name, settings, shapes, arrays):
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(f"rnn_topologies_{name}", results, vmap_method="sequential")
    return call(*arrays, settings=np.array(settings, np.int64))


def _forward(settings, keep_reserve, mask, x, h0, c0, kernel, recurrent, bias):
    batch, time, _ = x.shape
    units = h0.shape[1]
    reserve_size = 0
    if keep_reserve:
        reserve_size = load_library().rnn_topologies_reserve(settings[0], batch, time, units)
    shapes = (batch, time, units), h0.shape, c0.shape, (reserve_size,)
    return _call("forward", settings, shapes, (x, mask, h0, c0, kernel, recurrent, bias))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _layer(settings, keep_outputs, mask, *arrays):
    y, h, c, _ = _forward(settings, False, mask, *arrays)
    return (y if keep_outputs else None), h, c


def _layer_forward(settings, keep_outputs, mask, *arrays):
    y, h, c, reserve = _forward(settings, True, mask, *arrays)
    return ((y if keep_outputs else None), h, c), (mask, arrays, y, reserve)


def _layer_backward(settings, keep_outputs, residuals, output_gradients):
    mask, (x, *others), y, reserve = residuals
    dy, dh, dc = output_gradients
    dy = dy if keep_outputs else jnp.zeros((0,))
    shapes = [array.shape for array in (x, *others)]
    inputs = (x, mask, *others, y, reserve, dy, dh, dc)
    gradients = _call("backward", settings, shapes, inputs)
    return (np.zeros(mask.shape, jax.dtypes.float0), *gradients)


_layer.defvjp(_layer_forward, _layer_backward)
_compiled_layer = jax.jit(_layer, static_argnums=(0, 1))


def run_kernel(
    settings: tuple[int, int, int], arrays: tuple[Any, ...], _: bool, keep_outputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns (h of all steps or None, h, c); see `native.run_kernel`."""
    x, mask, *others = arrays
    return _compiled_layer(settings, keep_outputs, mask, x, *others)
