"""Which kernel runs: the fast one where there is one, for every mask, and said aloud where not."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers import native
from rnn_topologies.layers.dispatch import fused
from rnn_topologies.layers.dispatch import plan as kernels
from rnn_topologies.layers.dispatch.alignment import Alignment

from . import cases, reference

X = cases.random(cases.BATCH, cases.TIME, cases.FEATURES)
SHAPE = X.shape
each_mask = pytest.mark.parametrize("mask", cases.MASKS)
both_ways = pytest.mark.parametrize("go_backwards", [False, True])
on_torch = pytest.mark.skipif(
    cases.BACKEND != "torch", reason="only PyTorch has kernels of its own on a CPU"
)


@pytest.fixture
def calls(monkeypatch):
    """Returns a list of the kernels that ran, in order."""
    ran = []

    def spy(name):
        original = getattr(layers.RNN, name)

        def spied(self, *args, **settings):
            ran.append(name)
            return original(self, *args, **settings)

        monkeypatch.setattr(layers.RNN, name, spied)

    for name in ("_loop", "_unrolled", "_parallel", "_native", "_fused"):
        spy(name)
    return ran


KINDS = {
    "_parallel": kernels.PARALLEL,
    "_native": kernels.NATIVE,
    "_fused": kernels.FUSED,
    "_loop": kernels.LOOP,
}
# On a CPU JAX's loop is the fastest for these.
EXPECTED = {} if cases.BACKEND == "jax" else dict.fromkeys(("min_gru", "min_lstm"), "_parallel")
if native.obstacle() is None:
    EXPECTED |= dict.fromkeys(native.CELLS, "_native")
FUSED = ("simple_rnn", "lstm", "gru") if cases.BACKEND == "torch" else ()


@pytest.mark.parametrize("name", cases.LAYERS)
@pytest.mark.parametrize("mask", [None, *cases.MASKS])
@both_ways
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("switch", ["auto", "off"])
def test_what_can_be_fast_is_fast_whatever_the_mask(
    monkeypatch, calls, name, mask, go_backwards, training, switch
):
    monkeypatch.setenv(native.SWITCH, switch)
    ours, own = cases.LAYERS[name]
    layer = ours(cases.UNITS, go_backwards=go_backwards, dropout=0.1, **own)
    valid = None if mask is None else np.array(cases.MASKS[mask], bool)
    layer(X.astype("float32"), mask=valid, training=training)
    expected = EXPECTED.get(name, "_loop")
    if expected == "_native" and switch == "off":
        expected = "_fused" if name in FUSED else "_loop"
    assert calls == [expected]
    plan = layer.explain(SHAPE, mask=valid, training=training)
    assert plan.kernel == KINDS[calls[0]]


SLOW = {
    "activation": ({"activation": "relu"}, "the kernel's activation is tanh"),
    "gates": ({"recurrent_activation": "hard_sigmoid"}, "the kernel's gates are sigmoids"),
    "recurrent dropout": ({"recurrent_dropout": 0.1}, "recurrent_dropout masks h"),
    "unrolled": ({"unroll": True}, "unroll=True"),
    "by request": ({"use_cudnn": False}, "use_cudnn=False"),
    "half precision": ({"dtype": "mixed_bfloat16"}, "the CPU kernel computes in float32"),
}


@pytest.mark.parametrize("case", SLOW)
def test_what_is_slow_says_why_and_what_to_change(calls, case):
    settings, why = SLOW[case]
    layer = layers.LSTM(cases.UNITS, **settings)
    plan = layer.explain(SHAPE, training=True)
    assert not plan.fastest
    assert any(why in reason for reason in plan.why)
    assert len(plan.why) == len(plan.change)
    assert "Not the fastest" in str(plan)
    layer(X.astype("float32"), training=True)
    if case == "half precision" and cases.BACKEND == "torch":
        assert calls == ["_fused"]
    else:
        assert calls == ["_unrolled" if case == "unrolled" else "_loop"]


def test_a_plan_reads_as_sentences():
    text = str(layers.MinGRU(4).explain((None, None, 3), mask=True))
    assert cases.BACKEND == "jax" or "all steps at once" in text
    assert "Nothing faster is known" in text
    slow = layers.MinGRU(4, unroll=True).explain(SHAPE)
    assert (slow.kernel, slow.fastest) == (kernels.UNROLLED, False)
    with pytest.raises(ValueError, match=r"must be \(batch, time, features\)"):
        layers.GRU(4).explain((3,))


def test_both_directions_are_explained():
    forward, backward = layers.Bidirectional(layers.GRU(4)).explain(SHAPE)
    assert forward.kernel == backward.kernel


@pytest.mark.parametrize("name", ["lstm", "gru", "simple_rnn"])
@on_torch
@pytest.mark.parametrize("use_bias", [True, False])
def test_the_kernel_equals_the_equations_without_bias_too(monkeypatch, calls, name, use_bias):
    monkeypatch.setenv(native.SWITCH, "off")
    layer, weights = cases.build(name, return_sequences=True, use_bias=use_bias)
    zero = np.zeros((2, 15) if name == "gru" else (layer.cell.kernel.shape[1],))
    states = cases.states_for(name)
    weights = weights if use_bias else [*weights, zero]
    wanted, _ = reference.sequence(reference.STEPS[name], X, states, weights)
    found = cases.numpy(layer(X, initial_state=states))
    np.testing.assert_allclose(found, wanted, **cases.TOLERANCE)
    assert calls == ["_fused"]


@pytest.mark.parametrize("name", ["lstm", "gru"])
@each_mask
@both_ways
def test_the_way_to_keras_kernels_gives_the_equations(monkeypatch, name, mask, go_backwards):
    """The path that takes cuDNN on a GPU; without one Keras runs its own loop at its end."""
    monkeypatch.setattr(fused, "run_torch", fused.run_keras)
    plan = kernels.Plan(kernels.FUSED, True, "")
    monkeypatch.setattr(kernels, "choose", lambda *_, **__: plan)
    layer, weights = cases.build(
        name, return_sequences=True, return_state=True, go_backwards=go_backwards
    )
    states, valid = cases.states_for(name), np.array(cases.MASKS[mask], bool)
    outputs, *last = cases.numpy(layer(X, initial_state=states, mask=valid))
    step = reference.STEPS[name]
    wanted, wanted_last = reference.sequence(step, X, states, weights, valid, go_backwards)
    np.testing.assert_allclose(outputs, wanted, **cases.TOLERANCE)
    for state, value in zip(last, wanted_last, strict=True):
        np.testing.assert_allclose(state, value, **cases.TOLERANCE)


@each_mask
def test_rows_are_aligned_and_put_back(mask):
    mask = np.array(cases.MASKS[mask], bool)
    rows = Alignment(keras.ops.convert_to_tensor(mask))
    aligned = cases.numpy(rows.align(keras.ops.convert_to_tensor(X)))
    held = cases.numpy(rows.hold(keras.ops.convert_to_tensor(X)))
    padding = cases.numpy(rows.padding("float32"))[..., 0]
    for row, valid in enumerate(mask):
        count = valid.sum()
        np.testing.assert_array_equal(aligned[row, :count], X[row, valid])
        np.testing.assert_array_equal(padding[row], np.arange(cases.TIME) >= count)
        for t in np.flatnonzero(np.cumsum(valid)):
            before = np.flatnonzero(valid[: t + 1])[-1]
            np.testing.assert_array_equal(held[row, t], X[row, before])
