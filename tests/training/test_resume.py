"""Interruptions, crashes and full disks: runs can be resumed, and nothing is lost."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

import filelock
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rnn_topologies import tasks
from rnn_topologies.cli import progress
from rnn_topologies.runs import store
from rnn_topologies.tasks.base import flag_name
from rnn_topologies.tasks.data import source
from rnn_topologies.tasks.data import store as data_store
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import callbacks, checkpoint
from rnn_topologies.training.interruption import SIGNALS, StopRequest

from ..support import runs, training
from ..support.paths import ROOT, RUNNER
from ..support.small_data import small_data

# Four steps per epoch.
SETTINGS = {"limit": 100, "epochs": 2, "units": 8, "batch_size": 32, "cell": "simple_rnn"}
FLAGS = [part for name, value in SETTINGS.items() for part in (flag_name(name), str(value))]
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")


@pytest.fixture
def fast() -> Iterator[None]:
    """Runs on little data, and without tracing graphs, which would take most of the time."""
    with small_data(), training.execution(eager=True):
        yield


def start_python(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Returns the exit status, standard output and standard error of a process."""
    try:
        output, errors = process.communicate(timeout=1200)
    finally:
        process.kill()  # does nothing unless the timeout expired
    return process.returncode, output, errors


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, fast):
    expected = runs.run_experiment("classification", SETTINGS, tmp_path / "uninterrupted")
    resumed = runs.run_with_interruptions(
        "classification", SETTINGS, tmp_path / "resumed", steps=(1, 5)
    )
    runs.assert_equal_runs(resumed, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["translation"], id="translation"),
        pytest.param([name for name in tasks.task_names() if name != "translation"], id="others"),
    ],
)
def test_resumed_runs_of_every_task_are_bit_identical(names, tmp_path):
    process = start_python("-m", "tests.support.check_resume", tmp_path, *names)
    status, output, errors = finish(process)
    assert status == 0, output + errors
    assert re.findall("bit-identical: (.*)", output) == names


def test_what_a_killed_process_leaves_behind_does_not_prevent_resuming(tmp_path, fast):
    with runs.interrupt_at([6]):
        folder = runs.run_experiment("classification", SETTINGS, tmp_path)
    # As if the process had died while it wrote the next checkpoint, and once more in `finish`.
    manager = checkpoint.find_checkpoint("last", tmp_path)
    (manager.folder / f".{checkpoint.CHECKPOINT}.0123abcd").write_bytes(b"PK")
    manager.close(keep=True)
    folder.rename(folder.with_name(f".{folder.name}.partial"))
    assert runs.resume_experiment(tmp_path) == folder
    record = store.read_record(folder)
    assert (record.status, record.epochs_run) == ("ok", 2)
    assert [(at["epoch"], at["step"]) for at in record.resumed] == [(1, 2)]
    assert os.listdir(tmp_path / "runs") == [folder.name]
    assert not (tmp_path / "unfinished").exists()


@pytest.mark.slow
def test_a_run_survives_being_killed_at_any_moment(tmp_path, capfd, fast):
    data_dir, results_dir = tmp_path / "data", tmp_path / "results"
    arguments = ["--task", "translation", *FLAGS, "--batch-size", "8", "--checkpoint-steps", "2"]
    arguments += ["--data-dir", data_dir, "--results-dir", results_dir]
    for moment in ("data", "step", "checkpoint", "record"):
        process = start_python("-m", "tests.support.run_and_kill", moment, *arguments)
        status, output, errors = finish(process)
        assert status == -signal.SIGKILL, output + errors
        assert ("resuming after" in output) == (moment in ("checkpoint", "record"))
        assert not store.list_run_folders(results_dir)
        arguments = ["--resume", "last", "--results-dir", results_dir]
    assert runs.run_main(*arguments) == 0
    assert "resuming after" in capfd.readouterr().out
    (folder,) = store.list_run_folders(results_dir)
    record = store.read_record(folder)
    assert (record.status, record.epochs_run) == ("ok", 2)
    assert os.listdir(results_dir / "runs") == [folder.name]
    assert not (results_dir / "unfinished").exists()
    assert not list(data_dir.rglob("incomplete.*"))


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="needs the main thread"
)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_stops_a_run_cleanly(number, status, tmp_path, capfd, monkeypatch, fast):
    def send_signal(self, done, total, loss):
        if done == 1:
            signal.raise_signal(number)

    monkeypatch.setattr(progress.Display, "step", send_signal)
    assert runs.run_main("--task", "classification", *FLAGS, "--results-dir", tmp_path) == status
    errors = capfd.readouterr().err
    (folder,) = store.list_run_folders(tmp_path)
    record = store.read_record(folder)
    assert (record.status, record.error) == ("interrupted", f"stopped by {number.name}")
    assert "Press Ctrl-C again to quit now" in errors
    assert f"--resume {record.run_id}" in errors
    assert "Traceback" not in errors
    assert (folder / store.WEIGHTS).is_file()
    assert checkpoint.unfinished_runs(tmp_path) == [record.run_id]


