import dataclasses
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from rnn_topologies.runs import store
from rnn_topologies.sweeps import plan, tune, worker
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import checkpoint

RUNNER = pathlib.Path(__file__).parents[2] / "runner.py"


def asked(**changes) -> plan.SweepSpec:
    default = plan.SweepSpec(
        sweep_id="20260101T000000Z-sweep-abcd",
        tasks=["classification"],
        cells=["gru"],
        seeds=1,
        settings=[],
        search="grid",
        trials=3,
        stop_early=False,
        backend="tensorflow",
        cpus_per_run=1,
        max_concurrent=None,
        address=None,
    )
    return dataclasses.replace(default, **changes)


def test_a_grid_is_every_combination_once_seed_by_seed():
    given = ["units=8,16", "learning-rate=1e-3,1e-2", "dropout=0.1"]
    found = plan.list_trials(
        asked(
            tasks=["classification", "translation"], cells=["gru", "lstm"], seeds=3, settings=given
        )
    )
    names = ("cell", "seed", "units", "learning_rate", "dropout")
    tried = {(one.task, *(one.settings[name] for name in names)) for one in found}
    tasks = ("classification", "translation")
    assert tried == set(
        itertools.product(tasks, ("gru", "lstm"), range(3), (8, 16), (1e-3, 1e-2), (0.1,))
    )
    assert len(found) == len(tried) == len({one.run_id for one in found})
    seeds = [one.settings["seed"] for one in found]
    assert seeds == sorted(seeds)


def test_names_follow_from_what_a_run_is():
    first, again = (
        plan.list_trials(asked(settings=["units=8"])),
        plan.list_trials(asked(settings=["units=8"])),
    )
    assert first == again
    (other,) = plan.list_trials(asked(settings=["units=9"]))
    assert other.run_id != first[0].run_id
    assert first[0].run_id.startswith("20260101T000000Z-classification-gru-seed0-")


