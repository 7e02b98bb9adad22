"""Runs experiments without output, interrupts and resumes them, and compares their folders."""

import contextlib
import csv
import io
import pathlib
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

from rnn_topologies import tasks
from rnn_topologies.cli import app, progress
from rnn_topologies.runs import store
from rnn_topologies.runs.record import Record, new_record, utc_timestamp
from rnn_topologies.training import callbacks, checkpoint, experiment


def silent_display() -> progress.Display:
    return progress.Display(Console(file=io.StringIO()))


def started_record() -> Record:
    """Returns the record of a classification run that has just started."""
    return new_record(
        tasks.get_task("classification")({}),
        "classification",
        run_id="run",
        started_at=utc_timestamp(),
        environment={},
        git=None,
    )


def run_experiment(
    task: str, settings: Mapping[str, Any], results_dir: pathlib.Path, **options: Any
) -> pathlib.Path:
    """Runs an experiment and returns the folder of the run."""
    _, folder = experiment.run_experiment(
        task, settings, results_dir=results_dir, display=silent_display(), **options
    )
    return folder


def resume_experiment(results_dir: pathlib.Path) -> pathlib.Path:
    """Resumes the last run and returns its folder."""
    manager = checkpoint.find_checkpoint(checkpoint.LAST, results_dir)
    _, folder = experiment.resume_experiment(manager, display=silent_display())
    return folder


@contextlib.contextmanager
def interrupt_at(steps: Sequence[int]) -> Iterator[None]:
    """Inside, runs are asked to stop, each at the next of these steps, counted over all epochs."""
    remaining = list(steps)
    original = callbacks.CheckpointSaver.on_train_batch_end

    def on_train_batch_end(
        self: callbacks.CheckpointSaver, batch: int, logs: Mapping[str, Any] | None = None
    ) -> None:
        if remaining and self.progress.steps >= remaining[0]:
            remaining.pop(0)
            self.stop.signal = signal.SIGTERM
        original(self, batch, logs)

    with mock.patch.object(callbacks.CheckpointSaver, "on_train_batch_end", on_train_batch_end):
        yield


def run_with_interruptions(
    task: str, settings: Mapping[str, Any], results_dir: pathlib.Path, steps: Sequence[int]
) -> pathlib.Path:
    """Runs an experiment that is interrupted at each step and resumed, and returns its folder."""
    with interrupt_at(steps):
        folder = run_experiment(task, settings, results_dir, checkpoint_steps=4)
        for _ in steps:
            assert store.read_record(folder).status == "interrupted"
            folder = resume_experiment(results_dir)
    record = store.read_record(folder)
    assert record.status == "ok"
    assert len(record.resumed) == len(steps)
    assert not (results_dir / "unfinished").exists()
    return folder


def assert_equal_runs(folder: pathlib.Path, expected: pathlib.Path) -> None:
    """Asserts that two runs differ in nothing but their id and their times."""
    arrays, expected_arrays = store.read_weights(folder), store.read_weights(expected)
    assert list(arrays) == list(expected_arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected_arrays[name], err_msg=name)
    record, expected_record = store.read_record(folder), store.read_record(expected)
    for name in ("metrics", "baselines", "headline", "best_epoch", "epochs_run", "tables"):
        assert getattr(record, name) == getattr(expected_record, name), name
    for name in ("samples.jsonl", "explained.jsonl"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    assert _epochs(folder) == _epochs(expected)


def _epochs(folder: pathlib.Path) -> list[dict[str, str]]:
    with (folder / "epochs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name != "seconds"} for row in rows]


def run_main(*arguments: object) -> int:
    """Runs the command line in this process and returns its exit status."""
    with (
        mock.patch.object(sys, "argv", ["runner.py", *map(str, arguments)]),
        pytest.raises(SystemExit) as exit_info,
    ):
        app.main()
    return int(exit_info.value.code or 0)
