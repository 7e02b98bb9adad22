"""The conformance kit: our own cells pass it, and broken ones are told what is wrong."""

import keras
import numpy as np
import pytest
from keras import ops

from rnn_topologies import layers, testing

from . import cases, reference


def around(wrapper, inner, **settings):
    """Returns a class of its own for a wrapper, whose inner cell is made anew for every cell."""

    class Whole(wrapper):
        def __init__(self, cell=None, **kwargs):
            dtype = kwargs.get("dtype")
            super().__init__(inner(dtype) if cell is None else cell, **{**settings, **kwargs})

    return Whole


ZoneoutLSTM = around(layers.Zoneout, lambda dtype: layers.LSTMCell(5, dtype=dtype), rates=0.2)
DroppingLSTM = around(layers.RecurrentDropout, lambda dtype: layers.LSTMCell(5, dtype=dtype))
ResidualGRU = around(layers.Residual, lambda dtype: layers.GRUCell(4, dtype=dtype))
HighwayGRU = around(layers.Highway, lambda dtype: layers.GRUCell(4, dtype=dtype))
StartingGRU = around(layers.TrainableInitialState, lambda dtype: layers.GRUCell(5, dtype=dtype))


class Stack(layers.StackedCells):
    def __init__(self, cells=None, **kwargs):
        dtype = kwargs.get("dtype")
        made = [layers.LSTMCell(5, dtype=dtype), layers.GRUCell(3, dtype=dtype)]
        super().__init__(cells or made, **kwargs)


