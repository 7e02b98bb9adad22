"""Exporting models with recurrent layers to runtimes without Keras."""

import contextlib
import contextvars
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from .typing import Tensor

FORMATS = {".tflite": "litert", ".onnx": "onnx", "": "tf_saved_model"}
_EXPORTING = contextvars.ContextVar("exporting", default=False)


def is_exporting() -> bool:
    """Returns whether loops must avoid TensorFlow's `TensorList`, which LiteRT lacks."""
    return _EXPORTING.get()


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    token = _EXPORTING.set(True)
    try:
        yield
    finally:
        _EXPORTING.reset(token)


def export(model: keras.Model, path: str | os.PathLike[str], **kwargs: Any) -> None:
    """Exports a model to LiteRT, ONNX or TensorFlow's SavedModel.

    It calls `model.export`. For LiteRT, recurrent layers meanwhile run in a loop that LiteRT
    supports; a file written by `model.export` alone needs the Flex delegate, which most devices
    lack.

    The TensorFlow backend exports to all three formats, with any batch size and length, and with
    masks. Weights do not depend on the backend: to export a model that was trained on another one,
    save it as `.keras` and load it with `KERAS_BACKEND=tensorflow`. docs/export.md lists what
    works on each backend.

    Args:
        model: a `keras.Model`. A subclassed model, whose inputs are not known, must have been
            called.
        path: a file name ending in `.tflite` or `.onnx`; a folder for a SavedModel.
        **kwargs: further arguments of `model.export`, such as `input_signature`.

    Raises:
        ValueError: `path` has another ending; or, on PyTorch, a size is unknown that its exporter
            would silently fix at 1.

    Example:
        >>> import tempfile
        >>> inputs = keras.Input((None, 3))
        >>> model = keras.Model(inputs, GRU(4)(inputs))
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     export(model, f"{folder}/model.tflite")
    """
    suffix = pathlib.Path(path).suffix
    if suffix not in FORMATS:
        raise ValueError(
            f"`path` must end in {', '.join(s for s in FORMATS if s)}, or be a folder without an "
            f"ending for a SavedModel; got {str(path)!r}."
        )
    kwargs.setdefault("verbose", False)
    backend = keras.backend.backend()
    if backend == "torch" and suffix and "input_signature" not in kwargs:
        first_fixed_axis = 0 if suffix == ".tflite" else 1
        kwargs["input_signature"] = _fixed_signature(model, first_fixed_axis)
    if getattr(model, "inputs", None):
        zeros = [_zeros_like_input(spec) for spec in model.inputs]
        model(zeros if len(zeros) > 1 else zeros[0])  # ONNX needs a model that has been called
    for_litert = suffix == ".tflite" and backend == "tensorflow"
    with _exporting() if for_litert else contextlib.nullcontext():
        model.export(path, format=FORMATS[suffix], **kwargs)


def _zeros_like_input(spec: Any) -> Tensor:
    """Returns zeros for an input, with size 1 for axes of unknown size."""
    return ops.zeros([size or 1 for size in spec.shape], dtype=spec.dtype)


def _fixed_signature(model: keras.Model, first_fixed_axis: int) -> list[keras.InputSpec]:
    """Returns the specs of a model's inputs, checked to be of known size from an axis on."""
    for spec in model.inputs:
        if None in spec.shape[first_fixed_axis:]:
            raise ValueError(
                f"PyTorch's exporter supports fixed sizes only, but input {spec.name!r} has shape "
                f"{tuple(spec.shape)}. To export any size, load the model with "
                "KERAS_BACKEND=tensorflow; to fix the sizes, pass `input_signature=`."
            )
    return [keras.InputSpec(shape=s.shape, dtype=s.dtype, name=s.name) for s in model.inputs]
