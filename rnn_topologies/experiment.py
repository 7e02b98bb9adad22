"""One run: data, model, training, scores, record."""

import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import keras
import tensorboard.summary  # noqa: F401 - were it missing, that shall be told before training

from rnn_topologies import layers, tasks
from rnn_topologies.tasks.parts import folders
from rnn_topologies.tasks.parts.errors import UserError
from rnn_topologies.tasks.parts.task import Data, unknown

from . import environment, results, training

EXPLAINED = 4  # test examples, of those that went right and of those that went wrong
# Where files lie on somebody's machine is nobody else's business and changes no result.
NOT_RECORDED = ("data_dir", "manual_dir")


def run(task_name: str, settings: Mapping[str, Any], *, results_dir, display):
    """Runs a task and writes its record, also if it fails, diverges or is interrupted.

    Args:
        task_name: name of a task.
        settings: the fields of its `Config` that the user chose.
        results_dir: folder under which `runs/<run id>/` is written.
        display: see `Display`.

    Returns:
        `(record, folder)`.

    Raises:
        UserError: a setting is wrong, or something is missing that the user must provide; no
            folder is written.
        Exception: whatever broke the run, after a record of status `failed` was written.
    """
    task = tasks.find(task_name)(settings)
    _check_cell(task.config.cell)
    folders.check_writable(results_dir, "--results-dir")
    run = _Run(task_name, task, results_dir, display)
    try:
        run.go()
    except UserError:
        raise
    except KeyboardInterrupt:
        run.end("interrupted")
    except training.DivergedError as error:
        run.end("diverged", error)
    except Exception as error:
        run.end("failed", error)
        raise
    else:
        run.end("ok")
    display.result(run.record, run.examples, run.folder)
    return run.record, run.folder


def _check_cell(cell: str) -> None:
    if cell not in layers.CELLS:
        raise UserError(unknown("cell", cell, list(layers.CELLS)))


class _Run:
    """The state of a run, so that what there is of it can be written whenever it ends."""

    def __init__(self, task_name, task, results_dir, display):
        self.task, self.results_dir, self.display = task, results_dir, display
        self.model = self.data = self.watch = self.folder = None
        self.examples, self.explained, self.seconds = [], [], {}
        config = dataclasses.asdict(task.config)
        self.record = results.Record(
            run_id=results.new_run_id(task_name, config["cell"], config["seed"]),
            started_at=results.timestamp(),
            status="failed",
            task=task_name,
            topology=str(task.topology),
            cell=config["cell"],
            dataset=task.dataset,
            config={
                **{name: v for name, v in config.items() if name not in NOT_RECORDED},
                "dataset": task.dataset,
            },
            environment=environment.describe(),
            git=environment.git(),
        )

    def go(self):
        task, record = self.task, self.record
        keras.utils.set_random_seed(task.config.seed)
        stage = self.display.stage(f"data {task.dataset}", has_bars=True)
        with stage, self._timed("data"):
            self.data = data = task.load_data()
        record.data = {
            "name": data.name,
            "examples": {name: len(split) for name, split in data.splits.items()},
            "sha256": data.sha256,
            **data.notes,
        }
        began = time.perf_counter()
        self.model = model = task.build_model(data)
        self.watch = training.Watch(self.display)
        try:
            with self.display.training(task.config.epochs):
                record.best_epoch = training.fit(model, task, data, self.watch)
        finally:
            ended = time.perf_counter()
            first = self.watch.first_step_at or ended
            self.seconds |= {"compile": first - began, "fit": ended - first}
        with self.display.stage("test"), self._timed("evaluate"):
            self._evaluate()

    def _evaluate(self):
        task, data, record = self.task, self.data, self.record
        best = self.watch.rows[record.best_epoch - 1]
        validation = {
            name.replace("val_", "validation/"): value
            for name, value in best.items()
            if name.startswith("val_")
        }
        evaluation = task.evaluate(self.model, "test", data)
        test = {f"test/{name}": value for name, value in evaluation.metrics.items()}
        self.examples = evaluation.examples
        self.explained = self._explain(data.splits["test"])
        record.metrics = {**validation, **test}
        record.signatures = evaluation.signatures
        record.tables = evaluation.tables
        headline = task.facts.headline
        record.headline = {
            "name": headline.name,
            "value": evaluation.metrics[headline.name],
            "higher_is_better": headline.higher_is_better,
            "meaning": headline.meaning,
        }
        record.baseline_metrics = task.baseline(data)
        record.baselines = {
            name: metrics[headline.name] for name, metrics in record.baseline_metrics.items()
        }

    @contextlib.contextmanager
    def _timed(self, name):
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - began

    def _explain(self, test) -> list[dict]:
        """Returns what the model did with a few test examples, right and wrong ones."""
        outcomes = [bool(example["right"]) for example in self.examples[: len(test)]]
        chosen = [
            index
            for outcome in (True, False)
            for index in [i for i, right in enumerate(outcomes) if right is outcome][:EXPLAINED]
        ]
        if not chosen:
            return []
        raw = [self.task.raw(test[index]) for index in chosen]
        explained = self.task.explain(self.model, raw, self.data)
        return [{"index": i, **one} for i, one in zip(chosen, explained, strict=True)]

    def end(self, status: results.Status, error: BaseException | None = None) -> None:
        """Writes what there is of the run."""
        record = self.record
        record.status = status
        record.error = f"{type(error).__name__}: {error}" if error else None
        record.seconds = {name: round(value, 3) for name, value in self.seconds.items()}
        rows = self.watch.rows if self.watch else []
        record.epochs_run = len(rows)
        if self.model is not None and self.model.built:
            record.model = {
                "trainable_parameters": sum(
                    math.prod(weight.shape) for weight in self.model.trainable_weights
                )
            }
        tools = (
            {name: tool.to_json() for name, tool in self.data.tools.items()} if self.data else {}
        )
        self.folder = results.write(
            self.results_dir,
            record,
            epochs=rows,
            examples=self.examples,
            explained=self.explained,
            tools=tools,
            weights=weights_of(self.model) if status != "failed" and self.model else None,
        )


