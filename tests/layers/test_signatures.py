"""Constructors: what editors, `inspect` and `help` see, and what is saved of them."""

import inspect
import json
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


BOOLEANS = ("use_bias", "return_sequences", "return_state", "go_backwards", "stateful", "unroll")


@pytest.mark.parametrize("value", [True, np.True_, 1, np.int64(1)])
def test_numpy_booleans_are_taken_and_saved_as_plain_ones(value):
    layer = layers.LSTM(4, **dict.fromkeys((*BOOLEANS, "unit_forget_bias"), value))
    loop = layers.RNN(layers.GRUCell(4), return_sequences=value, zero_output_for_mask=value)
    for config in (layer.get_config(), loop.get_config()):
        json.dumps(config)
        assert config["return_sequences"] is True
    assert layers.GRU(4, use_cudnn=value).use_cudnn is True
    assert layers.GRU(4, reset_after=value).reset_after is True
    assert layers.DotAttention(scale=value).get_config()["scale"] is True


@pytest.mark.parametrize("value", ["yes", None, 1.0, 2, np.array(True)])
def test_other_values_are_not_booleans(value):
    for name in BOOLEANS:
        with pytest.raises(TypeError, match=f"`{name}` must be True or False"):
            layers.LSTM(4, **{name: value})
    with pytest.raises(TypeError, match="`return_sequences` must be True or False"):
        layers.RNN(layers.GRUCell(4), return_sequences=value)
    with pytest.raises(TypeError, match="`bilinear` must be True or False"):
        layers.DotAttention(bilinear=value)


def test_numpy_numbers_are_taken_and_saved_as_plain_ones():
    numbers = {"dropout": np.float32(0.25), "recurrent_dropout": np.float64(0.5)}
    config = layers.LSTM(np.int64(4), seed=np.uint32(3), **numbers).get_config()
    assert {k: config[k] for k in ("units", "seed", *numbers)} == {
        "units": 4,
        "seed": 3,
        "dropout": 0.25,
        "recurrent_dropout": 0.5,
    }
    decoder = layers.Decoder(
        layers.GRUCell(np.int32(4)),
        vocabulary_size=np.int64(7),
        embedding_size=np.int64(3),
        start_id=np.int64(1),
        end_id=np.int64(2),
        dropout=np.float32(0.5),
        tie_embeddings=np.False_,
    )
    zoneout = layers.Zoneout(layers.LSTMCell(4), {"h": np.float32(0.25)}, seed=np.int64(1))
    wrapped = layers.RNN(zoneout)
    for layer in (decoder, wrapped, zoneout):
        json.dumps(layer.get_config())


@pytest.mark.parametrize("value", [True, np.True_, 4.0, np.float32(4), None, (4,), [4], "4"])
def test_only_integers_are_units(value):
    for kind in (layers.LSTM, layers.GRUCell, layers.AdditiveAttention):
        with pytest.raises(TypeError, match="`units` must be a positive integer"):
            kind(value)


@pytest.mark.parametrize("name", ["start_id", "end_id", "pad_id"])
def test_a_boolean_is_not_a_token(name):
    ids = {"start_id": 2, "end_id": 3, "pad_id": 0, name: True}
    with pytest.raises(ValueError, match=f"`{name}` must be a token of the vocabulary"):
        layers.Decoder(layers.GRUCell(4), vocabulary_size=5, embedding_size=3, **ids)


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`")
def test_the_shape_of_the_inputs_is_taken_as_in_keras():
    assert keras.Sequential([layers.LSTM(4, input_shape=(5, 3))]).output_shape == (None, 4)
    for kind in (layers.LSTM, layers.GRUCell):
        assert kind(4, input_dim=3).units == 4
    with pytest.raises(ValueError, match="ndim"):  # in Keras too, `input_dim` makes it (3,)
        keras.Sequential([layers.LSTM(4, input_dim=3)])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("batch_input_shape", r"keras\.Input\(batch_shape"),
        ("batch_size", r"keras\.Input\(shape, batch_size"),
        ("input_length", r"keras\.Input\(\(time, features"),
        ("time_major", "transpose"),
        ("weights", "set_weights"),
    ],
)
def test_arguments_of_former_versions_of_keras_are_refused_with_what_replaces_them(name, hint):
    for kind in (layers.LSTM, layers.SimpleRNNCell):
        with pytest.raises(TypeError, match=f"has no argument `{name}`.*{hint}"):
            kind(4, **{name: 2})


def test_no_bias_initializer_is_that_of_keras():
    x = np.ones((2, 5, 3), "float32")
    biases = []
    for library in (layers, keras.layers):
        keras.utils.set_random_seed(3)
        layer = library.GRU(4, bias_initializer=None)
        layer.build(x.shape)
        biases.append(layer.get_weights()[2])
    np.testing.assert_array_equal(*biases)


@pytest.mark.parametrize(
    "build",
    [
        lambda: layers.Highway(layers.GRUCell(4), kernel_initializer="nothing"),
        lambda: layers.TrainableInitialState(layers.GRUCell(4), initializer="nothing"),
    ],
)
def test_an_unknown_initializer_of_a_wrapper_is_named(build):
    with pytest.raises(
        ValueError, match=r"initializer` must be a name or an object of `keras\.init"
    ):
        build()
