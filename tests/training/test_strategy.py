"""One run on several devices: the losses are those of one device."""

import csv
import importlib.util
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from rnn_topologies.cli import app
from rnn_topologies.runs import store
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import checkpoint

RUNNER = pathlib.Path(__file__).parents[2] / "runner.py"
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX: pip install '.[jax]'"
)
# 61 is 3 * 16 + 13: the last batch is filled up to an even number.
SETTINGS = ("--limit", "61", "--epochs", "2", "--units", "6", "--batch-size", "16")


def start(task, place, *more, **environment):
    command = (sys.executable, RUNNER, "--task", task, *SETTINGS, "--backend", "jax", *more)
    places = ("--data-dir", place.parent / "data", "--results-dir", place)
    return subprocess.Popen(
        [*map(str, (*command, *places))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment},
    )


def end(*processes) -> None:
    for process in processes:
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said


def losses(place):
    (folder,) = store.list_run_folders(place)
    with (folder / "epochs.csv").open(newline="") as file:
        # Not `loss`: for its mean over an epoch, Keras counts the rows that fill a batch up.
        names = ("cross_entropy", "val_cross_entropy")
        rows = [[float(row[name]) for name in names] for row in csv.DictReader(file)]
    return store.read_record(folder), np.array(rows)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


SPREAD = ("--strategy", "data_parallel")


def two_devices(task, place):
    return [start(task, place, *SPREAD, XLA_FLAGS="--xla_force_host_platform_device_count=2")]


def two_processes(task, place):
    found = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_port()}"}
    found["KERAS_DISTRIBUTION_NUM_PROCESSES"] = "2"
    return [
        start(task, place, *SPREAD, **found, KERAS_DISTRIBUTION_PROCESS_ID=number)
        for number in ("0", "1")
    ]


@needs_jax
@pytest.mark.parametrize(
    ("task", "spread", "processes"),
    [("classification", two_devices, 1), ("translation", two_processes, 2)],
)
def test_two_devices_or_processes_give_the_losses_of_one(task, spread, processes, tmp_path):
    end(start(task, tmp_path / "one"))
    _, expected = losses(tmp_path / "one")
    end(*spread(task, tmp_path / "two"))
    record, found = losses(tmp_path / "two")
    # Sums of parts round otherwise than the sum of all, and training carries that on.
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert record.status == "ok"
    assert record.environment["devices"] == 2
    assert record.environment["processes"] == processes
    assert set(record.metrics) > {"validation/loss"}
    assert not checkpoint.unfinished_runs(tmp_path / "two")


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_backend_that_cannot_spread_says_so(backend, monkeypatch):
    import keras

    from rnn_topologies.training import strategy

    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    with pytest.raises(UserError, match=f"needs --backend jax, got {backend}"):
        strategy.enable_data_parallel()
    with pytest.raises(UserError, match="Unknown strategy: 'model_parallel'"):
        app.set_up_keras(backend, deterministic=False, strategy="model_parallel")
