"""Models that `export` refuses; exported files are tested in tests/runs/test_export.py."""

import keras
import pytest

from rnn_topologies import layers

from . import cases


@pytest.mark.skipif(cases.BACKEND != "torch", reason="only PyTorch's exporters fix unknown sizes")
@pytest.mark.parametrize(
    ("shape", "suffix"),
    [((2, None, 3), "onnx"), ((None, 4, 3), "tflite"), ((2, None, 3), "tflite")],
)
def test_unknown_sizes_are_refused_if_the_exporter_would_fix_them(shape, suffix, tmp_path):
    inputs = keras.Input(batch_shape=shape, name="x")
    model = keras.Model(inputs, layers.GRU(2)(inputs))
    with pytest.raises(ValueError, match="supports fixed sizes only, but input 'x' has shape"):
        layers.export(model, tmp_path / f"model.{suffix}")


def test_an_unknown_file_type_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(2)])
    with pytest.raises(ValueError, match=r"must end in .tflite, .onnx"):
        layers.export(model, tmp_path / "model.pb")