CELLS = {
    **{
        name: (layer.cell_class, {"units": 5, **own}, reference.STEPS[name])
        for name, (layer, own) in cases.LAYERS.items()
    },
    "zoneout": (ZoneoutLSTM, {}, None),
    "recurrent dropout": (DroppingLSTM, {}, None),
    "residual": (ResidualGRU, {}, None),
    "highway": (HighwayGRU, {}, None),
    "learnt first state": (StartingGRU, {}, None),
    "stack": (Stack, {}, None),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("check", testing.CHECKS)
def test_our_cells_pass(name, check):
    cell_class, settings, step = CELLS[name]
    report = testing.check_cell(cell_class, checks=[check], reference=step, **settings)
    if report.skipped:
        pytest.skip(report.skipped[check])


class Good(keras.layers.Layer):
    """A simple recurrent cell that is right; the broken ones below differ in one thing each."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units))
        self.recurrent = self.add_weight(name="recurrent", shape=(self.units, self.units))

    def call(self, inputs, states, training=False):
        h = ops.tanh(self.sum(inputs, states[0]))
        return h, [h]

    def sum(self, x, h):
        return ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class ReturnsATensor(Good):
    def call(self, inputs, states, training=False):
        h, _ = super().call(inputs, states)
        return h, h


class ForgetsAState(Good):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.state_size = [units, units]


class ChangesItsWidth(Good):
    def call(self, inputs, states, training=False):
        h, _ = super().call(inputs, states)
        return h, [ops.concatenate([h, h], axis=-1)]


class SaysNotHowWideItIs(Good):
    def call(self, inputs, states, training=False):
        h, new = super().call(inputs, states)
        return ops.concatenate([h, h], axis=-1), new


class ShowsAnotherThingThanItsState(Good):
    def call(self, inputs, states, training=False):
        h, new = super().call(inputs, states)
        return 2 * h, new


class RemembersInItself(Good):
    count = 0

    def call(self, inputs, states, training=False):
        self.count += 1
        h, _ = super().call(inputs, states)
        return h * self.count, [h * self.count]


class LooksAtOtherRows(Good):
    def sum(self, x, h):
        total = super().sum(x, h)
        return total - ops.mean(total, axis=0, keepdims=True)


class RemembersNothing(Good):
    def sum(self, x, h):
        return ops.matmul(x, self.kernel)


class HasAWeightTooMany(Good):
    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight(name="unused", shape=(3,))


class HasARootAtZero(Good):
    def sum(self, x, h):
        return super().sum(x, h) + ops.sum(ops.sqrt(0 * self.kernel))


class LosesItsUnits(Good):
    def __init__(self, units=7, **kwargs):
        super().__init__(units, **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["units"]
        return config


class KnowsNoType(Good):
    def __init__(self, units):
        keras.layers.Layer.__init__(self)
        self.units = self.state_size = units


class UsesNumPy(Good):
    def sum(self, x, h):
        total = cases.numpy(super().sum(x, h))
        return ops.convert_to_tensor(np.minimum(total, 1.0))


class WantsToKnowTheBatch(Good):
    def sum(self, x, h):
        return super().sum(x, h) + ops.zeros((int(x.shape[0]), self.units), dtype=x.dtype)


class IsOnOneBackendOnly(Good):
    def sum(self, x, h):
        if keras.backend.backend() == "tensorflow":
            raise RuntimeError("only there")
        return super().sum(x, h)


class IsAnotherOnOtherBackends(Good):
    def sum(self, x, h):
        return super().sum(x, h) * (1 if keras.backend.backend() == "tensorflow" else 2)


def swapped(x, states, weights):
    kernel, recurrent = weights
    return [np.tanh(x @ kernel - states[0] @ recurrent)]


def right(x, states, weights):
    kernel, recurrent = weights
    return [np.tanh(x @ kernel + states[0] @ recurrent)]


BROKEN = {
    ReturnsATensor: ("contract", "must return its new states in a list.*got a tensor"),
    ForgetsAState: ("contract", r"one for each of `state_size` \(2\), got 1"),
    ChangesItsWidth: (
        "contract",
        r"State 0 comes back as \(3, 10\), and `state_size` says \(3, 5\)",
    ),
    SaysNotHowWideItIs: ("contract", r"The output has the shape \(3, 10\), .*Set `output_size`"),
    ShowsAnotherThingThanItsState: ("output state", "The first state is not the output"),
    RemembersInItself: ("purity", "the cell remembers something outside its states"),
    LooksAtOtherRows: ("rows", "depends on the other rows of its batch"),
    RemembersNothing: ("memory", "the cell remembers nothing"),
    HasAWeightTooMany: ("gradients", "by the weight `unused` is zero everywhere"),
    HasARootAtZero: ("gradients", "by the weight `kernel` is not finite. Look for roots"),
    LosesItsUnits: ("serialization", "`get_config` must hold every argument"),
    KnowsNoType: ("mixed precision", "`__init__` takes no `dtype`"),
    UsesNumPy: ("gradients", "(compute with|[Uu]se) `keras.ops`"),
    WantsToKnowTheBatch: ("compiled", "does not compile for any length"),
}


def test_a_cell_that_is_right_passes():
    report = testing.check_cell(Good, units=5, reference=right)
    assert set(report.passed) | set(report.skipped) == set(testing.CHECKS)
    assert set(report.skipped) <= {"parity"}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_cell_is_told_what_is_wrong(broken):
    check, message = BROKEN[broken]
    if broken is WantsToKnowTheBatch and cases.BACKEND != "tensorflow":
        pytest.skip("only TensorFlow compiles for a batch of unknown size")
    with pytest.raises(
        testing.CellError, match=f"{broken.__name__} fails(.|\n)*{check}: .*{message}"
    ):
        testing.check_cell(
            broken, units=5, checks=[name for name in testing.CHECKS if name != "parity"]
        )


def test_wrong_equations_are_told():
    with pytest.raises(testing.CellError, match="reference: State 0 is off the reference by up to"):
        testing.check_cell(Good, units=5, reference=swapped)


@pytest.mark.skipif(cases.BACKEND == "tensorflow", reason="TensorFlow is the other backend here")
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (IsOnOneBackendOnly, "On tensorflow the cell fails .RuntimeError: .*only there"),
        (IsAnotherOnOtherBackends, "On tensorflow the cell gives other numbers"),
    ],
)
def test_a_cell_that_differs_between_backends_is_told(broken, message):
    with pytest.raises(testing.CellError, match=message):
        testing.check_cell(broken, units=5, checks=["parity"])


test_one_line = testing.cell_tests(Good, units=5, reference=right)


def test_an_unknown_check_is_named():
    with pytest.raises(ValueError, match="Unknown checks: \\['chunk'\\]"):
        testing.check_cell(Good, units=5, checks=["chunk"])
