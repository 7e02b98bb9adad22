"""The native CPU kernel on TensorFlow: custom operations, in eager mode and in graphs."""

import functools
from types import ModuleType
from typing import Any

import tensorflow as tf

from ..typing import Tensor
from .callers import is_called_by
from .equations import run_equations
from .location import library_path

# Graphs traced by these modules run in other programs, which lack the operations.
EXPORTERS = ("keras.src.export", "tensorflow.python.saved_model", "tensorflow.lite", "tf2onnx")
# These modules do not support second derivatives of loops.
TRANSFORMS = ("tensorflow.python.ops.parallel_for", "tensorflow.python.eager.forwardprop")

SETTINGS = ("cell", "reverse", "threads")  # attributes of the operations

UNSAVEABLE = (
    "It was traced with the CPU kernel of rnn-topologies, which other programs cannot load. Save "
    "the model, or a module with the `tf.function` as an attribute, which TensorFlow retraces. "
    "Or set the environment variable RNN_TOPOLOGIES_CPU_KERNEL=off before the first trace."
)


def _load_operations() -> ModuleType:
    try:
        operations = tf.load_op_library(str(library_path()))
    except tf.errors.OpError as error:
        raise RuntimeError(str(error)) from error
    if not hasattr(operations, "rnn_topologies_forward"):
        raise RuntimeError(f"TensorFlow {tf.__version__} did not register its operations")
    return operations


_operations = _load_operations()


@tf.RegisterGradient("RnnTopologies>Forward")
def _differentiate_forward(operation: Any, *gradients: Any) -> list[Any]:
    """Returns the gradients with respect to the inputs of the forward pass, for forward mode.

    `run_kernel` defines the gradient for reverse mode, where TensorFlow would allocate zeros for
    the large `reserve`.
    """
    attributes = {name: operation.get_attr(name) for name in SETTINGS}
    inputs = operation.inputs
    y, _, _, reserve = _operations.rnn_topologies_forward(*inputs, keep=1, **attributes)
    first, *others = _operations.rnn_topologies_backward(
        *inputs, y, reserve, *gradients[:3], keep=1, **attributes
    )
    return [first, None, *others]


@tf.RegisterGradient("RnnTopologies>Backward")
def _differentiate_backward(operation: Any, *gradients: Any) -> list[Any]:
    """Returns the gradients with respect to the inputs of the backward pass, by the equations."""
    settings = tuple(operation.get_attr(name) for name in SETTINGS)
    x, mask, *others = operation.inputs[:7]
    unroll = is_called_by(TRANSFORMS)

    def equations(x, *others):
        return run_equations(settings, x, mask, *others, unroll=unroll)

    def backward(*values):
        return _pull_back(equations, values[:6], values[6:])

    results = _pull_back(backward, [x, *others, *operation.inputs[9:]], gradients)
    # The mask has no gradient, and the equations do not read y and reserve.
    return [results[0], None, *results[1:6], None, None, *results[6:]]


def _pull_back(function, inputs, output_gradients):
    """Returns the gradients of a function with respect to its inputs.

    An output gradient that is None, or empty and without a batch axis, means zeros.
    """
    inputs = [tf.identity(value) for value in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
    pairs = zip(outputs, output_gradients, strict=True)
    pairs = [(y, g) for y, g in pairs if g is not None and (y.shape.rank == 1 or g.shape.rank != 1)]
    outputs, output_gradients = (list(part) for part in zip(*pairs, strict=True))
    if tf.executing_eagerly():
        return tape.gradient(outputs, inputs, output_gradients, tf.UnconnectedGradients.ZERO)
    # In graphs, tapes record nothing while a `ForwardAccumulator` is active.
    return tf.gradients(
        outputs, inputs, output_gradients, unconnected_gradients=tf.UnconnectedGradients.ZERO
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
    if is_called_by(EXPORTERS):
        return "the model is being exported", "Nothing to do: exports use the equations."
    return None


def _mark_as_unsaveable() -> None:
    """Makes TensorFlow refuse to save the functions that are being traced."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        if hasattr(graph, "mark_as_unsaveable"):  # the graph of a function
            graph.mark_as_unsaveable(UNSAVEABLE)
        graph = getattr(graph, "outer_graph", None)


def run_kernel(
    settings: tuple[int, int, int], arrays: tuple[Any, ...], training: bool, keep_outputs: bool
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Returns (h of all steps or None, h, c); see `native.run_kernel`."""
    attributes = dict(zip(SETTINGS, settings, strict=True))
    _mark_as_unsaveable()
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
