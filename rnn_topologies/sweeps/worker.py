"""Runs one trial in a process that Ray starts, on any node of the cluster."""

import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rnn_topologies.tasks import progress
from rnn_topologies.tasks.progress import Advance

from ..runs import store
from ..runs.record import FINAL_STATUSES, Record
from ..training import checkpoint, environment
from ..training.display import RunDisplay
from .plan import Trial
from .search import LOSS


class EpochReporter(RunDisplay):
    """Reports the losses of every epoch, and shows nothing.

    Args:
        report: called with the figures of an epoch.
    """

    def __init__(self, report: Callable[[dict[str, Any]], None]):
        self.report = report
        self.best = float("inf")

    def stage(self, text: str, *, has_bars: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    def part(self, text: str) -> AbstractContextManager[Advance]:
        return progress.ignored(text)

    def training(self, epochs: int) -> AbstractContextManager[None]:
        return nullcontext()

    def start_epoch(self, number: int) -> None:
        pass

    def step(self, done: int, total: int, loss: float) -> None:
        pass

    def show_epoch(self, row: Mapping[str, Any]) -> None:
        self.best = min(self.best, row["val_loss"])
        self.report({"epoch": row["epoch"], "validation_loss": row["val_loss"], LOSS: self.best})

    def note(self, text: str) -> None:
        pass

    def show_result(
        self, record: Record, examples: Sequence[Mapping[str, Any]], folder: pathlib.Path
    ) -> None:
        pass


def set_up_backend(backend: str, cores: int) -> None:
    """Selects the Keras backend and its number of threads. Call it before importing Keras."""
    os.environ["KERAS_BACKEND"] = backend
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(cores)
    environment.silence_tensorflow()
    if backend == "torch":
        import torch

        torch.set_num_threads(cores)


def run_trial(
    trial: Trial, results_dir: pathlib.Path, report: Callable[[dict[str, Any]], None]
) -> Record:
    """Runs a trial, or resumes it if it was interrupted, and returns its record."""
    record = store.find_record(results_dir, trial.run_id)
    if record is not None and record.status in FINAL_STATUSES:
        return record
    if trial.settings.get("deterministic"):
        environment.make_deterministic(os.environ["KERAS_BACKEND"])
    with environment.hide_native_output(sys.__stderr__ or sys.stderr):
        from ..training import experiment

    display = EpochReporter(report)
    if trial.run_id in checkpoint.unfinished_runs(results_dir):
        state = checkpoint.find_checkpoint(trial.run_id, results_dir)
        record, _ = experiment.resume_experiment(state, display=display)
    else:
        record, _ = experiment.run_experiment(
            trial.task,
            trial.settings,
            results_dir=results_dir,
            display=display,
            run_id=trial.run_id,
        )
    return record


def run_trial_and_send(
    trial: Trial,
    send: Callable[[str, dict[str, bytes]], Any],
    report: Callable[[dict[str, Any]], None],
) -> Record:
    """Runs a trial on a node that cannot access the results folder, and sends the run's files.

    Args:
        trial: the trial.
        send: called with the run id and the content of each file by its relative path.
        report: called with the figures of an epoch.

    Returns:
        The record of the run.
    """
    results_dir = pathlib.Path(tempfile.mkdtemp(prefix="rnn-topologies-"))
    try:
        record = run_trial(trial, results_dir, report)
        folder = store.runs_folder(results_dir) / trial.run_id
        paths = (path for path in folder.rglob("*") if path.is_file())
        send(trial.run_id, {str(path.relative_to(folder)): path.read_bytes() for path in paths})
        return record
    finally:
        shutil.rmtree(results_dir, ignore_errors=True)
