"""Models with recurrent layers for runtimes that know nothing of Keras."""

import contextlib
import contextvars
import pathlib

import keras
from keras import ops

_ACTIVE = contextvars.ContextVar("exporting", default=False)
FORMATS = {".tflite": "litert", ".onnx": "onnx", "": "tf_saved_model"}


def active() -> bool:
    """Returns whether loops must do without TensorFlow's lists, since LiteRT has none."""
    return _ACTIVE.get()


@contextlib.contextmanager
def _exporting():
    token = _ACTIVE.set(True)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def export(model, path, **settings):
    """Writes a model for another runtime: LiteRT, ONNX or TensorFlow's SavedModel.

    `model.export` does the work. For LiteRT recurrent layers run meanwhile in a loop that LiteRT
    can hold: with `model.export` alone the file needs the Flex delegate, which most devices lack.

    The TensorFlow backend exports to all three, any batch size, any length, with masks; weights
    are the same on every backend, so a model that was trained on another one and saved as
    `.keras` is loaded with `KERAS_BACKEND=tensorflow` to be exported. docs/export.md lists what
    has been tried on each.

    Args:
        model: a `keras.Model`; one whose inputs are not known, of a class of your own, must have
            been called.
        path: a name that ends in `.tflite` or `.onnx`; a folder for a SavedModel.
        settings: further arguments of `model.export`, such as `input_signature`.

    Raises:
        ValueError: the ending is none of these; on PyTorch, a size is unknown that its exporter
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
    settings.setdefault("verbose", False)
    if keras.backend.backend() == "torch" and suffix and "input_signature" not in settings:
        settings["input_signature"] = _fixed(model, first=0 if suffix == ".tflite" else 1)
    if getattr(model, "inputs", None):
        ones = [_one(spec) for spec in model.inputs]
        model(ones if len(ones) > 1 else ones[0])  # ONNX takes only what has been called
    plain = suffix == ".tflite" and keras.backend.backend() == "tensorflow"
    with _exporting() if plain else contextlib.nullcontext():
        model.export(path, format=FORMATS[suffix], **settings)


def _one(spec):
    """Returns zeros for an input: one row, and one step where their number is unknown."""
    return ops.zeros([size or 1 for size in spec.shape], dtype=spec.dtype)


def _fixed(model, first):
    """Returns the inputs of a model whose sizes, from axis `first` on, must all be known."""
    for spec in model.inputs:
        if None in spec.shape[first:]:
            raise ValueError(
                f"PyTorch's exporter takes fixed sizes only, and input {spec.name!r} has the shape "
                f"{tuple(spec.shape)}. Load the model with KERAS_BACKEND=tensorflow to export any "
                "size, or pass `input_signature=` with the sizes that it will have."
            )
    return [keras.InputSpec(shape=s.shape, dtype=s.dtype, name=s.name) for s in model.inputs]