def test_a_second_signal_exits_at_once(monkeypatch, capfd):
    monkeypatch.setattr(os, "_exit", sys.exit)
    handlers = [signal.getsignal(number) for number in SIGNALS]
    stop = StopRequest()
    with stop.handle_signals():
        with stop.deferred():
            signal.raise_signal(signal.SIGTERM)
            assert stop.signal is signal.SIGTERM
            with pytest.raises(SystemExit) as exit_info:
                signal.raise_signal(signal.SIGINT)
            assert exit_info.value.code == 128 + signal.SIGINT
        stop.signal = None
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in SIGNALS] == handlers
    assert capfd.readouterr().err.count("Press Ctrl-C again") == 1


@pytest.mark.slow
def test_two_signals_end_a_process_and_leave_a_run_to_resume(tmp_path):
    flags = ("--limit", "200", "--units", "8", "--epochs", "1000", "--patience", "1000")
    process = start_python(RUNNER, "--task", "classification", *flags, "--results-dir", tmp_path)
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            break
    else:
        raise AssertionError(process.stderr.read())
    os.kill(process.pid, signal.SIGSTOP)  # so that both arrive during the same step
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    status, _, errors = finish(process)
    assert status in (130, 143)
    assert "Traceback" not in errors
    assert len(checkpoint.unfinished_runs(tmp_path)) == 1
    store.load_runs(tmp_path)


@contextlib.contextmanager
def mount_tmpfs(folder: pathlib.Path, options: str) -> Iterator[pathlib.Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@only_root
def test_a_full_disk_loses_nothing(tmp_path, capfd, monkeypatch, fast):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    with mount_tmpfs(tmp_path / "results", "size=64k") as results_dir:
        status = runs.run_main("--task", "classification", *FLAGS, "--results-dir", results_dir)
        output, errors = capfd.readouterr()
        assert status == 1
        assert "cannot save a checkpoint: No space left on device" in output
        assert errors.count("\n") == 1
        assert "could not be written" in errors
        assert store.load_runs(results_dir).empty
        (folder,) = elsewhere.glob("rnn-topologies-*/runs/*")
        assert str(folder) in errors
    assert store.read_record(folder).status == "ok"


@only_root
def test_a_read_only_results_folder_is_reported_before_training(tmp_path, capfd):
    with mount_tmpfs(tmp_path / "results", "ro") as results_dir:
        status = runs.run_main("--task", "classification", *FLAGS, "--results-dir", results_dir)
    errors = capfd.readouterr().err
    assert status == 2
    assert "Read-only file system. Choose another folder with --results-dir" in errors
    assert errors.count("\n") == 1


def test_a_results_folder_deleted_during_training_is_created_again(tmp_path, monkeypatch, fast):
    results_dir = tmp_path / "results"
    original = callbacks.BestWeights.on_epoch_end

    def delete_results(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 0:
            shutil.rmtree(results_dir)

    monkeypatch.setattr(callbacks.BestWeights, "on_epoch_end", delete_results)
    folder = runs.run_experiment("classification", SETTINGS, results_dir)
    assert store.read_record(folder).status == "ok"


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_loss_that_is_not_finite_is_recorded_with_its_step(tmp_path, monkeypatch, name, fast):
    settings = dict(SETTINGS)
    original = callbacks.ProgressReporter.on_epoch_end

    def set_infinite_loss(self, epoch, logs=None):
        original(self, epoch, {**logs, "val_loss": float("inf")})

    if name == "loss":
        settings["learning_rate"] = 1e38
    else:
        monkeypatch.setattr(callbacks.ProgressReporter, "on_epoch_end", set_infinite_loss)
    record = store.read_record(runs.run_experiment("classification", settings, tmp_path))
    assert record.status == "diverged"
    assert re.search(rf"at step {record.diverged_step}\. Try a smaller", record.error)
    assert not checkpoint.unfinished_runs(tmp_path)


@pytest.mark.parametrize("moment", ["before", "during"])
def test_an_image_damaged_before_or_during_training_is_named(tmp_path, monkeypatch, moment, fast):
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("validation", 8), ("test", 8)):
        for label in ("left", "right"):
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (16, 16), "uint8")
                Image.fromarray(pixels).save(folder / f"{number}.png")
    image = tmp_path / "photos/train/left/7.png"

    def damage(*_):
        image.write_bytes(image.read_bytes()[:150])
        return contextlib.nullcontext()

    if moment == "before":
        damage()
    else:  # images that do not fit in memory are read again, where TensorFlow wraps the error
        monkeypatch.setattr(source, "CACHE_BYTES", 0)
        monkeypatch.setattr(progress.Display, "training", damage)
    photos = {"dataset": str(tmp_path / "photos"), "image_size": 8, "filters": 4}
    settings = {**SETTINGS, **photos, "batch_size": 4}
    with pytest.raises(UserError, match="7.png cannot be read as an image"):
        runs.run_experiment("classification", settings, tmp_path / "results")
    assert len(store.list_run_folders(tmp_path / "results")) == (moment == "during")


