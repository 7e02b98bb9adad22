"""Models of earlier runs: found by a name, rebuilt, and asked."""

import pathlib
from collections.abc import Sequence
from typing import Any

from rnn_topologies import tasks
from rnn_topologies.tasks.errors import UserError, unknown_name

from . import store

BEST = "best:"


def find_run(run: str, results_dir: str | pathlib.Path = "results") -> pathlib.Path:
    """Returns the folder of a run.

    Args:
        run: its id, the beginning of its id if no other begins so, the path of its folder, or
            `best:TASK`: of the runs of that task on its default data set (or, if there are none,
            on the data set that was run last) the one with the best headline figure.
        results_dir: where runs are.

    Raises:
        UserError: there is no such run, or there are several.
    """
    if run.startswith(BEST):
        return _best(run.removeprefix(BEST), results_dir)
    if (pathlib.Path(run) / store.RECORD).exists():
        return pathlib.Path(run)
    folders = {folder.name: folder for folder in store.list_run_folders(results_dir)}
    if run in folders:
        return folders[run]
    found = [name for name in folders if name.startswith(run)]
    if len(found) == 1:
        return folders[found[0]]
    if found:
        listed = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserError(f"{run!r} is the beginning of {len(found)} runs: {listed}.")
    if not folders:
        raise UserError(f"There are no runs in {results_dir}. Train one: runner.py --task NAME.")
    raise UserError(unknown_name("run", run, list(folders)[-5:]))


def _best(task: str, results_dir) -> pathlib.Path:
    if task not in tasks.task_names():
        raise UserError(unknown_name("task", task, tasks.task_names()))
    runs = store.load_runs(results_dir)
    if not runs.empty:
        runs = runs[(runs["task"] == task) & (runs["status"] == "ok")]
    if runs.empty:
        raise UserError(f"There is no finished run of {task} in {results_dir}.")
    default = runs["dataset"] == tasks.get_task(task)({}).dataset
    runs = runs[default if default.any() else runs["dataset"] == runs["dataset"].iloc[-1]]
    worth = runs["value"].where(runs["higher_is_better"].astype(bool), -runs["value"])
    return pathlib.Path(runs["folder"][worth.idxmax()])


class TrainedModel:
    """A model of an earlier run, ready to be asked.

    Attributes:
        record: of the run, a `records.Record`.
        task: its task, with the run's settings.
        model: the `keras.Model`, with its weights.
        data: vocabularies and facts; no examples.
    """

    def __init__(self, folder: pathlib.Path, settings: dict[str, Any]):
        from . import model_io

        self.record = store.read_record(folder)
        self.task, self.model, self.data = model_io.load_model(folder, **settings)

    def predict(self, inputs: Sequence) -> list:
        """Returns a readable output for each raw input.

        Args:
            inputs: sentences, paths of images or arrays of bytes, clips; as the task takes them.
        """
        return self.task.predict(self.model, inputs, self.data)

    def n_best(self, inputs: Sequence, count: int) -> list[list[str]]:
        """Returns the `count` best outputs for each raw input of a task that writes, best first."""
        size = max(count, self.task.config.beam_size)
        best = self.task.n_best(self.model, inputs, self.data, beam_size=size)
        return [outputs[:count] for outputs in best]

    def explain(self, inputs: Sequence) -> list[dict]:
        """Returns what the model did with each raw input, see `Task.explain`."""
        return self.task.explain(self.model, inputs, self.data)


def load_run(run: str, *, results_dir: str | pathlib.Path = "results", **settings) -> TrainedModel:
    """Rebuilds the model of an earlier run.

    Args:
        run: see `find_run`: an id or the beginning of one, a folder, or `best:TASK`.
        results_dir: where runs are.
        settings: to change of the run's settings, such as `beam_size=5`.

    Returns:
        A `TrainedModel`; ask it with `predict`.

    Raises:
        UserError: there is no such run, or a setting is wrong.
        ValueError: the weights do not fit the record.
        OSError: a file of the run is missing.

    Example:
        >>> load_run("best:translation").predict(["Sunday, June 28, 1959"])  # doctest: +SKIP
        ['Sonntag, 28. Juni 1959']
    """
    return TrainedModel(find_run(run, results_dir), settings)
