"""One run of a sweep, in a process that Ray starts, on any of its nodes."""

import contextlib
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from ..cli.progress import Display
from .plan import Trial


class Reporter(Display):
    """Tells Ray of every epoch, and shows nothing.

    Args:
        report: takes figures.
    """

    def __init__(self, report: Callable[[Mapping[str, Any]], None]):
        super().__init__()
        self.report = report
        self.best = float("inf")

    @contextlib.contextmanager
    def stage(self, text, *, has_bars=False):
        yield

    @contextlib.contextmanager
    def training(self, epochs):
        yield

    def show_epoch(self, row):
        self.best = min(self.best, row["val_loss"])
        figures = {"epoch": row["epoch"], "validation_loss": row["val_loss"]}
        self.report(figures | {"best_validation_loss": self.best})

    def note(self, text):
        pass

    def show_result(self, record, examples, folder):
        pass


def begin(backend: str, cores: int) -> None:
    """Settles the backend and how many threads it may have, before anything is imported."""
    os.environ["KERAS_BACKEND"] = backend
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(cores)
    from ..training import environment

    environment.silence_tensorflow()
    if backend == "torch":
        import torch

        torch.set_num_threads(cores)


def work(trial: Trial, results_dir: pathlib.Path, report):
    """Runs a trial, or goes on where another process was cut off, and returns its record."""
    from ..runs import store
    from ..runs.record import FINAL_STATUSES
    from ..training import checkpoint, environment

    record = store.find_record(results_dir, trial.run_id)
    if record is not None and record.status in FINAL_STATUSES:
        return record
    if trial.settings.get("deterministic"):
        environment.make_deterministic(os.environ["KERAS_BACKEND"])
    with environment.hide_native_output(sys.__stderr__):
        from ..training import experiment

    display = Reporter(report)
    if trial.run_id in checkpoint.unfinished_runs(results_dir):
        state = checkpoint.find_checkpoint(trial.run_id, results_dir)
        return experiment.resume_experiment(state, display=display)[0]
    return experiment.run_experiment(
        trial.task,
        trial.settings,
        results_dir=results_dir,
        display=display,
        run_id=trial.run_id,
    )[0]


def work_apart(trial: Trial, collect, report):
    """Runs a trial on a node that does not see the results folder, and sends the run's files.

    Args:
        collect: `(run_id, {name: content})`, brings the files to where they belong.
    """
    from ..runs import store

    place = pathlib.Path(tempfile.mkdtemp(prefix="rnn-topologies-"))
    try:
        record = work(trial, place, report)
        folder = store.runs_folder(place) / trial.run_id
        files = (path for path in folder.rglob("*") if path.is_file())
        collect(trial.run_id, {str(path.relative_to(folder)): path.read_bytes() for path in files})
        return record
    finally:
        shutil.rmtree(place, ignore_errors=True)
