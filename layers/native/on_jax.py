"""The CPU kernel as targets of XLA's foreign function interface, inside and outside `jax.jit`."""

import functools
import sys

import jax
import jax.numpy as jnp
import keras
import numpy as np

from . import compiled

EXPORTERS = ("keras.src.export", "jax._src.export", "jax.experimental.jax2tf", "jax2onnx")


for _name in ("forward", "backward"):
    _function = getattr(compiled.library(), f"rnn_topologies_xla_{_name}")
    jax.ffi.register_ffi_target(
        f"rnn_topologies_{_name}", jax.ffi.pycapsule(_function), platform="cpu"
    )


def threads() -> int:
    """Returns 0: JAX is not told how many threads to take."""
    return 0


def obstacle(_) -> tuple[str, str] | None:
    """Returns why the kernel cannot be used in what is being traced, and what to do, or None."""
    if keras.distribution.distribution() is not None:
        return "a distribution cuts the batch into parts", "Nothing: each device runs its part."
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(EXPORTERS):
            return "the model is being exported", "Nothing: exported models hold equations."
        frame = frame.f_back
    return None


def _call(name, settings, shapes, arrays):
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(f"rnn_topologies_{name}", results, vmap_method="sequential")
    return call(*arrays, settings=np.array(settings, np.int64))


def _forward(settings, keep, mask, x, h0, c0, kernel, recurrent, bias):
    batch, time, _ = x.shape
    units = h0.shape[1]
    reserve = compiled.library().rnn_topologies_reserve
    kept = reserve(settings[0], batch, time, units) if keep else 0
    shapes = (batch, time, units), h0.shape, c0.shape, (kept,)
    return _call("forward", settings, shapes, (x, mask, h0, c0, kernel, recurrent, bias))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _layer(settings, keep_outputs, mask, *arrays):
    y, h, c, _ = _forward(settings, False, mask, *arrays)
    return (y if keep_outputs else None), h, c


def _layer_and_kept(settings, keep_outputs, mask, *arrays):
    y, h, c, reserve = _forward(settings, True, mask, *arrays)
    return ((y if keep_outputs else None), h, c), (mask, arrays, y, reserve)


def _gradients(settings, keep_outputs, kept, above):
    mask, (x, *others), y, reserve = kept
    dy, dh, dc = above
    dy = dy if keep_outputs else jnp.zeros((0,))
    shapes = [array.shape for array in (x, *others)]
    inputs = (x, mask, *others, y, reserve, dy, dh, dc)
    found = _call("backward", settings, shapes, inputs)
    return (np.zeros(mask.shape, jax.dtypes.float0), *found)


_layer.defvjp(_layer_and_kept, _gradients)
_compiled_layer = jax.jit(_layer, static_argnums=(0, 1))


def run(settings, arrays, _, keep_outputs):
    """Returns (h of all steps or None, h, c); see `native.run`."""
    x, mask, *others = arrays
    return _compiled_layer(settings, keep_outputs, mask, x, *others)
