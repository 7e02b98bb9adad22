"""Whether a run that is stopped and resumed ends like one that is not: `to_the_bit.py TASK DIR`.

In a process of its own, since TensorFlow cannot stop being deterministic. Prints what was compared.
"""

import csv
import os
import pathlib
import signal
import sys

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from rnn_topologies.training import environment

environment.silence_tensorflow()
environment.make_deterministic(os.environ["KERAS_BACKEND"])

from rnn_topologies.cli import progress  # noqa: E402
from rnn_topologies.runs import store  # noqa: E402
from rnn_topologies.training import checkpoint, experiment, interruption, loop  # noqa: E402

SETTINGS = {"limit": 150, "epochs": 3, "units": 6, "batch_size": 16, "deterministic": True}


def main(task: str, place: pathlib.Path) -> None:
    shown = progress.Display()
    settings = {**SETTINGS, "data_dir": str(place / "data")}
    whole, folder = experiment.run_experiment(task, settings, results_dir=place / "whole", display=shown)
    for stops in ([1], [6, 11]):  # steps of the whole training at which to stop
        parts = place / f"parts{len(stops)}"
        stop_at(stops)
        record, _ = experiment.run_experiment(
            task, settings, results_dir=parts, display=shown, checkpoint_steps=4
        )
        while record.status == "interrupted":
            state = checkpoint.find_checkpoint(checkpoint.LAST, parts)
            record, resumed = experiment.resume_experiment(state, display=shown)
        assert record.status == "ok"
        assert len(record.resumed) == len(stops), record.resumed
        compare(folder, whole, resumed, record)
        assert not (parts / "unfinished").exists()
    print(f"same: {task}, resumed at {record.resumed}")


def stop_at(steps: list[int]) -> None:
    """Makes the next runs stop, each at its step."""
    left = list(steps)
    original = Watch.on_train_batch_end

    def watched(self, batch, logs=None):
        original(self, batch, logs)
        if left and self.progress.steps >= left[0]:
            left.pop(0)
            stops[-1].signal = signal.SIGTERM

    callbacks.ProgressReporter.on_train_batch_end = watched


class Stop(interruption.StopRequest):
    def __init__(self):
        super().__init__()
        stops.append(self)


def compare(first, one, second, other) -> None:
    arrays, others = store.read_weights(first), store.read_weights(second)
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)
    for name in ("metrics", "baselines", "headline", "best_epoch", "epochs_run", "tables"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("samples.jsonl", "explained.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert epochs(first) == epochs(second)
    assert one.reproducible == {"promised": True, "reason": None}


def epochs(folder) -> list[dict]:
    with (folder / "epochs.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


if __name__ == "__main__":
    stops = []
    Watch = callbacks.ProgressReporter
    interruption.StopRequest = Stop
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
