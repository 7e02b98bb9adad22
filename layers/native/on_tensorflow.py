"""The native CPU kernel on TensorFlow: custom operations, in eager mode and in graphs."""

import functools
import sys
from types import ModuleType
from typing import Any

import tensorflow as tf

from ..typing import Tensor
from .location import library_path

# Graphs traced by these modules run in other programs, which lack the operations.
EXPORTERS = ("keras.src.export", "tensorflow.python.saved_model", "tensorflow.lite", "tf2onnx")


def _load_operations() -> ModuleType:
    try:
        operations = tf.load_op_library(str(library_path()))
    except tf.errors.OpError as error:
        raise RuntimeError(str(error)) from error
    if not hasattr(operations, "rnn_topologies_forward"):
        raise RuntimeError(f"TensorFlow {tf.__version__} did not register its operations")
    return operations


_operations = _load_operations()


@tf.RegisterGradient("RnnTopologies>Backward")
def _refuse_second_derivative(*_: Any) -> None:
    raise NotImplementedError(
        "The CPU kernel has no second derivatives. Set RNN_TOPOLOGIES_CPU_KERNEL=off to run the "
        "cell's equations, which do."
    )


def threads() -> int:
    """Returns TensorFlow's setting for the number of threads, or 0 if it has none."""
    return tf.config.threading.get_intra_op_parallelism_threads()


def fallback_reason(_: Tensor | None) -> tuple[str, str] | None:
    """Returns why the operations cannot be part of the current graph and what to do, or None."""
    if tf.executing_eagerly():
        return None
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        if context is not None and context.IsXLAContext():
            return "XLA compiles the model", "Compile it with `jit_compile=False`."
        graph = getattr(graph, "outer_graph", None)
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(EXPORTERS):
            return "the model is being exported", "Nothing to do: exported models hold equations."
        frame = frame.f_back
    return None


def run_kernel(
    settings: tuple[int, int, int], arrays: tuple[Any, ...], training: bool, keep_outputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns (h of all steps or None, h, c); see `native.run_kernel`."""
    attributes = dict(zip(("cell", "reverse", "threads"), settings, strict=True))
    # `tf.custom_gradient` treats variables separately: pass tensors.
    x, mask, h0, c0, kernel, recurrent, bias = map(tf.convert_to_tensor, arrays)
    forward = functools.partial(_operations.rnn_topologies_forward, **attributes)
    backward = functools.partial(_operations.rnn_topologies_backward, keep=1, **attributes)
    empty = tf.zeros((0,))

    @tf.custom_gradient
    def layer(x, h0, c0, kernel, recurrent, bias):
        inputs = (x, mask, h0, c0, kernel, recurrent, bias)
        y, h, c, reserve = forward(*inputs, keep=int(training))
        y.set_shape([*x.shape[:2], h0.shape[1]])
        h.set_shape(h0.shape)
        c.set_shape(c0.shape)

        def input_gradients(*output_gradients):
            dy, dh, dc = output_gradients if keep_outputs else (empty, *output_gradients)
            kept = (y, reserve) if training else forward(*inputs, keep=1)[::3]
            gradients = backward(*inputs, *kept, dy, dh, dc)
            sources = (x, h0, c0, kernel, recurrent, bias)
            for gradient, source in zip(gradients, sources, strict=True):
                gradient.set_shape(source.shape)
            return tuple(gradients)

        return ((y,) if keep_outputs else ()) + (h, c), input_gradients

    *outputs, h, c = layer(x, h0, c0, kernel, recurrent, bias)
    return outputs[0] if outputs else None, h, c
