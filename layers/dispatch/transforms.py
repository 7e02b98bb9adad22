"""Detection of PyTorch's function transforms, such as `torch.vmap`, which kernels lack."""

import sys
from collections.abc import Iterable

import keras

from ..typing import Tensor


def is_transformed_by_torch(tensors: Iterable[Tensor | None]) -> bool:
    """Returns whether `torch.func` or forward-mode differentiation transforms one of the tensors.

    PyTorch's kernels do not support all of them, and ours cannot read such tensors.
    """
    if keras.backend.backend() != "torch":
        return False
    torch = sys.modules["torch"]
    unpack_dual = torch.autograd.forward_ad.unpack_dual
    try:
        for tensor in tensors:
            if tensor is not None and torch.is_tensor(tensor):
                tensor.data_ptr()
                if unpack_dual(tensor).tangent is not None:
                    return True
    except RuntimeError:  # the tensor wraps another one and has no storage
        return True
    return False
