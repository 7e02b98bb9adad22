"""Derivatives that kernels lack fall back to the equations, with the same values."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers import native
from rnn_topologies.layers.dispatch import plan

from . import cases

BATCH, TIME, FEATURES, UNITS = 2, 3, 4, 2
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # float32 after three passes
MASK = np.array([[1, 0, 1], [0, 1, 0]], bool)
each_cell = pytest.mark.parametrize("name", native.CELLS)
only_on_torch = pytest.mark.skipif(cases.BACKEND != "torch", reason="tests PyTorch")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


X, DIRECTION = normal(BATCH, TIME, FEATURES), normal(BATCH, TIME, FEATURES, seed=1)


def make(layer_class, **settings):
    layer = layer_class(UNITS, dtype="float32", **settings)
    layer.build((BATCH, TIME, FEATURES))
    layer.set_weights([normal(*w.shape, seed=3) for w in layer.get_weights()])
    return layer


def kernel_layer(name="lstm", **settings):
    layer_class, arguments = cases.LAYERS[name]
    layer = make(layer_class, **arguments, **settings)
    assert layer.explain(X.shape, training=True).method == plan.NATIVE
    return layer


def penalty_gradients(layer, mask=None):
    """Returns the gradients of a loss with a gradient penalty, for each weight and the input."""

    def loss(x):
        return keras.ops.sum(layer(x, mask=mask, training=True) ** 2)

    if cases.BACKEND == "tensorflow":
        import tensorflow as tf

        def total(tensors):
            (x,) = tensors
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = loss(x)
            return value + 10 * tf.reduce_mean(tape.gradient(value, x) ** 2)

    elif cases.BACKEND == "torch":
        import torch

        def total(tensors):
            (x,) = tensors
            value = loss(x)
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            return value + 10 * (gradient**2).mean()

    else:
        import jax

        @jax.jit
        def total(tensors):
            value, gradient = jax.value_and_grad(loss)(tensors[0])
            return value + 10 * (gradient**2).mean()

    return cases.gradients(layer, total, [X])


@each_cell
def test_a_masked_gradient_penalty_has_the_gradients_of_the_equations(monkeypatch, name):
    layer = kernel_layer(name, return_sequences=True, go_backwards=True)
    ours = penalty_gradients(layer, MASK)
    monkeypatch.setenv(native.KERNEL_VARIABLE, "off")
    for actual, expected in zip(ours, penalty_gradients(layer, MASK), strict=True):
        np.testing.assert_allclose(actual, expected, **TOLERANCE)


@each_cell
def test_a_gradient_penalty_has_the_gradients_of_keras(name):
    _, theirs, arguments = cases.KERAS[name]
    ours = penalty_gradients(kernel_layer(name))
    for actual, expected in zip(ours, penalty_gradients(make(theirs, **arguments)), strict=True):
        np.testing.assert_allclose(actual, expected, **TOLERANCE)


def outputs_and_loss(layer):
    def outputs(x):
        return layer(x, mask=MASK)

    return outputs, lambda x: keras.ops.sum(outputs(x) ** 2)


def transforms():
    """Returns `{name: function (outputs, loss) -> arrays}`: ways to transform a layer."""
    if cases.BACKEND == "jax":
        import jax

        x, v, two = jax.numpy.asarray(X), jax.numpy.asarray(DIRECTION), np.stack([X, DIRECTION])
        return {
            "jvp": lambda f, _: jax.jvp(f, (x,), (v,)),
            "jacfwd": lambda f, _: jax.jit(jax.jacfwd(f))(x),
            "hessian": lambda _, loss: jax.jit(jax.hessian(loss))(x),
            "reverse over forward": lambda f, _: jax.jit(jax.jacrev(jax.jacfwd(f)))(x),
            "vmap": lambda f, _: jax.vmap(f)(two),
            "vmap of grad": lambda _, loss: jax.jit(jax.vmap(jax.grad(loss)))(two),
            "grad of vmap": lambda f, _: jax.grad(lambda x: (jax.vmap(f)(x) ** 2).sum())(two),
            "linearize": lambda f, _: jax.linearize(f, x)[1](v),
            "checkpoint": lambda _, loss: jax.grad(jax.checkpoint(loss))(x),
        }
    if cases.BACKEND == "torch":
        return torch_transforms()
    return tensorflow_transforms()


def torch_transforms():
    import torch

    x, v = torch.tensor(X), torch.tensor(DIRECTION)
    two = torch.stack([x, v])

    def forward_mode(f, _):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, v)
            return torch.autograd.forward_ad.unpack_dual(f(dual)).tangent

    def batched(f, _):
        leaf = x.clone().requires_grad_()
        y = f(leaf)
        directions = torch.stack([torch.ones_like(y), y.detach()])
        return torch.autograd.grad(y, leaf, directions, is_grads_batched=True)[0]

    return {
        "grad": lambda _, loss: torch.func.grad(loss)(x),
        "vjp": lambda f, _: torch.func.vjp(f, x)[1](torch.ones(BATCH, UNITS))[0],
        "jvp": lambda f, _: torch.func.jvp(f, (x,), (v,))[1],
        "forward mode": forward_mode,
        "hessian": lambda _, loss: torch.func.hessian(loss)(x),
        "forward over forward": lambda _, loss: torch.func.jacfwd(torch.func.jacfwd(loss))(x),
        "vmap": lambda f, _: torch.vmap(f)(two),
        "vmap of grad": lambda _, loss: torch.vmap(torch.func.grad(loss))(two),
        "batched gradients": batched,
        "functional": lambda _, loss: torch.autograd.functional.hvp(loss, x, v)[1],
        "vectorized": lambda f, _: torch.autograd.functional.jacobian(f, x, vectorize=True),
    }


def tensorflow_transforms():
    import tensorflow as tf

    x, v = tf.constant(X), tf.constant(DIRECTION)

    def forward_mode(f, _):
        with tf.autodiff.ForwardAccumulator(x, v) as accumulator:
            y = f(x)
        return accumulator.jvp(y)

    def forward_over_reverse(_, loss):
        with tf.autodiff.ForwardAccumulator(x, v) as accumulator, tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        with accumulator:
            gradient = tape.gradient(value, x)
        return accumulator.jvp(gradient)

    def jacobian(f, _):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = f(x)
        return tape.batch_jacobian(y, x)

    def hessian(_, loss):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = loss(x)
            gradient = inner.gradient(value, x)
        return outer.jacobian(gradient, x)

    return {
        "forward mode": forward_mode,
        "forward mode of a function": lambda f, loss: forward_mode(tf.function(f), loss),
        "forward over reverse": forward_over_reverse,
        "jacobian": jacobian,
        "hessian": hessian,
        "vectorized_map": lambda f, _: tf.vectorized_map(f, tf.stack([x, v])),
    }


@pytest.mark.parametrize("transform", transforms())
def test_transforms_have_the_values_of_the_equations(monkeypatch, transform):
    run, results = transforms()[transform], []
    functions = outputs_and_loss(kernel_layer())
    for switch in ("auto", "off"):
        monkeypatch.setenv(native.KERNEL_VARIABLE, switch)
        results.append(keras.tree.flatten(run(*functions)))
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(cases.numpy(actual), cases.numpy(expected), **TOLERANCE)
        assert np.abs(cases.numpy(actual)).max() > 0


@only_on_torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("switch", ["auto", "off"])
def test_torch_transforms_do_not_reach_fused_kernels(monkeypatch, dtype, switch):
    """PyTorch has no rules for its own recurrent kernels."""
    import torch

    monkeypatch.setenv(native.KERNEL_VARIABLE, switch)
    layer = layers.GRU(UNITS, dtype=dtype)
    x = torch.tensor(np.stack([X, DIRECTION]), dtype=getattr(torch, dtype))
    each = torch.stack([layer(part) for part in x])
    torch.testing.assert_close(torch.vmap(layer)(x), each)


@only_on_torch
@pytest.mark.parametrize("name", ["lstm", "gru", "simple_rnn", "min_gru", "min_lstm", "ind_rnn"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("options", [{}, {"unroll": True}])
def test_a_stateful_layer_trains_on_torch(name, mask, options):
    """Its state variables change in place between the forward and the backward pass."""
    layer_class, _ = cases.LAYERS[name]
    layer = make(layer_class, stateful=True, **options)
    first = layer(X, mask=mask)
    assert np.abs(cases.numpy(layer(X, mask=mask) - first)).max() > 0  # it kept its states
    layer.reset_state()
    stateless = make(layer_class, **options)
    gradients = [
        cases.gradients(
            each, lambda tensors, each=each: keras.ops.sum(each(*tensors, mask=mask)), [X]
        )
        for each in (layer, stateless)
    ]
    for actual, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(actual, expected, **TOLERANCE)


@pytest.mark.parametrize("wrap", ["plain", "bidirectional", "stacked"])
def test_stateful_models_can_be_fitted(wrap):
    layer = {
        "plain": lambda: layers.SimpleRNN(UNITS, stateful=True),
        "bidirectional": lambda: layers.Bidirectional(layers.GRU(UNITS, stateful=True)),
        "stacked": lambda: layers.RNN(
            [layers.LSTMCell(UNITS), layers.MinGRUCell(3)], stateful=True
        ),
    }[wrap]()
    model = keras.Sequential([keras.Input(batch_shape=X.shape), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.tile(X, (2, 1, 1)), normal(4, 1), batch_size=BATCH, verbose=0)
    assert np.isfinite(history.history["loss"][0])
