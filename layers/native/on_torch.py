"""The native CPU kernel on PyTorch: an autograd function."""

import ctypes
from typing import Any

import torch

from ..typing import Tensor
from .compiled import load_library


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


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(context, settings, keep_reserve, mask, x, h0, c0, kernel, recurrent, bias):
        library = load_library()
        arrays = [tensor.contiguous() for tensor in (x, mask, h0, c0, kernel, recurrent, bias)]
        batch, time, _ = x.shape
        units = h0.shape[1]
        reserve_size = 0
        if keep_reserve:
            reserve_size = library.rnn_topologies_reserve(settings[0], batch, time, units)
        shapes = (batch, time, units), h0.shape, c0.shape, (reserve_size,)
        y, h, c, reserve = _call(library.rnn_topologies_forward, settings, arrays, shapes)
        context.settings = settings
        if keep_reserve:
            context.save_for_backward(*arrays, y, reserve)
        context.set_materialize_grads(False)
        return y, h, c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, *output_gradients):
        saved = context.saved_tensors
        empty = torch.empty(0)
        output_gradients = [empty if g is None else g.contiguous() for g in output_gradients]
        # The mask has no gradient.
        shapes = [tensor.shape for index, tensor in enumerate(saved[:7]) if index != 1]
        function = load_library().rnn_topologies_backward
        gradients = _call(function, context.settings, (*saved, *output_gradients), shapes)
        return None, None, None, *gradients


def run_kernel(
    settings: tuple[int, int, int], arrays: tuple[Any, ...], _: bool, keep_outputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns (h of all steps or None, h, c); see `native.run_kernel`."""
    x, mask, *others = arrays
    keep_reserve = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *others))
    y, h, c = _Layer.apply(settings, keep_reserve, mask, x, *others)
    return y if keep_outputs else None, h, c
