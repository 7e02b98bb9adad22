"""The native CPU kernel on PyTorch: autograd functions."""

import ctypes
import functools
import inspect
from typing import Any

import torch

from ..dispatch.transforms import is_transformed_by_torch
from ..typing import Tensor
from .compiled import load_library
from .equations import run_equations


class _Array(ctypes.Structure):
    """`RnnArray` of interface.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("sizes", ctypes.c_int64 * 3),
    )


def threads() -> int:
    """Returns PyTorch's setting for the number of threads."""
    return torch.get_num_threads()


def fallback_reason(sequences: Tensor | None) -> tuple[str, str] | None:
    """Returns why the kernel cannot run on these sequences and what to do, or None."""
    if sequences is not None and sequences.device.type != "cpu":
        device = sequences.device.type
        return f"the sequences are on the device {device!r}", "Move them and the layer to the CPU."
    return None


def _call(function, settings, inputs, shapes):
    outputs = [torch.empty(shape, dtype=torch.float32) for shape in shapes]
    error = function(
        (ctypes.c_int64 * 3)(*settings),
        (_Array * len(inputs))(*map(_array_of, inputs)),
        (_Array * len(outputs))(*map(_array_of, outputs)),
    )
    if error:
        raise ValueError(error.decode())
    return outputs


def _array_of(tensor):
    return _Array(tensor.data_ptr(), tensor.dim(), tuple(tensor.shape))


class _Forward(torch.autograd.Function):
    """The forward pass: (settings, keep_reserve, mask, 6 arrays) -> (y, h, c, reserve)."""

    @staticmethod
    def forward(*args):
        settings, keep_reserve, mask, x, h0, c0, *weights = args
        library, (batch, time, _), units = load_library(), x.shape, h0.shape[1]
        reserve_size = 0
        if keep_reserve:
            reserve_size = library.rnn_topologies_reserve(settings[0], batch, time, units)
        shapes = (batch, time, units), h0.shape, c0.shape, (reserve_size,)
        arrays = x, mask, h0, c0, *weights
        return tuple(_call(library.rnn_topologies_forward, settings, arrays, shapes))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.settings, _, *arrays = inputs
        y, _, _, reserve = output
        ctx.mark_non_differentiable(reserve)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays, y, reserve)

    @staticmethod
    def backward(ctx, *grad_outputs):
        settings, (*arrays, y, reserve) = ctx.settings, ctx.saved_tensors
        empty = torch.empty(0)
        grad_outputs = [empty if g is None else g for g in grad_outputs[:3]]
        if is_transformed_by_torch(grad_outputs):
            gradients = _equation_gradients(settings, *arrays, *grad_outputs)
        else:
            run = _Backward.apply if torch.is_grad_enabled() else _Backward.forward
            gradients = run(settings, *arrays, y, reserve, *grad_outputs)
        return None, None, None, *gradients


# PyTorch inspects the signature in every call; storing it saves time.
_Forward.forward.__signature__ = inspect.signature(_Forward.forward)


class _Backward(torch.autograd.Function):
    """The backward pass: (settings, mask, 6 arrays, y, reserve, dy, dh, dc) -> 6 gradients.

    An empty dy, dh or dc means zeros. Second derivatives are those of the equations.
    """

    @staticmethod
    def forward(*args):
        settings, mask, x, *others = args
        shapes = [array.shape for array in (x, *others[:5])]  # the mask has no gradient
        arrays = [array.contiguous() for array in (x, mask, *others)]
        return tuple(_call(load_library().rnn_topologies_backward, settings, arrays, shapes))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.settings, *arrays = inputs
        ctx.save_for_backward(*arrays[:7], *arrays[9:])

    @staticmethod
    def backward(ctx, *grad_outputs):
        mask, *arrays = ctx.saved_tensors
        function = functools.partial(_equation_gradients, ctx.settings, mask)
        results = torch.func.vjp(function, *arrays)[1](grad_outputs)
        return None, None, *results[:6], None, None, *results[6:]


def _equation_gradients(settings, mask, *arrays):
    """Returns what `_Backward` returns, without y and reserve, as differentiable code."""

    def equations(x, *others):
        return run_equations(settings, x, mask, *others)

    outputs, pull_back = torch.func.vjp(equations, *arrays[:6])
    pairs = zip(outputs, arrays[6:], strict=True)
    return pull_back(tuple(g if g.shape == y.shape else torch.zeros_like(y) for y, g in pairs))


def run_kernel(
    settings: tuple[int, int, int], arrays: tuple[Any, ...], _: bool, keep_outputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns (h of all steps or None, h, c); see `native.run_kernel`."""
    if is_transformed_by_torch(arrays):
        y, h, c = run_equations(settings, *arrays)
    else:
        x, mask, *others = (array.contiguous() for array in arrays)
        keep_reserve = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *others))
        run = _Forward.apply if keep_reserve else _Forward.forward
        y, h, c, _ = run(settings, keep_reserve, mask, x, *others)
    return y if keep_outputs else None, h, c
