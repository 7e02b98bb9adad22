"""Shared by the layer tests: the layers, random weights, masks, gradients on any backend."""

import keras
import numpy as np

from rnn_topologies import layers

from . import reference

BATCH, TIME, FEATURES, UNITS = 4, 6, 3, 5
BACKEND = keras.backend.backend()
# JAX computes in float32 unless configured otherwise before import, and `keras.ops.matmul` rounds
# to float32 on PyTorch.
FLOAT = "float64" if BACKEND == "tensorflow" else "float32"
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12} if FLOAT == "float64" else {"rtol": 2e-5, "atol": 3e-6}

KERAS = {
    "simple_rnn": (layers.SimpleRNN, keras.layers.SimpleRNN, {}),
    "lstm": (layers.LSTM, keras.layers.LSTM, {}),
    "gru": (layers.GRU, keras.layers.GRU, {}),
    "gru_reset_before": (layers.GRU, keras.layers.GRU, {"reset_after": False}),
}
LAYERS = {name: (layer, {}) for name, (_, layer) in layers.CELLS.items()}
LAYERS["gru_reset_before"] = (layers.GRU, {"reset_after": False})
MASKS = {
    "right": [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]],
    "left": [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1]],
    "gaps": [[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0], [1, 1, 0, 1, 1, 1], [0, 1, 1, 0, 0, 1]],
    "whole rows": [[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0]],
}


def with_masks(names, every_mask):
    """Returns (name, mask): all names with no mask and with gaps, one of them with every mask."""
    pairs = [(name, mask) for name in names for mask in (None, "gaps")]
    return pairs + [(every_mask, mask) for mask in MASKS if mask != "gaps"]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(FLOAT)


def numpy(value):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, value)


def without_state_in_gates(name):
    return name in ("min_gru", "min_lstm")


def randomize(layer, seed=1):
    """Sets random weights and returns them: constant ones would hide a wrong gate order."""
    generator = np.random.default_rng(seed)
    weights = [generator.normal(size=w.shape).astype(FLOAT) * 0.7 for w in layer.get_weights()]
    layer.set_weights(weights)
    return weights


def build(name, units=UNITS, **settings):
    """Returns a layer of this library with random weights, and the weights."""
    layer_class, arguments = LAYERS[name]
    layer = layer_class(units, dtype=FLOAT, **arguments, **settings)
    layer.build((BATCH, TIME, FEATURES))
    return layer, randomize(layer)


def state_sizes(name, units=UNITS):
    return LAYERS[name][0](units).cell.state_sizes


def states_for(name, seed=2):
    sizes = state_sizes(name)
    return [random(BATCH, size, seed=seed + index) for index, size in enumerate(sizes)]


def step_of(name):
    return reference.STEPS[name]


def gradients(layer, loss_of, arrays):
    """Returns the gradients of a loss by each trainable weight, then by each array.

    Args:
        layer: has the trainable weights.
        loss_of: `(list of tensors) -> scalar`, calls the layer.
        arrays: NumPy arrays, which become the tensors.
    """
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(array) for array in arrays]
        with tf.GradientTape() as tape:
            for tensor in tensors:
                tape.watch(tensor)
            loss = loss_of(tensors)
        variables = [weight.value for weight in layer.trainable_weights]
        result = tape.gradient(loss, [*variables, *tensors])
        return [np.asarray(tf.convert_to_tensor(gradient)) for gradient in result]
    if BACKEND == "torch":
        import torch

        tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
        layer.zero_grad()
        loss_of(tensors).backward()
        leaves = [*(weight.value for weight in layer.trainable_weights), *tensors]
        return [leaf.grad.detach().numpy() for leaf in leaves]
    import jax

    def loss(values, tensors):
        mapping = list(zip(layer.trainable_weights, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return loss_of(tensors)

    values = [weight.value for weight in layer.trainable_weights]
    result = jax.grad(loss, argnums=(0, 1))(values, [jax.numpy.asarray(a) for a in arrays])
    return [np.asarray(gradient) for gradient in (*result[0], *result[1])]


def numeric_gradients(loss_of, arrays, step=1e-5):
    """Returns gradients by central differences of a float64 loss, one number at a time."""
    arrays = [np.array(array, "float64") for array in arrays]
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = loss_of(arrays)
            array[index] = kept - step
            below = loss_of(arrays)
            array[index] = kept
            gradient[index] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients
