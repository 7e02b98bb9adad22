"""Exported models compute the same without Keras, on the TensorFlow backend."""

import keras
import numpy as np
import pytest

from rnn_topologies import layers

from ..support.paths import load_module

exports = load_module("benchmarks/exports.py")


def formats_with(values, fast):
    """Returns all pairs; LiteRT and ONNX are slow tests except for the `fast` values."""
    return [
        pytest.param(
            *(form, value),
            marks=() if form == "tf_saved_model" or value in fast else pytest.mark.slow,
        )
        for form in exports.FORMATS
        for value in values
    ]


@pytest.mark.parametrize(
    ("form", "cell"),
    formats_with(
        [*layers.CELLS, "gru, reset before", "bidirectional lstm"], fast=("lstm", "min_gru")
    ),
)
def test_an_exported_cell_gives_the_same_numbers(form, cell):
    shape = "any batch, any time, mask"
    assert exports.export_difference(form, cell, shape) < exports.TOLERANCE


@pytest.mark.parametrize(
    ("form", "shape"),
    formats_with(
        [shape for shape in exports.SHAPES if "mask" not in shape],
        fast=("fixed batch, fixed time",),
    ),
)
def test_a_layer_is_exported_with_every_shape_of_inputs(form, shape):
    assert exports.export_difference(form, "lstm", shape) < exports.TOLERANCE


def test_a_whole_model_with_wrappers_runs_on_litert(tmp_path):
    inputs = keras.Input((None, 6))
    cells = [
        layers.Zoneout(layers.LSTMCell(6)),
        layers.Residual(layers.TrainableInitialState(layers.GRUCell(6))),
    ]
    hidden = layers.RNN(layers.StackedCells(cells), return_sequences=True, go_backwards=True)(
        inputs
    )
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    x = np.random.default_rng(0).normal(size=(3, 9, 6)).astype("float32")
    layers.export(model, tmp_path / "model.tflite")
    actual = exports.load_litert(tmp_path / "model.tflite")([x])
    np.testing.assert_allclose(actual, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_model_that_has_not_been_called_is_exported(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(2)])
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    layers.export(model, tmp_path / "model.onnx")
    actual = exports.load_onnx(tmp_path / "model.onnx")([x])
    np.testing.assert_allclose(actual, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_the_page_shows_the_measured_table():
    assert exports.PAGE.read_text("utf-8").endswith(exports.markdown_tables())
