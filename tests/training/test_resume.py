"""What may happen to a run from outside: nothing is lost, and it is said what to do."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rnn_topologies import tasks
from rnn_topologies.cli import progress
from rnn_topologies.runs import store
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import callbacks, checkpoint, experiment

SUPPORT = pathlib.Path(__file__).parents[1] / "support"
RUNNER = pathlib.Path(__file__).parents[2] / "runner.py"
SMALL = ("--limit", "200", "--epochs", "2", "--units", "8", "--batch-size", "16")
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("data"))


def call(*command, status=None, **environment):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=600,
    )
    if status is not None:
        assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("task", tasks.task_names())
def test_a_resumed_run_ends_like_one_that_was_never_stopped(task, tmp_path):
    done = call(SUPPORT / "to_the_bit.py", task, tmp_path, status=0)
    assert f"same: {task}" in done.stdout


@pytest.mark.parametrize("moment", ["data", "epoch", "checkpoint", "record"])
def test_a_run_that_is_killed_goes_on(moment, tmp_path):
    places = ("--data-dir", tmp_path / "data", "--results-dir", tmp_path / "results")
    killed = call(
        *(SUPPORT / "interrupted.py", moment, "--task", "translation", *SMALL),
        *("--checkpoint-steps", "2", *places),
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert not store.list_run_folders(tmp_path / "results")
    done = call(RUNNER, "--resume", "last", "--results-dir", tmp_path / "results", status=0)
    assert ("resuming after" in done.stdout) == (moment != "data")
    (folder,) = store.list_run_folders(tmp_path / "results")
    record = store.read_record(folder)
    assert (record.status, record.epochs_run) == ("ok", 2)
    assert os.listdir(tmp_path / "results/runs") == [folder.name]
    assert not (tmp_path / "results/unfinished").exists()
    assert not list((tmp_path / "data").rglob("incomplete.*"))


def started(tmp_path, data_dir, *more):
    """Starts a run that would take long, and returns it in the middle of its training."""
    process = subprocess.Popen(
        [
            *(sys.executable, RUNNER, "--task", "translation", "--units", "8"),
            *("--limit", "2000", "--epochs", "500", "--data-dir", data_dir),
            *("--results-dir", tmp_path / "results", *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    for line in process.stdout:
        if line.startswith("epoch 1/"):
            return process
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_ends_a_run_well(tmp_path, data_dir, sent, status):
    process = started(tmp_path, data_dir)
    process.send_signal(sent)
    _out, err = process.communicate(timeout=120)
    assert process.returncode == status
    assert "Traceback" not in err
    (folder,) = store.list_run_folders(tmp_path / "results")
    record = store.read_record(folder)
    assert (record.status, record.error) == ("interrupted", f"stopped by {sent.name}")
    assert f"--resume {record.run_id}" in err
    assert (folder / store.WEIGHTS).is_file()
    assert checkpoint.unfinished_runs(tmp_path / "results") == [record.run_id]


def test_a_second_signal_ends_a_run_now(tmp_path, data_dir):
    process = started(tmp_path, data_dir)
    os.kill(process.pid, signal.SIGSTOP)  # so that the two come while one step goes on
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    _, err = process.communicate(timeout=120)
    assert process.returncode in (130, 143)
    assert "Traceback" not in err
    assert len(checkpoint.unfinished_runs(tmp_path / "results")) == 1
    store.load_runs(tmp_path / "results")


@contextlib.contextmanager
def mounted(place, options):
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@is_root
def test_a_full_disk_loses_nothing(tmp_path, data_dir):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with mounted(tmp_path / "results", "size=100k") as place:
        done = call(
            *(RUNNER, "--task", "translation", *SMALL),
            *("--data-dir", data_dir, "--results-dir", place),
            TMPDIR=str(elsewhere),
            status=1,
        )
        assert "cannot save a checkpoint: No space left on device" in done.stdout
        assert done.stderr.count("\n") == 1
        assert "could not be written" in done.stderr
        assert store.load_runs(place).empty
        (folder,) = elsewhere.glob("rnn-topologies-*/runs/*")
        assert str(folder) in done.stderr
    assert store.read_record(folder).status == "ok"


@is_root
def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path, data_dir):
    with mounted(tmp_path / "results", "ro") as place:
        done = call(
            *(RUNNER, "--task", "translation", *SMALL),
            *("--data-dir", data_dir, "--results-dir", place),
            status=2,
        )
    assert "Read-only file system. Choose another folder with --results-dir" in done.stderr
    assert done.stderr.count("\n") == 1


def quiet(tmp_path):
    return progress.Display(Console(file=open(tmp_path / "output.txt", "w+")))


def test_a_results_folder_that_is_removed_meanwhile_comes_back(tmp_path, data_dir, monkeypatch):
    place = tmp_path / "results"
    original = callbacks.BestWeights.on_epoch_end

    def remove(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == 0:
            shutil.rmtree(place)

    monkeypatch.setattr(callbacks.BestWeights, "on_epoch_end", remove)
    settings = {"limit": 100, "epochs": 2, "units": 8, "data_dir": data_dir}
    record, folder = experiment.run_experiment(
        "translation", settings, results_dir=place, display=quiet(tmp_path)
    )
    assert store.read_record(folder) == record
    assert record.status == "ok"


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_loss_that_is_not_finite_is_recorded_with_its_step(tmp_path, data_dir, monkeypatch, name):
    settings = {"limit": 100, "epochs": 2, "units": 8, "data_dir": data_dir}
    original = callbacks.ProgressReporter.on_epoch_end
    if name == "loss":
        settings["learning_rate"] = 1e38
    else:
        monkeypatch.setattr(
            callbacks.ProgressReporter,
            "on_epoch_end",
            lambda self, epoch, logs: original(self, epoch, {**logs, "val_loss": float("inf")}),
        )
    record, folder = experiment.run_experiment(
        "translation", settings, results_dir=tmp_path / "results", display=quiet(tmp_path)
    )
    assert record.status == store.read_record(folder).status == "diverged"
    assert re.search(rf"at step {record.diverged_step}\. Try a smaller", record.error)
    assert not checkpoint.unfinished_runs(tmp_path / "results")


def test_a_damaged_image_is_named_when_training_meets_it(tmp_path):
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("validation", 8), ("test", 8)):
        for label in ("left", "right"):
            place = tmp_path / "photos" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (16, 16), "uint8")
                Image.fromarray(pixels).save(place / f"{number}.png")
    damaged = tmp_path / "photos/train/left/7.png"
    damaged.write_bytes(damaged.read_bytes()[:150])
    settings = {"dataset": str(tmp_path / "photos"), "epochs": 1, "units": 4}
    with pytest.raises(UserError, match="7.png cannot be read as an image"):
        experiment.run_experiment(
            "classification", settings, results_dir=tmp_path / "results", display=quiet(tmp_path)
        )


def test_data_that_have_changed_are_not_trained_on(tmp_path, monkeypatch):
    films = tmp_path / "films.csv"
    films.write_text("text,label\n" + "".join(f"film {n},{n % 2}\n" for n in range(60)), "utf-8")
    original = callbacks.CheckpointSaver.on_epoch_end

    def stop(self, epoch, logs=None):
        original(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.CheckpointSaver, "on_epoch_end", stop)
    settings = {"dataset": str(films), "epochs": 2, "units": 4}
    place = tmp_path / "results"
    experiment.run_experiment(
        "text_classification", settings, results_dir=place, display=quiet(tmp_path)
    )
    films.write_text(films.read_text("utf-8").replace("film 7,1", "film 7,0"), "utf-8")
    with pytest.raises(UserError, match="has changed since"):
        experiment.resume_experiment(
            checkpoint.find_checkpoint("last", place), display=quiet(tmp_path)
        )
    assert checkpoint.unfinished_runs(place)


def test_runs_to_resume_are_found(tmp_path):
    place = tmp_path / "results"
    with pytest.raises(UserError, match="No interrupted run"):
        checkpoint.find_checkpoint("last", place)
    states = []
    for number in range(3):
        asked = checkpoint.RunRequest(
            run_id=f"2026010{number}-run",
            started_at="",
            task="translation",
            settings={},
            backend="tensorflow",
            checkpoint_steps=2,
            environment={},
            git=None,
        )
        state = checkpoint.CheckpointManager(
            checkpoint.checkpoint_folder(place, asked.run_id), asked
        )
        state.save({"number": number}, {"a": np.arange(3)})
        states.append(state)
    with pytest.raises(UserError, match="All unfinished runs .* still running"):
        checkpoint.find_checkpoint("last", place)
    with pytest.raises(UserError, match="20260101-run is still running"):
        checkpoint.find_checkpoint("20260101", place)
    for state in states[:2]:
        state.close(keep=True)
    found = checkpoint.find_checkpoint("last", place)
    assert found.request == states[1].request
    facts, arrays = found.load()
    assert facts == {"number": 1}
    np.testing.assert_array_equal(arrays["a"], np.arange(3))
    found.close(keep=True)
    with pytest.raises(UserError, match="matches"):
        checkpoint.find_checkpoint("2026", place)
    with pytest.raises(UserError, match="Unknown interrupted run"):
        checkpoint.find_checkpoint("2027", place)
    damaged = place / "runs/20260100-run"
    damaged.mkdir(parents=True)
    (damaged / "record.json").write_text("{")
    assert "20260100-run" in checkpoint.unfinished_runs(place)  # nobody can say that it has ended
    (checkpoint.checkpoint_folder(place, "20260100-run") / checkpoint.CHECKPOINT).write_bytes(b"PK")
    with pytest.raises(UserError, match="Cannot read .*Delete it"):
        checkpoint.find_checkpoint("20260100", place).load()


def test_runs_that_start_together_prepare_their_data_once(tmp_path):
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, RUNNER, "--task", "translation", *SMALL, "--seed", "0"),
                *("--data-dir", tmp_path / "data", "--results-dir", tmp_path / "results"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    assert sum("waiting for another run" in error for error in errors) <= 2
    runs = store.load_runs(tmp_path / "results")
    assert list(runs["status"]) == ["ok"] * 3
    assert not list((tmp_path / "data").rglob("incomplete.*"))
