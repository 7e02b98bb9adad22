"""The CPU kernel as operations of TensorFlow's, in eager mode and in graphs."""

import functools
import sys

import tensorflow as tf

from . import compiled

# Graphs that are traced from here go to other programs, which do not know the operations.
EXPORTERS = ("keras.src.export", "tensorflow.python.saved_model", "tensorflow.lite", "tf2onnx")


def _load():
    try:
        found = tf.load_op_library(str(compiled.path()))
    except tf.errors.OpError as error:
        raise RuntimeError(str(error)) from error
    if not hasattr(found, "rnn_topologies_forward"):
        raise RuntimeError(f"TensorFlow {tf.__version__} did not take its operations")
    return found


_operations = _load()


@tf.RegisterGradient("RnnTopologies>Backward")
def _no_second_derivative(operation, *_):
    raise NotImplementedError(
        "The CPU kernel has no second derivatives. Set RNN_TOPOLOGIES_CPU_KERNEL=off to run the "
        "equations, which have."
    )


def threads() -> int:
    """Returns the number of threads that TensorFlow was told to take, or 0."""
    return tf.config.threading.get_intra_op_parallelism_threads()


def obstacle(_) -> tuple[str, str] | None:
    """Returns why the operations cannot be in what is traced, and what to do, or None."""
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
            return "the model is being exported", "Nothing: exported models hold equations."
        frame = frame.f_back
    return None


def run(settings, arrays, training, keep_outputs):
    """Returns (h of all steps or None, h, c); see `native.run`."""
    attributes = dict(zip(("cell", "reverse", "threads"), settings, strict=True))
    # Of variables TensorFlow would want gradients of its own.
    x, mask, h0, c0, kernel, recurrent, bias = map(tf.convert_to_tensor, arrays)
    forward = functools.partial(_operations.rnn_topologies_forward, **attributes)
    backward = functools.partial(_operations.rnn_topologies_backward, keep=1, **attributes)
    nothing = tf.zeros((0,))

    @tf.custom_gradient
    def layer(x, h0, c0, kernel, recurrent, bias):
        inputs = (x, mask, h0, c0, kernel, recurrent, bias)
        y, h, c, reserve = forward(*inputs, keep=int(training))
        y.set_shape([*x.shape[:2], h0.shape[1]])
        h.set_shape(h0.shape)
        c.set_shape(c0.shape)

        def gradients(*above):
            dy, dh, dc = above if keep_outputs else (nothing, *above)
            outputs = (y, reserve) if training else forward(*inputs, keep=1)[::3]
            found = backward(*inputs, *outputs, dy, dh, dc)
            for gradient, of in zip(found, (x, h0, c0, kernel, recurrent, bias), strict=True):
                gradient.set_shape(of.shape)
            return tuple(found)

        return ((y,) if keep_outputs else ()) + (h, c), gradients

    *outputs, h, c = layer(x, h0, c0, kernel, recurrent, bias)
    return outputs[0] if outputs else None, h, c
