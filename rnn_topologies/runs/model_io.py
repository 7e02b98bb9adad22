"""Rebuilds the model of a run from its record and weights."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import keras

from rnn_topologies import layers, tasks
from rnn_topologies.tasks.base import Data, Task, TaskConfig
from rnn_topologies.tasks.errors import UserError, unknown_name

from . import store
from .record import NOT_RECORDED, Record


def check_cell(cell: str) -> None:
    """Checks the name of a recurrent cell.

    Raises:
        UserError: there is no such cell.
    """
    if cell not in layers.CELLS:
        raise UserError(unknown_name("cell", cell, list(layers.CELLS)))


def weights_by_name(model: keras.Model) -> dict[str, Any]:
    """Returns the weights of a model as NumPy arrays, in the order of `model.weights`.

    A name is the index of the weight and its path, such as `002.gru.cell.bias`.
    """
    arrays = map(keras.ops.convert_to_numpy, model.weights)
    return dict(zip(_names(model), arrays, strict=True))


def _names(model: keras.Model) -> list[str]:
    # Without the model's name: Keras numbers unnamed models ("functional_3") by their creation.
    paths = (weight.path.removeprefix(f"{model.name}/") for weight in model.weights)
    return [f"{index:03d}.{path.replace('/', '.')}" for index, path in enumerate(paths)]


def load_model(folder: str | pathlib.Path, **settings: Any) -> tuple[Task, keras.Model, Data]:
    """Rebuilds the model of a run from its record, preprocessors and weights.

    The record is untrusted input: every field is validated, and no path in it is followed.

    Args:
        folder: `<results>/runs/<run id>`.
        settings: overrides of recorded settings, such as `beam_size=5`; also `data_dir` and
            `manual_dir`, which are not recorded and which only `task.load_data()` needs.

    Returns:
        `(task, model, data)` for `task.predict(model, raw_inputs, data)`; `data` has no splits.

    Raises:
        UserError: a file is missing or damaged, or the weights do not match the record.
    """
    folder = pathlib.Path(folder)
    record = store.read_record(folder)
    task, facts = restore_task(record, settings)
    preprocessors = {
        name: from_json(store.read_text(folder, f"{name}.json"))
        for name, from_json in task.preprocessors.items()
    }
    arrays = store.read_weights(folder)
    check_sizes(task.config, preprocessors, arrays)
    try:
        data = Data(
            name=facts["name"], sha256="", splits={}, preprocessors=preprocessors, notes=facts
        )
        model = task.build_model(data)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{folder} does not describe a model: {error!r}.") from error
    check_shapes(model, arrays)
    model.set_weights(list(arrays.values()))
    return task, model, data


def check_sizes(
    config: TaskConfig, preprocessors: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    """Checks, before the model is built, that it is no larger than its weights file.

    A record could otherwise make the program allocate any amount of memory. Every model has a
    recurrent kernel (units x units), and it may have an input kernel (embedding_size x units),
    embeddings (tokens x embedding_size) and convolutions (filters x filters).

    Raises:
        UserError: one of these matrices has more elements than all arrays together.
    """
    sizes = {name: getattr(config, name, 0) for name in ("units", "embedding_size", "filters")}
    vocabularies = [p for p in preprocessors.values() if hasattr(p, "__len__")]
    sizes["tokens"] = max(map(len, vocabularies), default=0)
    total = sum(array.size for array in arrays.values())
    pairs = [("units", "units"), ("units", "embedding_size"), ("tokens", "embedding_size")]
    for rows, columns in (*pairs, ("filters", "filters")):
        if sizes[rows] * sizes[columns] > max(total, 1):
            raise UserError(
                f"The weights do not fit the model: {total} values are too few for {rows} "
                f"{sizes[rows]} and {columns} {sizes[columns]}."
            )


def restore_task(record: Record, settings: Mapping[str, Any]) -> tuple[Task, Mapping[str, Any]]:
    """Returns the task of a run, with some settings overridden, and the facts about its data.

    Raises:
        UserError: the run has no model, or its record has a setting that a run cannot have.
    """
    if path := next((name for name in NOT_RECORDED if name in record.config), None):
        raise UserError(f"The record of {record.run_id} has {path}, which is never recorded.")
    if record.data is None:
        raise UserError(f"{record.run_id} is {record.status} and has no model.")
    task = tasks.get_task(record.task)
    names = [field.name for field in dataclasses.fields(task.Config)]
    for name in {**record.config, **settings}:
        if name not in names:
            raise UserError(unknown_name(f"setting of {record.task}", name, names))
    check_cell(record.config["cell"])
    return task({**record.config, **settings}), record.data


def check_shapes(model: keras.Model, arrays: Mapping[str, Any]) -> None:
    """Checks that arrays have the names and shapes of a model's weights.

    Raises:
        UserError: a name or shape differs, or an array is missing.
    """
    shapes = (tuple(weight.shape) for weight in model.weights)
    expected = set(zip(_names(model), shapes, strict=True))
    actual = {(name, tuple(array.shape)) for name, array in arrays.items()}
    if expected != actual:
        name, shape = min(expected ^ actual)
        raise UserError(f"The weights do not fit the model: {name} of shape {shape}.")
