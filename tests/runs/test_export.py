"""Exported models in runtimes that know nothing of Keras, on the TensorFlow backend."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest

from rnn_topologies import layers

ROOT = pathlib.Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("exports", ROOT / "benchmarks" / "exports.py")
exports = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(exports)


@pytest.mark.parametrize("form", exports.FORMATS)
@pytest.mark.parametrize("cell", [*layers.CELLS, "gru, reset before", "bidirectional lstm"])
def test_a_cell_gives_the_same_numbers_elsewhere(form, cell):
    shape = "any batch, any time, mask"
    assert exports.difference("tensorflow", form, cell, shape) < exports.NEAR


@pytest.mark.parametrize("form", exports.FORMATS)
@pytest.mark.parametrize("shape", [shape for shape in exports.SHAPES if "mask" not in shape])
def test_every_shape_works(form, shape):
    assert exports.difference("tensorflow", form, "lstm", shape) < exports.NEAR


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
    found = exports.litert(tmp_path / "model.tflite")([x])
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_a_model_need_not_have_been_called(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(2)])
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    layers.export(model, tmp_path / "model.onnx")
    found = exports.onnx(tmp_path / "model.onnx")([x])
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_the_page_holds_what_was_measured():
    assert exports.PAGE.read_text("utf-8").endswith(exports.table())
