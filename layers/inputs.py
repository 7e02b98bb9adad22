"""Checks of the inputs of recurrent layers, before Keras converts them."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from .typing import Tensor

PAD = (
    "Pad it to a single tensor with `.to_tensor()` (PyTorch: `torch.nn.utils.rnn.pad_sequence`; "
    "lists: `keras.utils.pad_sequences`), and pass `mask=` (batch, time), true at valid steps."
)
KERAS_CELLS = (keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell)


def check_sequences(layer: Any, cell: Any, sequences: Any, mask: Any = None) -> None:
    """Checks that a layer can process the sequences that it is called with.

    Args:
        layer: an `RNN` or a `Bidirectional`.
        cell: the cell that reads the sequences.
        sequences, mask: the arguments as passed by the user.

    Raises:
        ValueError: they are ragged, sparse, or have a number of features that does not match the
            weights.
        TypeError: the sequences are not a single tensor of numbers.
    """
    name = type(layer).__name__
    check_dense(name, "masks", mask)
    check_dense(name, "inputs", sequences)
    if not hasattr(sequences, "shape"):
        raise TypeError(
            f"{name} expects one tensor (batch, time, features), got {_kind(sequences)}. Pass an "
            "array, such as `np.array(x, 'float32')`, and states as `initial_state=`."
        )
    check_numbers(name, sequences)
    check_features(name, features_of(cell), sequences.shape)


def check_dense(name: str, what: str, x: Any, way_out: str = PAD) -> None:
    """Checks that x, if it is a tensor, is neither ragged nor sparse.

    Raises:
        ValueError: it is; the message says how to convert it.
    """
    if is_ragged(x):
        raise ValueError(f"{name} got ragged {what}, {_kind(x)}. {way_out}")
    if is_sparse(x):
        raise ValueError(
            f"{name} got sparse {what}, {_kind(x)}. Pass a dense tensor: "
            "`keras.ops.convert_to_tensor(x, sparse=False)` (PyTorch: `x.to_dense()`)."
        )


def check_numbers(name: str, x: Any) -> None:
    """Checks that a tensor or array contains real numbers.

    Raises:
        TypeError: it contains text, complex numbers or objects.
    """
    dtype = getattr(x, "dtype", "float32")
    dtype = str(getattr(dtype, "name", dtype))
    if dtype.startswith(("str", "bytes", "object")):
        raise TypeError(
            f"{name} expects numbers, got inputs of dtype {dtype}. Encode text first, for example "
            "with `keras.layers.TextVectorization` and `keras.layers.Embedding`."
        )
    if "complex" in dtype:
        raise TypeError(
            f"{name} expects real numbers, got inputs of dtype {dtype}. Pass the real and the "
            "imaginary part as separate features."
        )


def check_features(
    name: str, expected: int | None, shape: Iterable[Any], what: str = "inputs"
) -> None:
    """Checks the number of features of a tensor (batch, [time,] features); None means unknown.

    Raises:
        ValueError: it does not match the weights.
    """
    shape = tuple(shape)
    features = shape[-1] if len(shape) in (2, 3) else None  # not the axes of images
    if isinstance(features, int) and expected is not None and features != expected:
        raise ValueError(
            f"{name} got {what} with {features} features, but its weights are for {expected}: the "
            f"shape is {shape}."
        )


def as_mask(mask: Any, x: Tensor, shape_name: str) -> Tensor:
    """Returns a mask as a boolean tensor.

    Args:
        mask: true at the valid steps of x.
        x: (batch, steps, ...).
        shape_name: name of the required shape in error messages.

    Raises:
        ValueError: it has a different shape.
    """
    mask = ops.cast(ops.convert_to_tensor(mask), "bool")
    shape, expected = tuple(mask.shape), tuple(x.shape[:2])
    if len(shape) != 2 or not all(map(_may_be_equal, shape, expected)):
        raise ValueError(f"`mask` must have {shape_name} = {expected}, got {shape}.")
    return mask


def check_batch(name: str, memory: Tensor, query: Tensor) -> None:
    """Checks that a memory has as many rows as the queries to it.

    Raises:
        ValueError: it does not; a single row would be broadcast to all queries.
    """
    if not _may_be_equal(memory.shape[0], query.shape[0]):
        raise ValueError(
            f"{name}: the memory has batch size {memory.shape[0]}, the queries {query.shape[0]}."
        )


def _may_be_equal(size: Any, other: Any) -> bool:
    # A size that is not an integer is unknown: None, or a symbol while JAX exports.
    return not (isinstance(size, int) and isinstance(other, int)) or size == other


def features_of(cell: Any) -> int | None:
    """Returns the number of input features that a cell was built for, None if not known."""
    if type(cell) is keras.layers.StackedRNNCells:
        return features_of(cell.cells[0])
    if type(cell) in KERAS_CELLS:
        return cell.kernel.shape[0] if cell.built else None
    return cell.expected_features() if hasattr(cell, "expected_features") else None


def is_ragged(x: Any) -> bool:
    """Returns whether x contains sequences of different lengths, on any backend."""
    if isinstance(x, list | tuple):
        lengths = {_length(part) for part in x} - {None}
        return type(x).__name__ == "PackedSequence" or len(lengths) > 1
    is_keras = isinstance(x, keras.KerasTensor) and getattr(x, "ragged", False)
    is_objects = str(getattr(x, "dtype", "")) == "object"
    return is_keras or is_objects or type(x).__name__ == "RaggedTensor" or _flag(x, "is_nested")


def is_sparse(x: Any) -> bool:
    """Returns whether x is a sparse tensor of any backend."""
    is_keras = isinstance(x, keras.KerasTensor) and getattr(x, "sparse", False)
    is_of_torch = _flag(x, "is_sparse") or _flag(x, "is_sparse_csr")
    is_of_jax = type(x).__module__.startswith("jax.experimental.sparse")
    return is_keras or is_of_torch or is_of_jax or type(x).__name__ == "SparseTensor"


def _flag(x: Any, name: str) -> bool:
    return getattr(x, name, False) is True


def _length(part: Any) -> int | None:
    if hasattr(part, "shape"):
        return part.shape[0] if len(part.shape) else None
    return len(part) if isinstance(part, list | tuple) else None


def _kind(x: Any) -> str:
    return f"a {type(x).__name__} of {len(x)}" if isinstance(x, list | tuple) else f"{type(x)!r}"
