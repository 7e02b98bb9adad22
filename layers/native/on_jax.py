"""The native CPU kernel on JAX: targets of XLA's foreign function interface."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import keras
import numpy as np
from jax.interpreters import ad, batching, mlir

from ..typing import Tensor
from .callers import is_called_by
from .compiled import load_library
from .equations import run_equations

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
    if is_called_by(EXPORTERS):
        return "the model is being exported", "Nothing to do: exports use the equations."
    return None


def _operation(
    name: str, run: Callable[..., Any], equations: Callable[..., Any], shapes: Callable[..., Any]
) -> jax.extend.core.Primitive:
    """Returns a new JAX primitive.

    Args:
        name: name of the operation.
        run: `(*arrays, **settings) -> arrays`, calls the kernel.
        equations: the same function without the kernel, for models that JAX exports.
        shapes: `(*arrays, **settings) -> shapes` of the results.
    """
    operation = jax.extend.core.Primitive(f"rnn_topologies_{name}")
    operation.multiple_results = True
    operation.def_impl(run)

    def results(*arrays, **settings):
        return [jax.core.ShapedArray(s, jnp.float32) for s in shapes(*arrays, **settings)]

    def lower(context, *arrays, **settings):
        exported = context.module_context.lowering_parameters.for_export
        return mlir.lower_fun(equations if exported else run)(context, *arrays, **settings)

    def vectorize(arrays, axes, **settings):
        def run_one(parts):
            pairs = zip(arrays, parts, strict=True)
            return operation.bind(*(a if p is None else p for a, p in pairs), **settings)

        pairs = zip(arrays, axes, strict=True)
        parts = [None if axis is None else jnp.moveaxis(array, axis, 0) for array, axis in pairs]
        outputs = jax.lax.map(run_one, parts)
        return outputs, [0] * len(outputs)

    operation.def_abstract_eval(results)
    mlir.register_lowering(operation, lower)
    batching.primitive_batchers[operation] = vectorize
    return operation


def _call(name, settings, shapes, arrays):
    results = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    call = jax.ffi.ffi_call(f"rnn_topologies_{name}", results)
    return call(*arrays, settings=np.array(settings, np.int64))


def _equations(settings, mask):
    return lambda x, *others: run_equations(settings, x, mask, *others)


def _zeros_if_empty(arrays, like):
    """Returns the arrays with empty ones, which save memory, expanded to zeros."""
    pairs = zip(arrays, like, strict=True)
    return tuple(a if a.shape == other.shape else jnp.zeros_like(other) for a, other in pairs)


# Forward pass: mask, 6 arrays -> y, h, c, reserve.


def _forward_shapes(mask, x, h0, c0, *_, settings, keep_reserve):
    (batch, time, _), units = x.shape, h0.shape[1]
    reserve_size = 0
    if keep_reserve:
        reserve_size = load_library().rnn_topologies_reserve(settings[0], batch, time, units)
    return (batch, time, units), h0.shape, c0.shape, (reserve_size,)


def _run_forward(mask, x, *others, **options):
    shapes = _forward_shapes(mask, x, *others, **options)
    return _call("forward", options["settings"], shapes, (x, mask, *others))


def _forward_equations(mask, *arrays, **options):
    *_, reserve_shape = _forward_shapes(mask, *arrays, **options)
    reserve = jnp.zeros(reserve_shape, jnp.float32)
    return *_equations(options["settings"], mask)(*arrays), reserve


_forward = _operation("forward", _run_forward, _forward_equations, _forward_shapes)


def _differentiate_forward(primals, tangents, *, settings, keep_reserve):
    del keep_reserve
    y, h, c, reserve = _forward.bind(*primals, settings=settings, keep_reserve=True)
    empty = jnp.zeros((0,), jnp.float32)
    tangents = [empty if type(t) is ad.Zero else t for t in tangents[1:]]
    tangents = _tangents.bind(*primals, y, reserve, *tangents, settings=settings)
    return (y, h, c, reserve), (*tangents, ad.Zero(jax.typeof(reserve).to_tangent_aval()))


ad.primitive_jvps[_forward] = _differentiate_forward


# Backward pass: mask, 6 arrays, y, reserve, dy, dh, dc -> 6 gradients. Its derivatives are those
# of the equations, which do not read y and reserve.


def _backward_shapes(_, *arrays, settings):
    del settings
    return [array.shape for array in arrays[:6]]


def _run_backward(mask, x, *others, settings):
    shapes = _backward_shapes(mask, x, *others, settings=settings)
    return _call("backward", settings, shapes, (x, mask, *others))


def _backward_equations(mask, *arrays, settings):
    outputs, pull_back = jax.vjp(_equations(settings, mask), *arrays[:6])
    return pull_back(_zeros_if_empty(arrays[8:], outputs))


_backward = _operation("backward", _run_backward, _backward_equations, _backward_shapes)


# Forward mode: mask, 6 arrays, y, reserve, 6 tangents -> tangents of y, h, c. Reverse mode
# transposes it, which gives the backward pass.


def _tangent_shapes(_, x, h0, c0, *__, settings):
    del settings
    return (*x.shape[:2], h0.shape[1]), h0.shape, c0.shape


def _tangent_equations(mask, *arrays, settings):
    tangents = _zeros_if_empty(arrays[8:], arrays[:6])
    return jax.jvp(_equations(settings, mask), arrays[:6], tangents)[1]


_tangents = _operation("tangents", _tangent_equations, _tangent_equations, _tangent_shapes)


def _transpose_tangents(gradients, *arrays, settings):
    residuals, tangents = arrays[:9], arrays[9:]
    empty = jnp.zeros((0,), jnp.float32)
    gradients = [empty if type(g) is ad.Zero else g for g in gradients]
    results = _backward.bind(*residuals, *gradients, settings=settings)
    pairs = zip(results, tangents, strict=True)
    return [None] * 9 + [g if ad.is_undefined_primal(t) else None for g, t in pairs]


ad.primitive_transposes[_tangents] = _transpose_tangents


def _differentiate_equations(operation, equations):
    def differentiate(primals, tangents, **settings):
        read = (*range(7), *range(9, len(primals)))
        moving = [i for i in read if type(tangents[i]) is not ad.Zero]

        def function(*values):
            arrays = list(primals)
            for i, value in zip(moving, values, strict=True):
                arrays[i] = value
            return equations(*arrays, **settings)

        moved = [primals[i] for i in moving], [tangents[i] for i in moving]
        return operation.bind(*primals, **settings), jax.jvp(function, *moved)[1]

    ad.primitive_jvps[operation] = differentiate


_differentiate_equations(_backward, _backward_equations)
_differentiate_equations(_tangents, _tangent_equations)


@functools.partial(jax.jit, static_argnums=0)
def _compiled_layer(settings, mask, *arrays):
    return _forward.bind(mask, *arrays, settings=settings, keep_reserve=False)


def run_kernel(
    settings: tuple[int, int, int], arrays: tuple[Any, ...], _: bool, keep_outputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns (h of all steps or None, h, c); see `native.run_kernel`."""
    x, mask, *others = arrays
    y, h, c, _ = _compiled_layer(settings, mask, x, *others)
    return y if keep_outputs else None, h, c
