"""Data parallelism: the losses on several devices or processes are those on one device."""

import csv
import importlib.util
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from rnn_topologies.cli import app
from rnn_topologies.runs import store
from rnn_topologies.runs.record import Record
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import checkpoint, strategy

from ..support.paths import ROOT

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX: pip install '.[jax]'"
)
# 61 is 3 * 16 + 13: the last batch is padded to an even number of rows.
FLAGS = ("--limit", "61", "--epochs", "2", "--units", "6", "--batch-size", "16")
DATA_PARALLEL = ("--strategy", "data_parallel")


def start_run(
    task: str, results_dir: pathlib.Path, *flags: str, **environment: str
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.small_data", "--task", task, *FLAGS]
    folders = ["--data-dir", str(results_dir.parent / "data"), "--results-dir", str(results_dir)]
    return subprocess.Popen(
        [*command, "--backend", "jax", *flags, *folders],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def start_on_two_devices(task: str, results_dir: pathlib.Path) -> list[subprocess.Popen[str]]:
    flags = "--xla_force_host_platform_device_count=2"
    return [start_run(task, results_dir, *DATA_PARALLEL, XLA_FLAGS=flags)]


def start_two_processes(task: str, results_dir: pathlib.Path) -> list[subprocess.Popen[str]]:
    shared = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_port()}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    }
    return [
        start_run(
            task, results_dir, *DATA_PARALLEL, **shared, KERAS_DISTRIBUTION_PROCESS_ID=process_id
        )
        for process_id in ("0", "1")
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def read_losses(results_dir: pathlib.Path) -> tuple[Record, np.ndarray]:
    (folder,) = store.list_run_folders(results_dir)
    with (folder / "epochs.csv").open(newline="") as file:
        # Not `loss`: in its mean over an epoch, Keras counts the rows that pad a batch.
        names = ("cross_entropy", "val_cross_entropy")
        rows = [[float(row[name]) for name in names] for row in csv.DictReader(file)]
    return store.read_record(folder), np.array(rows)


@needs_jax
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "start", "processes"),
    [("classification", start_on_two_devices, 1), ("translation", start_two_processes, 2)],
)
def test_two_devices_or_processes_give_the_losses_of_one(task, start, processes, tmp_path):
    # All at once: most of their time is imports and compilation, on one core each.
    for process in [start_run(task, tmp_path / "one"), *start(task, tmp_path / "two")]:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    _, expected = read_losses(tmp_path / "one")
    record, losses = read_losses(tmp_path / "two")
    # A sum of partial sums rounds differently from one sum, and training amplifies that.
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert record.status == "ok"
    assert record.environment["devices"] == 2
    assert record.environment["processes"] == processes
    assert set(record.metrics) > {"validation/loss"}
    assert not checkpoint.unfinished_runs(tmp_path / "two")


@pytest.mark.parametrize("batch", ["unweighted", "weighted"])
def test_shards_of_a_batch_have_equal_sizes_and_padding_weighs_nothing(monkeypatch, batch):
    """Three rows on four devices of two processes."""
    inputs, targets = np.arange(6.0).reshape(3, 2), np.array([1, 2, 3])
    weights = np.array([0.5, 1.0, 2.0], "float32")
    batches = [(inputs, targets, weights) if batch == "weighted" else (inputs, targets)]
    monkeypatch.setattr(strategy, "device_count", lambda: 4)
    monkeypatch.setenv(strategy.NUM_PROCESSES, "2")
    shards = []
    for process_id in ("0", "1"):
        monkeypatch.setenv(strategy.PROCESS_ID, process_id)
        shards.append(strategy.ShardedBatches(batches)[0])
    assert [len(part) for shard in shards for part in shard] == [2] * 6
    joint = [np.concatenate(parts) for parts in zip(*shards, strict=True)]
    np.testing.assert_array_equal(joint[0][:3], inputs)
    np.testing.assert_array_equal(joint[1][:3], targets)
    expected = weights if batch == "weighted" else np.ones(3)
    np.testing.assert_array_equal(joint[2], [*expected, 0])


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_backend_without_data_parallelism_is_refused(backend, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    with pytest.raises(UserError, match=f"needs --backend jax, got {backend}"):
        strategy.enable_data_parallel()
    with pytest.raises(UserError, match="Unknown strategy: 'model_parallel'"):
        app.set_up_keras(backend, deterministic=False, strategy="model_parallel")
