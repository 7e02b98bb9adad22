"""First and second derivatives on every backend."""

import keras
import numpy as np
from keras import ops

from ..cases import BACKEND
from .subject import Subject, arrays, inputs_of


def gradients(subject: Subject, penalty: bool) -> list[np.ndarray]:
    """Returns the gradients with respect to the weights, the sequences and the states.

    They are those of a random projection of the outputs; with `penalty` of the squared gradient of
    this projection by the sequences. Where there is no gradient it is zero.
    """
    case, layer = subject.case, subject.layer

    def projection(tensors):
        outputs = subject(tensors[0], list(tensors[1:]), case.training)
        outputs = [ops.cast(output, tensors[0].dtype) for output in outputs]
        factors = [case.array(*o.shape, offset=200 + k) for k, o in enumerate(outputs)]
        pairs = zip(outputs, map(ops.convert_to_tensor, factors), strict=True)
        return sum(ops.sum(output * factor) for output, factor in pairs)

    values = [inputs_of(case), *subject.states()]
    variables = [weight.value for weight in layer.trainable_weights]
    if BACKEND == "tensorflow":
        return arrays(_tensorflow_gradients(projection, variables, values, penalty))
    if BACKEND == "torch":
        return arrays(_torch_gradients(projection, variables, values, penalty))
    return arrays(_jax_gradients(projection, layer, variables, values, penalty))


def _tensorflow_gradients(projection, variables, values, penalty):
    import tensorflow as tf

    tensors = [tf.convert_to_tensor(value) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        if penalty:
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                loss = projection(tensors)
            gradient = inner.gradient(loss, tensors[0], unconnected_gradients="zero")
            loss = tf.reduce_sum(tf.square(gradient))
        else:
            loss = projection(tensors)
    return tape.gradient(loss, [*variables, *tensors], unconnected_gradients="zero")


def _torch_gradients(projection, variables, values, penalty):
    import torch

    tensors = [torch.tensor(value, requires_grad=True) for value in values]
    leaves, loss = [*variables, *tensors], projection(tensors)
    if penalty and loss.requires_grad:
        found = torch.autograd.grad(loss, tensors[:1], create_graph=True, allow_unused=True)
        loss = sum(g.square().sum() for g in found if g is not None)
    if not getattr(loss, "requires_grad", False):
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(v) if g is None else g for v, g in zip(leaves, found, strict=True)]


def _jax_gradients(projection, layer, variables, values, penalty):
    import jax

    def loss(variables, tensors):
        with keras.StatelessScope(list(zip(layer.trainable_weights, variables, strict=True))):
            return projection(tensors)

    def penalty_of(variables, tensors):
        gradient = jax.grad(lambda x: loss(variables, [x, *tensors[1:]]))(tensors[0])
        return (gradient**2).sum()

    tensors = [jax.numpy.asarray(value) for value in values]
    result = jax.grad(penalty_of if penalty else loss, argnums=(0, 1))(variables, tensors)
    return [*result[0], *result[1]]
