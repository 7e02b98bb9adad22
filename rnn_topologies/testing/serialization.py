"""Saving and loading a cell."""

import inspect
import pathlib
import tempfile
from typing import Any

import keras
from keras import ops

from rnn_topologies import layers

from .subject import CellError, Subject, as_numpy, failing_with, is_close, run_step

SAVE_ARGUMENTS = "`get_config` must hold every argument of `__init__`, and `super().get_config()`."


def check_serialization(subject: Subject) -> None:
    """Checks that a cell is restored from its config, and a model from its file."""
    cell = subject.build_cell()
    x, states = subject.sequence()[:, 0], subject.states(cell)
    expected = run_step(cell, x, states)
    with failing_with(f"`get_config` fails. {SAVE_ARGUMENTS}"):
        config = cell.get_config()
    lost = _lost_arguments(cell, config)
    if lost:
        raise CellError(
            f"`get_config` lacks {', '.join(f'`{name}`' for name in lost)}, which a saved model "
            f"would lose. {SAVE_ARGUMENTS}"
        )
    with failing_with(f"The cell cannot be created from its own config. {SAVE_ARGUMENTS}"):
        restored: Any = subject.cell_class
        restored = restored.from_config(config)
        restored.build((None, subject.features))
        restored.built = True
        restored.set_weights(cell.get_weights())
    if not is_close(run_step(restored, x, states), expected):
        raise CellError(
            f"The cell created from its own config computes different values. {SAVE_ARGUMENTS}"
        )
    _check_saved_model(subject, cell)


def _lost_arguments(cell: Any, config: dict[str, Any]) -> list[str]:
    """Returns the cell's own constructor arguments that its `get_config` omits."""
    if type(cell).get_config is keras.layers.Layer.get_config:
        return []  # Keras records the arguments itself
    parameters = inspect.signature(type(cell).__init__).parameters
    inherited = inspect.signature(keras.layers.Layer.__init__).parameters
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in parameters.items()
        if parameter.kind not in variadic and name not in inherited and name not in config
    ]


def _check_saved_model(subject: Subject, cell: Any) -> None:
    inputs = keras.Input((None, subject.features))
    model: Any = keras.Model(inputs, layers.RNN(cell, return_sequences=True)(inputs))
    sequence = ops.convert_to_tensor(subject.sequence())
    expected = as_numpy(model(sequence))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        with failing_with(
            "A model with the cell cannot be saved and loaded. Decorate the class with "
            "`@keras.saving.register_keras_serializable(package=...)` and create every weight in "
            "`build`."
        ):
            model.save(path)
            custom_objects = {subject.cell_class.__name__: subject.cell_class}
            loaded: Any = keras.saving.load_model(path, custom_objects=custom_objects)
            actual = as_numpy(loaded(sequence))
    if not is_close(actual, expected):
        raise CellError("A model with the cell computes different values after saving and loading.")
