"""The CPU kernel as a function of PyTorch's autograd."""

import ctypes

import torch

from . import compiled


class _Array(ctypes.Structure):
    """`RnnArray` of interface.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("sizes", ctypes.c_int64 * 3),
    )


def threads() -> int:
    """Returns the number of threads that PyTorch takes."""
    return torch.get_num_threads()


def obstacle(sequences) -> tuple[str, str] | None:
    """Returns why the kernel cannot be used on these sequences, and what to do, or None."""
    if sequences is not None and sequences.device.type != "cpu":
        device = sequences.device.type
        return f"the sequences are on the device {device!r}", "Move them and the layer to the CPU."
    return None


def _call(function, settings, inputs, shapes):
    outputs = [torch.empty(shape, dtype=torch.float32) for shape in shapes]
    wrong = function(
        (ctypes.c_int64 * 3)(*settings),
        (_Array * len(inputs))(*map(_described, inputs)),
        (_Array * len(outputs))(*map(_described, outputs)),
    )
    if wrong:
        raise ValueError(wrong.decode())
    return outputs


def _described(tensor):
    return _Array(tensor.data_ptr(), tensor.dim(), tuple(tensor.shape))


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(context, settings, keep, mask, x, h0, c0, kernel, recurrent, bias):
        arrays = [tensor.contiguous() for tensor in (x, mask, h0, c0, kernel, recurrent, bias)]
        batch, time, _ = x.shape
        units = h0.shape[1]
        reserve_size = compiled.library().rnn_topologies_reserve
        kept = reserve_size(settings[0], batch, time, units) if keep else 0
        shapes = (batch, time, units), h0.shape, c0.shape, (kept,)
        y, h, c, reserve = _call(
            compiled.library().rnn_topologies_forward, settings, arrays, shapes
        )
        context.settings = settings
        if keep:
            context.save_for_backward(*arrays, y, reserve)
        context.set_materialize_grads(False)
        return y, h, c

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, *above):
        kept = context.saved_tensors
        nothing = torch.empty(0)
        above = [nothing if of is None else of.contiguous() for of in above]
        shapes = [of.shape for index, of in enumerate(kept[:7]) if index != 1]
        function = compiled.library().rnn_topologies_backward
        found = _call(function, context.settings, (*kept, *above), shapes)
        return None, None, None, *found


def run(settings, arrays, _, keep_outputs):
    """Returns (h of all steps or None, h, c); see `native.run`."""
    x, mask, *others = arrays
    keep = torch.is_grad_enabled() and any(of.requires_grad for of in (x, *others))
    y, h, c = _Layer.apply(settings, keep, mask, x, *others)
    return y if keep_outputs else None, h, c
