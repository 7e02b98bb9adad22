"""Checks that resumed runs are bit-identical: `python -m tests.support.check_resume DIR TASK...`.

Runs in a process of its own, since TensorFlow cannot leave its deterministic mode.
"""

import os
import pathlib
import sys

from rnn_topologies.training import environment

SETTINGS = {"limit": 100, "epochs": 3, "units": 6, "batch_size": 16, "deterministic": True}
STOPS = (1, 9)  # in the first and in the second epoch of 7 steps


def main(folder: pathlib.Path, names: list[str]) -> None:
    from . import runs
    from .small_data import small_data

    settings = {**SETTINGS, "data_dir": str(folder / "data")}
    for name in names:
        with small_data():
            expected = runs.run_experiment(name, settings, folder / name / "uninterrupted")
            resumed = runs.run_with_interruptions(name, settings, folder / name / "resumed", STOPS)
        runs.assert_equal_runs(resumed, expected)
        reproducible = runs.store.read_record(expected).reproducible
        assert reproducible == {"promised": True, "reason": None}
        print(f"bit-identical: {name}")


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    environment.silence_tensorflow()
    environment.make_deterministic(os.environ["KERAS_BACKEND"])
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
