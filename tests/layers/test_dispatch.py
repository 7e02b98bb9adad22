"""Dispatch: the fastest method runs under every mask, and `explain` says why it cannot."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers import native, rnn
from rnn_topologies.layers.dispatch import execution, fused, plan
from rnn_topologies.layers.dispatch.alignment import Alignment

from . import cases, reference

X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
SHAPE = X.shape
each_mask = pytest.mark.parametrize("mask", cases.MASKS)
both_ways = pytest.mark.parametrize("go_backwards", [False, True])
on_torch = pytest.mark.skipif(
    cases.BACKEND != "torch", reason="only PyTorch has fused kernels on a CPU"
)


@pytest.fixture
def calls(monkeypatch):
    """Returns a list of the methods that ran, in order."""
    ran = []

    def spy(name, method):
        def run(*args):
            ran.append(name)
            return method.run(*args)

        return method._replace(run=run)

    spied = {name: spy(name, method) for name, method in execution.METHODS.items()}
    monkeypatch.setattr(execution, "METHODS", spied)
    return ran


# On a CPU, JAX's loop is fastest for these.
EXPECTED = {} if cases.BACKEND == "jax" else dict.fromkeys(("min_gru", "min_lstm"), plan.PARALLEL)
if native.fallback_reason() is None:
    EXPECTED |= dict.fromkeys(native.CELLS, plan.NATIVE)
FUSED = ("simple_rnn", "lstm", "gru") if cases.BACKEND == "torch" else ()


# Without the native kernel, only the layers that it runs take another method.
SWITCHED = [(*pair, "auto") for pair in cases.with_masks(cases.LAYERS, "lstm")]
SWITCHED += [(*pair, "off") for pair in cases.with_masks(native.CELLS, "lstm")]


@pytest.mark.parametrize(("name", "mask", "switch"), SWITCHED)
@pytest.mark.parametrize(("go_backwards", "training"), [(False, True), (True, False)])
def test_the_fastest_method_runs_whatever_the_mask(
    monkeypatch, calls, name, mask, switch, go_backwards, training
):
    monkeypatch.setenv(native.KERNEL_VARIABLE, switch)
    layer_class, arguments = cases.LAYERS[name]
    layer = layer_class(cases.UNITS, go_backwards=go_backwards, dropout=0.1, **arguments)
    valid = None if mask is None else np.array(cases.MASKS[mask], bool)
    layer(X.astype("float32"), mask=valid, training=training)
    expected = EXPECTED.get(name, plan.LOOP)
    if expected == plan.NATIVE and switch == "off":
        expected = plan.FUSED if name in FUSED else plan.LOOP
    assert calls == [expected]
    assert layer.explain(SHAPE, mask=valid, training=training).method == calls[0]


SLOW = {
    "activation": ({"activation": "relu"}, "the kernel's activation is tanh"),
    "gates": ({"recurrent_activation": "hard_sigmoid"}, "the kernel's gates are sigmoids"),
    "recurrent dropout": ({"recurrent_dropout": 0.1}, "recurrent_dropout masks h"),
    "unrolled": ({"unroll": True}, "unroll=True"),
    "by request": ({"use_cudnn": False}, "use_cudnn=False"),
    "half precision": ({"dtype": "mixed_bfloat16"}, "the CPU kernel computes in float32"),
}


@pytest.mark.parametrize("case", SLOW)
def test_a_slow_layer_explains_why_and_what_to_change(calls, case):
    settings, why = SLOW[case]
    layer = layers.LSTM(cases.UNITS, **settings)
    explained = layer.explain(SHAPE, training=True)
    assert not explained.fastest
    assert any(why in reason for reason in explained.reasons)
    assert len(explained.reasons) == len(explained.suggestions)
    assert "Not the fastest" in str(explained)
    layer(X.astype("float32"), training=True)
    if case == "half precision" and cases.BACKEND == "torch":
        assert calls == [plan.FUSED]
    else:
        assert calls == [plan.UNROLLED if case == "unrolled" else plan.LOOP]


def test_a_plan_reads_as_sentences():
    text = str(layers.MinGRU(4).explain((None, None, 3), mask=True))
    assert cases.BACKEND == "jax" or "all steps at once" in text
    assert "Nothing faster is known" in text
    slow = layers.MinGRU(4, unroll=True).explain(SHAPE)
    assert (slow.method, slow.fastest) == (plan.UNROLLED, False)
    with pytest.raises(ValueError, match=r"must be \(batch, time, features\)"):
        layers.GRU(4).explain((3,))


def test_both_directions_are_explained():
    forward, backward = layers.Bidirectional(layers.GRU(4)).explain(SHAPE)
    assert forward.method == backward.method


@pytest.mark.parametrize("name", ["lstm", "gru", "simple_rnn"])
@on_torch
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_fused_kernel_equals_the_equations(monkeypatch, calls, name, use_bias):
    monkeypatch.setenv(native.KERNEL_VARIABLE, "off")
    layer, weights = cases.build(name, return_sequences=True, use_bias=use_bias)
    zero = np.zeros((2, 15) if name == "gru" else (layer.cell.kernel.shape[1],))
    states = cases.states_for(name)
    weights = weights if use_bias else [*weights, zero]
    expected, _ = reference.sequence(reference.STEPS[name], X, states, weights)
    actual = cases.numpy(layer(X, initial_state=states))
    np.testing.assert_allclose(actual, expected, **cases.TOLERANCE)
    assert calls == [plan.FUSED]


@pytest.mark.parametrize("name", ["lstm", "gru"])
@each_mask
@both_ways
def test_the_cudnn_path_equals_the_equations(monkeypatch, name, mask, go_backwards):
    """Without a GPU, Keras runs its own loop at the end of the cuDNN path."""
    monkeypatch.setattr(fused, "run_torch", fused.run_keras)
    fused_plan = plan.Plan(plan.FUSED, True, "")
    monkeypatch.setattr(rnn, "choose_plan", lambda *_, **__: fused_plan)
    layer, weights = cases.build(
        name, return_sequences=True, return_state=True, go_backwards=go_backwards
    )
    states, valid = cases.states_for(name), np.array(cases.MASKS[mask], bool)
    outputs, *last = cases.numpy(layer(X, initial_state=states, mask=valid))
    step = reference.STEPS[name]
    expected, expected_last = reference.sequence(step, X, states, weights, valid, go_backwards)
    np.testing.assert_allclose(outputs, expected, **cases.TOLERANCE)
    for state, value in zip(last, expected_last, strict=True):
        np.testing.assert_allclose(state, value, **cases.TOLERANCE)


@each_mask
def test_alignment_moves_valid_steps_to_the_front_and_back(mask):
    mask = np.array(cases.MASKS[mask], bool)
    rows = Alignment(keras.ops.convert_to_tensor(mask))
    aligned = cases.numpy(rows.align(keras.ops.convert_to_tensor(X)))
    held = cases.numpy(rows.restore(rows.align(keras.ops.convert_to_tensor(X))))
    padding = cases.numpy(rows.padding("float32"))[..., 0]
    for row, valid in enumerate(mask):
        count = valid.sum()
        np.testing.assert_array_equal(aligned[row, :count], X[row, valid])
        np.testing.assert_array_equal(padding[row], np.arange(cases.TIME) >= count)
        for t in np.flatnonzero(np.cumsum(valid)):
            before = np.flatnonzero(valid[: t + 1])[-1]
            np.testing.assert_array_equal(held[row, t], X[row, before])