def test_a_run_is_not_resumed_on_data_that_have_changed(tmp_path, fast):
    reviews = tmp_path / "reviews.csv"
    rows = "".join(f"film {number},{number % 2}\n" for number in range(60))
    reviews.write_text(f"text,label\n{rows}", "utf-8")
    settings = {"dataset": str(reviews), "epochs": 2, "units": 4, "batch_size": 8}
    with runs.interrupt_at([2]):
        runs.run_experiment("text_classification", settings, tmp_path / "results")
    reviews.write_text(reviews.read_text("utf-8").replace("film 7,1", "film 7,0"), "utf-8")
    with pytest.raises(UserError, match="has changed since"):
        runs.resume_experiment(tmp_path / "results")
    assert checkpoint.unfinished_runs(tmp_path / "results")


def test_interrupted_runs_are_found_by_id_by_prefix_and_last(tmp_path):
    with pytest.raises(UserError, match="No interrupted run"):
        checkpoint.find_checkpoint("last", tmp_path)
    managers = []
    for number in range(3):
        request = checkpoint.RunRequest(
            run_id=f"2026010{number}-run",
            started_at="",
            task="translation",
            settings={},
            backend="tensorflow",
            checkpoint_steps=2,
            environment={},
            git=None,
        )
        folder = checkpoint.checkpoint_folder(tmp_path, request.run_id)
        manager = checkpoint.CheckpointManager(folder, request)
        manager.save({"number": number}, {"a": np.arange(3)})
        managers.append(manager)
    with pytest.raises(UserError, match="All unfinished runs .* still running"):
        checkpoint.find_checkpoint("last", tmp_path)
    with pytest.raises(UserError, match="20260101-run is still running"):
        checkpoint.find_checkpoint("20260101", tmp_path)
    for manager in managers[:2]:
        manager.close(keep=True)
    last = checkpoint.find_checkpoint("last", tmp_path)
    assert last.request == managers[1].request
    metadata, arrays = last.load()
    assert metadata == {"number": 1}
    np.testing.assert_array_equal(arrays["a"], np.arange(3))
    last.close(keep=True)
    with pytest.raises(UserError, match="matches 3 runs"):
        checkpoint.find_checkpoint("2026", tmp_path)
    with pytest.raises(UserError, match="Unknown interrupted run"):
        checkpoint.find_checkpoint("2027", tmp_path)


def test_damaged_files_of_an_interrupted_run_are_reported(tmp_path):
    request = checkpoint.RunRequest(
        run_id="run",
        started_at="",
        task="translation",
        settings={},
        backend="tensorflow",
        checkpoint_steps=2,
        environment={},
        git=None,
    )
    folder = checkpoint.checkpoint_folder(tmp_path, "run")
    checkpoint.CheckpointManager(folder, request).close(keep=True)
    (tmp_path / "runs/run").mkdir(parents=True)
    (tmp_path / "runs/run/record.json").write_text("{")
    assert checkpoint.unfinished_runs(tmp_path) == ["run"]  # no record says that it has finished
    (folder / checkpoint.CHECKPOINT).write_bytes(b"PK")
    with pytest.raises(UserError, match="Cannot read .*Delete it"):
        checkpoint.find_checkpoint("run", tmp_path).load()


class Tiny(tfds.core.GeneratorBasedBuilder):
    """A data set that is prepared in no time."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict({"n": np.int64}))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield from ((n, {"n": n}) for n in range(3))


def test_a_run_waits_for_data_that_another_is_preparing(tmp_path, capfd, monkeypatch):
    prepared = []
    original = data_store._download_and_prepare

    def download_and_prepare(builder, manual_dir):
        prepared.append(builder.name)
        original(builder, manual_dir)

    def prepare():
        return data_store.prepare_dataset(Tiny, config=None, data_dir=tmp_path)

    monkeypatch.setattr(data_store, "_download_and_prepare", download_and_prepare)
    with filelock.FileLock(tmp_path / ".tiny.lock"):
        waiting = threading.Thread(target=prepare, daemon=True)
        waiting.start()
        errors = ""
        while "waiting for another run" not in errors:
            waiting.join(timeout=0.05)
            assert waiting.is_alive(), errors
            errors += capfd.readouterr().err
        assert not prepared
    waiting.join()
    assert len(data_store.read_split(prepare(), "train")) == 3
    assert prepared == ["tiny"]


@pytest.mark.slow
def test_runs_that_start_together_prepare_their_data_once(tmp_path):
    data_dir, results_dir = tmp_path / "data", tmp_path / "results"
    arguments = ("--task", "translation", *FLAGS, "--seed", "0", "--data-dir", data_dir)
    arguments = ("-m", "tests.support.small_data", *arguments, "--results-dir", results_dir)
    processes = [start_python(*arguments) for _ in range(2)]
    outcomes = [finish(process) for process in processes]
    assert [status for status, _, _ in outcomes] == [0, 0], outcomes
    assert sum("waiting for another run" in errors for _, _, errors in outcomes) <= 1
    assert list(store.load_runs(results_dir)["status"]) == ["ok", "ok"]
    assert not list(data_dir.rglob("incomplete.*"))
