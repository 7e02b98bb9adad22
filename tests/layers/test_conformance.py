"""The conformance kit: this library's cells pass it, and it says what is wrong with broken ones."""

from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import ops

from rnn_topologies import layers, testing

from . import cases, reference


def wrapper_class(wrapper, make_inner, **options):
    """Returns a subclass of a wrapper that creates its own inner cell."""

    class Wrapped(wrapper):
        def __init__(self, cell=None, **kwargs):
            dtype = kwargs.get("dtype")
            super().__init__(make_inner(dtype) if cell is None else cell, **{**options, **kwargs})

    return Wrapped


def lstm(dtype):
    return layers.LSTMCell(5, dtype=dtype)


def gru(dtype):
    return layers.GRUCell(4, dtype=dtype)


ZoneoutLSTM = wrapper_class(layers.Zoneout, lstm, rates=0.2)
RecurrentDropoutLSTM = wrapper_class(layers.RecurrentDropout, lstm)
ResidualGRU = wrapper_class(layers.Residual, gru)
HighwayGRU = wrapper_class(layers.Highway, gru)
TrainableStateGRU = wrapper_class(layers.TrainableInitialState, gru)


class Stack(layers.StackedCells):
    def __init__(self, cells=None, **kwargs):
        dtype = kwargs.get("dtype")
        default = [layers.LSTMCell(5, dtype=dtype), layers.GRUCell(3, dtype=dtype)]
        super().__init__(cells or default, **kwargs)


