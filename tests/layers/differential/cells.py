"""Cells as users might write them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tests")
class CountingCell(keras.layers.Layer):
    """Outputs its input and counts steps: its output is not its state."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.state_size = 1
        self.output_size = 1

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1], 1), name="scale")
        self.built = True

    def call(self, inputs, states):
        return ops.matmul(inputs, self.scale) * (1 + states[0]), [states[0] * 0.5 + 1]

    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, 1), dtype=self.compute_dtype)]


@keras.saving.register_keras_serializable(package="tests")
class ReadoutCell(keras.layers.Layer):
    """An Elman cell with a readout: output and state have different sizes."""

    def __init__(self, units, outputs, **kwargs):
        super().__init__(**kwargs)
        self.units, self.outputs = units, outputs
        self.state_size, self.output_size = [units, 2], outputs

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] + self.units, self.units), name="kernel")
        self.readout = self.add_weight(shape=(self.units, self.outputs), name="readout")
        self.built = True

    def call(self, inputs, states):
        h, total = states
        h = ops.tanh(ops.matmul(ops.concatenate([inputs, h], -1), self.kernel))
        return ops.matmul(h, self.readout), [h, total + ops.mean(h, -1, keepdims=True)]

    def get_initial_state(self, batch_size=None):
        sizes = self.state_size
        return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in sizes]

    def get_config(self):
        return {**super().get_config(), "units": self.units, "outputs": self.outputs}