def test_draws_are_the_same_for_every_cell_and_within_their_range():
    given = ["units=8..16", "learning_rate=1e-4..1e-1", "horizontal_flip=true,false"]
    found = plan.list_trials(
        asked(cells=["gru", "lstm"], seeds=2, search="random", trials=20, settings=given)
    )
    assert len(found) == 80
    drawn = {}
    for one in found:
        settings = dict(one.settings)
        drawn.setdefault((settings.pop("cell"), settings.pop("seed")), []).append(settings)
    first, *others = drawn.values()
    assert all(other == first for other in others)
    assert {type(one["units"]) for one in first} == {int}
    assert all(8 <= one["units"] <= 16 and 1e-4 <= one["learning_rate"] <= 1e-1 for one in first)
    assert {one["horizontal_flip"] for one in first} == {True, False}
    assert sum(one["learning_rate"] < 1e-2 for one in first) > 8  # on a log scale
    assert all(len(f"{one['learning_rate']:.10g}".strip("0.")) <= 6 for one in first)
    proposed = plan.trial_from_config(asked(), {"cell": "gru", "learning_rate": 0.0012345678})
    assert proposed.settings == {"seed": 0, "cell": "gru", "learning_rate": 0.00123}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": ["units"]}, "expected NAME=VALUE"),
        (
            {"settings": ["unit=3"]},
            "Unknown setting of classification: 'unit'.*Did you mean 'units'",
        ),
        ({"settings": ["units=big"]}, "--units must be an? int"),
        ({"settings": ["units=0"]}, "--units must be at least 1"),
        ({"settings": ["units=1", "units=2"]}, "given twice"),
        ({"settings": ["horizontal_flip=perhaps"]}, "--horizontal-flip must be true or false"),
        ({"settings": ["units=8..16"]}, "needs --search random"),
        ({"settings": ["seed=1"]}, "use --seeds"),
        ({"cells": ["lstmm"]}, "Unknown cell: 'lstmm'"),
        ({"tasks": ["translaton"]}, "Unknown task: 'translaton'"),
        ({"tasks": ["translation", "classification"], "stop_early": True}, "give one --task"),
        ({"search": "optuna", "seeds": 2}, "omit --seeds"),
    ],
)
def test_mistakes_are_told_before_anything_starts(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        tune.run_sweep(asked(**changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_sweep_is_found_again(tmp_path):
    with pytest.raises(UserError, match="No sweep"):
        plan.find_sweep("last", tmp_path)
    plan.save_sweep(asked(), tmp_path)
    later = asked(sweep_id="20260102T000000Z-sweep-0000", settings=["units=8,16"])
    plan.save_sweep(later, tmp_path)
    assert plan.find_sweep("last", tmp_path) == plan.find_sweep("20260102", tmp_path) == later
    with pytest.raises(UserError, match="Unknown sweep"):
        plan.find_sweep("2026", tmp_path)


def test_files_from_a_node_apart_become_a_run_folder(tmp_path):
    tune.Collector("s", str(tmp_path)).receive("one", {"record.json": b"{}", "a/b": b"\0"})
    folder = tmp_path / "runs/one"
    assert (folder / "record.json").read_bytes() == b"{}"
    assert (folder / "a/b").read_bytes() == b"\0"


def test_a_worker_runs_a_trial_once_and_reports_its_epochs(tmp_path):
    (trial,) = plan.list_trials(asked(settings=["units=4", "limit=60", "epochs=2"]))
    told = []
    record = worker.run_trial(trial, tmp_path, told.append)
    assert (record.status, record.run_id) == ("ok", trial.run_id)
    assert [row["epoch"] for row in told] == [1, 2]
    assert told[1]["best_validation_loss"] == min(row["validation_loss"] for row in told)
    assert worker.run_trial(trial, tmp_path, told.append) == record
    assert len(told) == 2
    sent = {}
    apart = worker.run_trial_and_send(
        trial, lambda name, files: sent.update({name: files}), told.append
    )
    assert apart.status == "ok"
    assert {"record.json", "weights.npz", "epochs.csv"} < set(sent[trial.run_id])


def sweep(*arguments, tmp_path, data_dir=None):
    return [
        *(sys.executable, str(RUNNER), "sweep", *arguments, "--results-dir", str(tmp_path)),
        *(("--set", f"data_dir={data_dir}") if data_dir else ()),
    ]


SMALL = ("--set", "limit=100", "--set", "epochs=4", "--set", "units=4")


def test_a_sweep_that_is_killed_goes_on_and_runs_nothing_twice(tmp_path):
    command = sweep(
        *("--task", "classification", "--cell", "simple_rnn,gru", "--seeds", "2", *SMALL),
        *("--max-concurrent", "1"),
        tmp_path=tmp_path,
    )
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stdout:
        if line.startswith("1/4"):
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    time.sleep(5)  # Ray's workers notice that they are alone
    first = {
        f.name: (f / "record.json").stat().st_mtime_ns for f in store.list_run_folders(tmp_path)
    }
    assert 1 <= len(first) < 4
    done = subprocess.run(
        sweep("--resume", "last", tmp_path=tmp_path), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"({len(first)} already finished)" in done.stdout
    runs = store.load_runs(tmp_path)
    assert sorted(runs["cell"]) == ["gru", "gru", "simple_rnn", "simple_rnn"]
    assert set(runs["status"]) == {"ok"}
    for name, when in first.items():
        assert (tmp_path / "runs" / name / "record.json").stat().st_mtime_ns == when
    assert not checkpoint.unfinished_runs(tmp_path)


def test_optuna_proposes_and_hopeless_runs_are_stopped_and_recorded(tmp_path):
    done = subprocess.run(
        sweep(
            *("--task", "classification", "--cell", "simple_rnn,gru", "--search", "optuna"),
            *("--trials", "5", "--stop-early", "--set", "units=2..16", "--set", "limit=200"),
            *("--set", "learning_rate=1e-5..1e-2", "--set", "epochs=8"),
            tmp_path=tmp_path,
        ),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = store.load_runs(tmp_path)
    assert len(runs) == 5
    assert set(runs["status"]) <= {"ok", "stopped"}
    assert runs["config/units"].nunique() > 1
    assert not checkpoint.unfinished_runs(tmp_path)
    for _, run in runs[runs["status"] == "stopped"].iterrows():
        assert "not among the best after epoch" in run["error"]
        assert run["epochs_run"] >= 1


def test_a_run_whose_process_dies_twice_is_recorded(tmp_path):
    """As when the machine runs out of memory: the process is killed and can write nothing."""
    code = (
        "import os, signal, sys\n"
        "from rnn_topologies.tasks import classification\n"
        "from rnn_topologies import cli\n"
        "sys.argv = sys.argv[1:]\n"
        "cli.main()\n"
    )
    killer = tmp_path / "sitecustomize.py"
    killer.write_text(
        "import os, sys\n"
        "if any('default_worker' in part for part in sys.argv + list(sys.orig_argv)):\n"
        "    import threading, time, signal\n"
        "    def watch():\n"
        "        while True:\n"
        "            module = sys.modules.get('rnn_topologies.training.loop')\n"
        "            if module is not None and hasattr(module, 'Trainer'):\n"
        "                module.Trainer.train_model = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
        "                return\n"
        "            time.sleep(0.01)\n"
        "    threading.Thread(target=watch, daemon=True).start()\n"
    )
    place = tmp_path / "results"
    command = sweep("--task", "classification", *SMALL, tmp_path=place)
    done = subprocess.run(
        [sys.executable, "-c", code, *command[1:]],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed, retrying" in done.stdout
    (folder,) = store.list_run_folders(place)
    record = store.read_record(folder)
    assert (record.status, record.error) == ("failed", "the process died twice")
    assert json.loads((folder / "record.json").read_text())["config"]["limit"] == 100
    assert not checkpoint.unfinished_runs(place)


def test_what_ended_a_run_is_told():
    ray = pytest.importorskip("ray", reason="needs Ray: pip install '.[sweep]'")
    from rnn_topologies.sweeps import board

    class Raised(ray.exceptions.RayTaskError):
        def __init__(self):
            Exception.__init__(self)

        def __str__(self):
            return "a trace\nValueError: no such thing\n"

    assert board._describe(Raised()) == "ValueError: no such thing"
    assert board._describe(ray.exceptions.RayActorError()) == "the process died twice"