@keras.saving.register_keras_serializable(package="tests")
class ScaledGRUCell(layers.GRUCell):
    """A cell of this library with one more constructor argument, which `Cell` serializes."""

    def __init__(self, units, temperature=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.temperature = temperature

    def values(self, inputs, states, training=False):
        return super().values(inputs / self.temperature, states, training)


CELLS = {
    **{
        name: (layer.cell_class, {"units": 5, **options}, reference.STEPS[name])
        for name, (layer, options) in cases.LAYERS.items()
    },
    "zoneout": (ZoneoutLSTM, {}, None),
    "recurrent dropout": (RecurrentDropoutLSTM, {}, None),
    "residual": (ResidualGRU, {}, None),
    "highway": (HighwayGRU, {}, None),
    "trainable initial state": (TrainableStateGRU, {}, None),
    "stack": (Stack, {}, None),
    "own argument": (ScaledGRUCell, {"units": 5}, None),
    "own argument, not the default": (ScaledGRUCell, {"units": 5, "temperature": 2.0}, None),
}


def cells_and_checks():
    """Returns (name, check); "parity" starts a process with another backend, which is slow."""
    fast = ("lstm", "stack")
    return [
        pytest.param(
            *(name, check),
            marks=pytest.mark.slow if check == "parity" and name not in fast else (),
        )
        for check in testing.CHECKS
        for name in CELLS
    ]


@pytest.mark.parametrize(("name", "check"), cells_and_checks())
def test_the_cells_of_this_library_pass(name, check):
    cell_class, options, step = CELLS[name]
    report = testing.check_cell(cell_class, checks=[check], reference=step, **options)
    if report.skipped:
        pytest.skip(report.skipped[check])


class CorrectCell(keras.layers.Layer):
    """A correct simple RNN cell; each of the broken ones below changes one thing."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units))
        self.recurrent = self.add_weight(name="recurrent", shape=(self.units, self.units))

    def call(self, inputs, states, training=False):
        h = ops.tanh(self.preactivation(inputs, states[0]))
        return h, [h]

    def preactivation(self, x, h):
        return ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class ReturnsATensor(CorrectCell):
    def call(self, inputs, states, training=False):
        h, _ = super().call(inputs, states)
        return h, h


class ReturnsTooFewStates(CorrectCell):
    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.state_size = [units, units]


class ChangesTheStateSize(CorrectCell):
    def call(self, inputs, states, training=False):
        h, _ = super().call(inputs, states)
        return h, [ops.concatenate([h, h], axis=-1)]


class OmitsTheOutputSize(CorrectCell):
    def call(self, inputs, states, training=False):
        h, new = super().call(inputs, states)
        return ops.concatenate([h, h], axis=-1), new


class OutputIsNotTheState(CorrectCell):
    def call(self, inputs, states, training=False):
        h, new = super().call(inputs, states)
        return 2 * h, new


class KeepsStateInAnAttribute(CorrectCell):
    count = 0

    def call(self, inputs, states, training=False):
        self.count += 1
        h, _ = super().call(inputs, states)
        return h * self.count, [h * self.count]


class MixesRows(CorrectCell):
    def preactivation(self, x, h):
        total = super().preactivation(x, h)
        return total - ops.mean(total, axis=0, keepdims=True)


class HasNoMemory(CorrectCell):
    def preactivation(self, x, h):
        return ops.matmul(x, self.kernel)


class HasAnUnusedWeight(CorrectCell):
    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight(name="unused", shape=(3,))


class TakesTheRootOfZero(CorrectCell):
    def preactivation(self, x, h):
        return super().preactivation(x, h) + ops.sum(ops.sqrt(0 * self.kernel))


class OmitsUnitsFromTheConfig(CorrectCell):
    def __init__(self, units=7, **kwargs):
        super().__init__(units, **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["units"]
        return config


class OmitsTemperatureFromTheConfig(CorrectCell):
    def __init__(self, units, temperature=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.temperature = temperature

    def preactivation(self, x, h):
        return super().preactivation(x, h) / self.temperature


class DoesNotStoreTemperature(layers.GRUCell):
    def __init__(self, units, temperature=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.factor = 1 / temperature

    def values(self, inputs, states, training=False):
        return super().values(inputs * self.factor, states, training)


class TakesNoDtype(CorrectCell):
    def __init__(self, units):
        keras.layers.Layer.__init__(self)
        self.units = self.state_size = units


class UsesNumPy(CorrectCell):
    def preactivation(self, x, h):
        total = cases.numpy(super().preactivation(x, h))
        return ops.convert_to_tensor(np.minimum(total, 1.0))


class NeedsTheBatchSize(CorrectCell):
    def preactivation(self, x, h):
        return super().preactivation(x, h) + ops.zeros((int(x.shape[0]), self.units), dtype=x.dtype)


class FailsOnTensorFlow(CorrectCell):
    def preactivation(self, x, h):
        if keras.backend.backend() == "tensorflow":
            raise RuntimeError("only there")
        return super().preactivation(x, h)


class DiffersBetweenBackends(CorrectCell):
    def preactivation(self, x, h):
        return super().preactivation(x, h) * (1 if keras.backend.backend() == "tensorflow" else 2)


def wrong_reference(x, states, weights):
    kernel, recurrent = weights
    return [np.tanh(x @ kernel - states[0] @ recurrent)]


def correct_reference(x, states, weights):
    kernel, recurrent = weights
    return [np.tanh(x @ kernel + states[0] @ recurrent)]


BROKEN = {
    ReturnsATensor: ("contract", "must return its new states in a list.*got a tensor"),
    ReturnsTooFewStates: ("contract", r"one for each of `state_size` \(2\), got 1"),
    ChangesTheStateSize: (
        "contract",
        r"State 0 is returned with shape \(3, 10\), but `state_size` means \(3, 5\)",
    ),
    OmitsTheOutputSize: ("contract", r"The output has shape \(3, 10\), .*Set `output_size`"),
    OutputIsNotTheState: ("output state", "The first state is not the output"),
    KeepsStateInAnAttribute: ("purity", "the cell keeps information outside its states"),
    MixesRows: ("rows", "depends on the other rows of its batch"),
    HasNoMemory: ("memory", "the cell has no memory"),
    HasAnUnusedWeight: ("gradients", "of the weight `unused` is zero everywhere"),
    TakesTheRootOfZero: ("gradients", "of the weight `kernel` is not finite. Look for roots"),
    OmitsUnitsFromTheConfig: ("serialization", "`get_config` lacks `units`"),
    OmitsTemperatureFromTheConfig: ("serialization", "`get_config` lacks `temperature`"),
    DoesNotStoreTemperature: (
        "serialization",
        "`get_config` fails. .*has the argument `temperature` but does not store it",
    ),
    TakesNoDtype: ("mixed precision", "`__init__` does not accept `dtype`"),
    UsesNumPy: ("gradients", "(compute with|[Uu]se) `keras.ops`"),
    NeedsTheBatchSize: ("compiled", "does not compile for any length"),
}


def test_a_correct_cell_passes():
    report = testing.check_cell(CorrectCell, units=5, reference=correct_reference)
    assert set(report.passed) | set(report.skipped) == set(testing.CHECKS)
    assert set(report.skipped) <= {"parity"}


@pytest.mark.parametrize("broken", BROKEN)
def test_the_error_says_what_is_wrong_with_a_broken_cell(broken):
    check, message = BROKEN[broken]
    if broken is NeedsTheBatchSize and cases.BACKEND != "tensorflow":
        pytest.skip("only TensorFlow compiles for an unknown batch size")
    with pytest.raises(
        testing.CellError, match=f"{broken.__name__} fails(.|\n)*{check}: .*{message}"
    ):
        testing.check_cell(
            broken, units=5, checks=[name for name in testing.CHECKS if name != "parity"]
        )


def test_wrong_equations_are_reported():
    message = "reference: State 0 differs from the reference by up to"
    with pytest.raises(testing.CellError, match=message):
        testing.check_cell(CorrectCell, units=5, reference=wrong_reference, checks=["reference"])


@pytest.mark.skipif(
    cases.BACKEND == "tensorflow" or find_spec("tensorflow") is None,
    reason="needs TensorFlow as the other backend",
)
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (FailsOnTensorFlow, "On tensorflow the cell fails .RuntimeError: .*only there"),
        (DiffersBetweenBackends, "On tensorflow the cell computes different values"),
    ],
)
def test_a_cell_that_differs_between_backends_is_reported(broken, message):
    with pytest.raises(testing.CellError, match=message):
        testing.check_cell(broken, units=5, checks=["parity"])


test_one_line = testing.cell_tests(CorrectCell, units=5, reference=correct_reference)


def test_an_unknown_check_is_refused():
    with pytest.raises(ValueError, match="Unknown checks: \\['chunk'\\]"):
        testing.check_cell(CorrectCell, units=5, checks=["chunk"])
