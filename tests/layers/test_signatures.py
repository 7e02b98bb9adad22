"""Constructors: what editors, `inspect` and `help` see, and what is saved of them."""

import inspect
import re

import keras
import numpy as np
import pytest

from rnn_topologies import layers
from rnn_topologies.layers.cell_layer import CellLayer

from . import cases

CLASSES = [kind for pair in layers.CELLS.values() for kind in pair]
FROM_KERAS = [kind for kind in CLASSES if hasattr(keras.layers, kind.__name__)]


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    return {
        name: parameter
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


@pytest.mark.parametrize("kind", FROM_KERAS)
def test_positional_arguments_mean_the_same_as_in_keras(kind):
    ours, theirs = parameters(kind), parameters(getattr(keras.layers, kind.__name__))
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name


@pytest.mark.parametrize("kind", CLASSES)
def test_the_docstring_lists_the_arguments_of_the_signature(kind):
    section = re.search(r"    Args:\n(.*?)\n\n", kind.__doc__, flags=re.DOTALL)
    listed = re.findall(r"^        (\*{0,2}\w+): ", section[1], flags=re.MULTILINE)
    assert listed == [*parameters(kind), "**kwargs"]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_argument_is_typed_and_stored(kind):
    for name, parameter in parameters(kind).items():
        assert parameter.annotation is not parameter.empty, name
    instance = kind(cases.UNITS)
    for name in parameters(kind):
        assert hasattr(instance, name), name


UNKNOWN = [
    (kind, name)
    for kind in CLASSES
    for name in ("peephole_initializer", "reset_after", "retrun_sequences")
    if name not in parameters(kind)
]


@pytest.mark.parametrize(("kind", "name"), UNKNOWN)
def test_an_argument_of_another_class_is_refused(kind, name):
    with pytest.raises(TypeError, match=f"{kind.__name__} has no argument `{name}`"):
        kind(cases.UNITS, **{name: True})


@keras.saving.register_keras_serializable(package="test_signatures")
class ScaledCell(layers.Cell):
    """A cell with a constructor argument of its own."""

    gates = ("h",)

    def __init__(self, units, temperature=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.temperature = temperature

    def values(self, inputs, states, training=False):
        (h,) = self.unpack(states)
        x = self.input_product(inputs, training) + self.state_product(h, training) + self.bias
        return {"h": self.activation(x / self.temperature)}


@keras.saving.register_keras_serializable(package="test_signatures")
class Scaled(CellLayer):
    """Its layer, without a constructor."""

    cell_class = ScaledCell


class Forgetful(ScaledCell):
    """A cell that does not store its argument."""

    def __init__(self, units, rate, **kwargs):
        super().__init__(units, **kwargs)


def test_a_custom_cell_reports_its_own_signature():
    assert list(inspect.signature(ScaledCell).parameters) == ["units", "temperature", "kwargs"]
    assert ScaledCell.argument_names()[:3] == ("units", "temperature", "activation")


def test_a_custom_argument_changes_the_output_and_survives_saving(tmp_path):
    x = cases.random(cases.BATCH, cases.TIME, cases.FEATURES).astype("float32")
    inputs = keras.Input(x.shape[1:])
    layer = Scaled(cases.UNITS, temperature=3.0, dropout=0.1, return_sequences=True)
    model = keras.Model(inputs, layer(inputs))
    kernel, recurrent_kernel, bias = model.get_weights()
    h, expected = np.zeros((len(x), cases.UNITS)), []
    for step in np.swapaxes(x, 0, 1):
        h = np.tanh((step @ kernel + h @ recurrent_kernel + bias) / 3.0)
        expected.append(h)
    expected = np.stack(expected, axis=1)
    np.testing.assert_allclose(cases.numpy(model(x)), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.layers[-1].temperature, loaded.layers[-1].dropout) == (3.0, 0.1)
    np.testing.assert_allclose(cases.numpy(loaded(x)), expected, rtol=1e-5, atol=1e-6)


def test_an_argument_that_is_not_stored_cannot_be_saved_in_silence():
    with pytest.raises(AttributeError, match=r"`rate` but does not store it\. Set `self\.rate"):
        Forgetful(cases.UNITS, rate=0.5).get_config()


def test_a_misspelt_argument_of_a_custom_cell_is_refused():
    with pytest.raises(TypeError, match="Did you mean `temperature`"):
        Scaled(cases.UNITS, temprature=2.0)
