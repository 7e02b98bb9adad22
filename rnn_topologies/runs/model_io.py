"""Models of recorded runs: their weights on disk, and the model rebuilt from record and weights."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import keras

from rnn_topologies import layers, tasks
from rnn_topologies.tasks.base import Data
from rnn_topologies.tasks.errors import UserError, unknown_name

from . import store
from .record import NOT_RECORDED, Record


def check_cell(cell: str) -> None:
    """Refuses a cell that there is not.

    Raises:
        UserError: names those that there are.
    """
    if cell not in layers.CELLS:
        raise UserError(unknown_name("cell", cell, list(layers.CELLS)))


def weights_by_name(model) -> dict:
    """Returns `{number and path: array}` of a model's weights, in their order."""
    arrays = map(keras.ops.convert_to_numpy, model.weights)
    return dict(zip(_names(model), arrays, strict=True))


def _names(model) -> list[str]:
    """Returns what a model's weights are called in a file.

    The path is that within the model: Keras numbers models that have no name of their own.
    """
    paths = (weight.path.removeprefix(f"{model.name}/") for weight in model.weights)
    return [f"{index:03d}.{path.replace('/', '.')}" for index, path in enumerate(paths)]


def load_model(folder: str | pathlib.Path, **settings):
    """Rebuilds the model of a run from its record, its vocabularies and its weights.

    The record may be a stranger's: it is data, checked field by field, and no path in it is
    followed.

    Args:
        folder: `<results>/runs/<run id>`.
        settings: to change, such as `beam_size`; and `data_dir` and `manual_dir`, which a record
            does not hold and only `task.load_data()` needs.

    Returns:
        `(task, model, data)`, ready for `task.predict(model, raw_inputs, data)`; `data` has no
        splits.

    Raises:
        UserError: a file is missing or damaged, or the weights do not fit the record.
    """
    folder = pathlib.Path(folder)
    record = store.read_record(folder)
    task = restore_task(record, settings)
    preprocessors = {
        name: read(store.read_text(folder, f"{name}.json"))
        for name, read in task.preprocessors.items()
    }
    data = Data(
        name=record.data["name"],
        sha256="",
        splits={},
        preprocessors=preprocessors,
        notes=record.data,
    )
    arrays = store.read_weights(folder)
    check_sizes(task.config, preprocessors, arrays)
    try:
        model = task.build_model(data)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"{folder} does not describe a model: {error!r}.") from error
    check_shapes(model, arrays)
    model.set_weights(list(arrays.values()))
    return task, model, data


def check_sizes(config, preprocessors: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Checks that a model can be no larger than its weights, before memory is taken for it.

    Whatever the model, it has a recurrent kernel, one from inputs to units, an embedding of every
    token, and convolutions between maps of its width: none can have more numbers than the file.

    Raises:
        UserError: one would.
    """
    sizes = {name: getattr(config, name, 0) for name in ("units", "embedding_size", "filters")}
    sizes["tokens"] = max(
        (
            len(preprocessor)
            for preprocessor in preprocessors.values()
            if hasattr(preprocessor, "__len__")
        ),
        default=0,
    )
    total = sum(array.size for array in arrays.values())
    pairs = [("units", "units"), ("units", "embedding_size"), ("tokens", "embedding_size")]
    for one, other in (*pairs, ("filters", "filters")):
        if sizes[one] * sizes[other] > max(total, 1):
            raise UserError(
                f"The weights do not fit the model: {total} numbers are too few for {one} "
                f"{sizes[one]} and {other} {sizes[other]}."
            )


def restore_task(record: Record, settings: Mapping[str, Any]):
    """Returns the task of a record, with some settings changed.

    Raises:
        UserError: it has settings that no run has, such as a folder.
    """
    if place := next((name for name in NOT_RECORDED if name in record.config), None):
        raise UserError(f"The record of {record.run_id} has {place}, which no record has.")
    if record.data is None:
        raise UserError(f"{record.run_id} is {record.status}: it came to no model.")
    task = tasks.get_task(record.task)
    known = [field.name for field in dataclasses.fields(task.Config)]
    for name in {**record.config, **settings}:
        if name not in known:
            raise UserError(unknown_name(f"setting of {record.task}", name, known))
    check_cell(record.config["cell"])
    return task({**record.config, **settings})


def check_shapes(model, arrays: Mapping[str, Any]) -> None:
    """Checks that arrays are the weights of a model, each of the right name and shape.

    Raises:
        UserError: one is not.
    """
    shapes = (tuple(weight.shape) for weight in model.weights)
    expected = set(zip(_names(model), shapes, strict=True))
    found = {(name, tuple(array.shape)) for name, array in arrays.items()}
    if expected != found:
        name, shape = min(expected ^ found)
        raise UserError(f"The weights do not fit the model: {name} of shape {shape}.")
