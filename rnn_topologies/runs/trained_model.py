"""Finds an earlier run by name and loads its model for inference."""

import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rnn_topologies import tasks
from rnn_topologies.tasks.base import Data, Task
from rnn_topologies.tasks.errors import UserError, unknown_name

from . import store
from .datasets import choose_dataset
from .record import Record

if TYPE_CHECKING:
    import keras

BEST = "best:"


def find_run(run: str, results_dir: str | pathlib.Path = "results") -> pathlib.Path:
    """Returns the folder of a run.

    Args:
        run: the run id, a unique prefix of it, the path of the run folder, or
            `best:TASK/DATASET`: the run with the best headline metric on a data set, given by its
            name in `runner.py table` or a unique prefix. `best:TASK` is enough if all runs of the
            task are on one data set.
        results_dir: the results folder.

    Raises:
        UserError: no run matches, or several runs or data sets do; lists them.
    """
    if run.startswith(BEST):
        return _find_best_run(run.removeprefix(BEST), results_dir)
    if os.path.exists(pathlib.Path(run) / store.RECORD):
        return pathlib.Path(run)
    folders = {folder.name: folder for folder in store.list_run_folders(results_dir)}
    if run in folders:
        return folders[run]
    matches = [name for name in folders if name.startswith(run)]
    if len(matches) == 1:
        return folders[matches[0]]
    if matches:
        listed = ", ".join(matches[:5]) + (" and others" if len(matches) > 5 else "")
        raise UserError(f"{run!r} matches {len(matches)} runs: {listed}.")
    if not folders:
        raise UserError(f"There are no runs in {results_dir}. Train one: runner.py --task NAME.")
    raise UserError(unknown_name("run", run, list(folders)[-5:]))


def _find_best_run(selector: str, results_dir: str | pathlib.Path) -> pathlib.Path:
    task, _, dataset = selector.partition("/")
    if task not in tasks.task_names():
        raise UserError(unknown_name("task", task, tasks.task_names()))
    runs = [
        run
        for run in store.load_run_rows(results_dir)
        if run["task"] == task and run["status"] == "ok" and run["value"] is not None
    ]
    if not runs:
        raise UserError(f"There is no completed run of {task} in {results_dir}.")
    labels = {(run["dataset"], run["dataset_label"]) for run in runs}
    label = choose_dataset(dataset, labels, f"{BEST}{task}")
    best = max(
        (run for run in runs if run["dataset_label"] == label),
        key=lambda run: run["value"] if run["higher_is_better"] else -run["value"],
    )
    return pathlib.Path(best["folder"])


class TrainedModel:
    """The model of an earlier run, ready for inference.

    Attributes:
        record: the record of the run.
        task: the task, with the settings of the run.
        model: the `keras.Model` with its trained weights.
        data: preprocessors and facts about the data set; no examples.
    """

    record: Record
    task: Task
    model: "keras.Model"
    data: Data

    def __init__(self, folder: pathlib.Path, settings: dict[str, Any]):
        from . import model_io

        self.record = store.read_record(folder)
        self.task, self.model, self.data = model_io.load_model(folder, **settings)

    def predict(self, inputs: Sequence[Any]) -> list:
        """Returns a readable output for each raw input; None with a warning if there is none.

        Args:
            inputs: raw inputs of the task: sentences, images (paths or uint8 arrays) or clips.
        """
        return self._answer(inputs, None, lambda raw: self.task.predict(self.model, raw, self.data))

    def n_best(self, inputs: Sequence[Any], count: int) -> list[list[str]]:
        """Returns the `count` best outputs for each raw input, best first; [] if there is none.

        Generation tasks only.
        """
        task: Any = self.task  # only generation tasks have `n_best` and `beam_size`
        beam_size = max(count, task.config.beam_size)
        best = self._answer(
            inputs, [], lambda raw: task.n_best(self.model, raw, self.data, beam_size=beam_size)
        )
        return [outputs[:count] for outputs in best]

    def explain(self, inputs: Sequence[Any]) -> list[dict[str, Any]]:
        """Returns attention weights or probabilities for each raw input, see `Task.explain`."""
        return self._answer(
            inputs, {"output": None}, lambda raw: self.task.explain(self.model, raw, self.data)
        )

    def check_inputs(self, inputs: Sequence[Any]) -> None:
        """Checks that the model can process each raw input.

        Raises:
            UserError: it cannot, for example because a text is empty.
        """
        for raw_input in inputs:
            problem = self.task.find_problem(raw_input, self.data)
            if problem is not None:
                raise UserError(problem)

    def _answer(
        self, inputs: Sequence[Any], no_answer: Any, answer: Callable[[Sequence[Any]], list]
    ) -> list:
        """Returns an answer for each raw input; `no_answer` for those with a problem.

        Raises:
            TypeError: the inputs are a single text or path.
        """
        if isinstance(inputs, str | bytes | pathlib.Path):
            raise TypeError(f"Expected a list of inputs, got {inputs!r}. Pass [input] for one.")
        problems = [self.task.find_problem(raw_input, self.data) for raw_input in inputs]
        for number, problem in enumerate(problems):
            if problem is not None:
                warnings.warn(f"input {number} has no output: {problem}", stacklevel=3)
        pairs = zip(inputs, problems, strict=True)
        answerable = [raw_input for raw_input, problem in pairs if problem is None]
        answers = iter(answer(answerable) if answerable else [])
        return [no_answer if problem is not None else next(answers) for problem in problems]


def load_run(
    run: str, *, results_dir: str | pathlib.Path = "results", **settings: Any
) -> TrainedModel:
    """Loads the model of an earlier run.

    Args:
        run: a run id or a prefix of one, a run folder, or `best:TASK/DATASET`; see `find_run`.
        results_dir: the results folder.
        settings: overrides of the settings of the run, such as `beam_size=5`.

    Returns:
        A `TrainedModel`; call its `predict`.

    Raises:
        UserError: no run matches, a setting is invalid, a file is missing or damaged, or the
            weights do not match the record.

    Example:
        >>> load_run("best:translation").predict(["Sunday, June 28, 1959"])  # doctest: +SKIP
        ['Sonntag, 28. Juni 1959']
    """
    return TrainedModel(find_run(run, results_dir), settings)