def weights_of(model) -> dict:
    """Returns `{number and path: array}` of a model's weights, in their order.

    The path is that within the model: Keras numbers models that have no name of their own.
    """
    paths = [
        weight.path.removeprefix(f"{model.name}/").replace("/", ".") for weight in model.weights
    ]
    return {
        f"{index:03d}.{path}": keras.ops.convert_to_numpy(weight)
        for index, (path, weight) in enumerate(zip(paths, model.weights, strict=True))
    }


def load(folder: str | pathlib.Path, **places: str):
    """Rebuilds the model of a run from its record, its vocabularies and its weights.

    Args:
        folder: `<results>/runs/<run id>`.
        places: `data_dir` and `manual_dir`, which a record does not hold and only
            `task.load_data()` needs.

    Returns:
        `(task, model, data)`, ready for `task.predict(model, raw_inputs, data)`; `data` has no
        splits.

    Raises:
        ValueError: the weights do not fit the record.
        OSError: a file is missing.
    """
    folder = pathlib.Path(folder)
    record = results.read(folder)
    task = tasks.find(record.task)({**record.config, **places})
    data = Data(
        name=record.data["name"],
        sha256=record.data["sha256"],
        splits={},
        tools={
            name: read((folder / f"{name}.json").read_text("utf-8"))
            for name, read in task.tools.items()
        },
        notes=record.data,
    )
    model = task.build_model(data)
    set_weights(model, results.read_weights(folder))
    return task, model, data


def set_weights(model, arrays: Mapping[str, Any]) -> None:
    """Puts arrays in their place, if each is of the right name and shape.

    Raises:
        ValueError: one is not.
    """
    expected = {name: tuple(array.shape) for name, array in weights_of(model).items()}
    found = {name: tuple(array.shape) for name, array in arrays.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))[0]
        raise ValueError(f"The weights do not fit the model: {wrong[0]} of shape {wrong[1]}.")
    model.set_weights(list(arrays.values()))
