"""Sweeps: the trials they consist of, resuming them, and runs that Ray ends."""

import dataclasses
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import types

import psutil
import pytest

from rnn_topologies import tasks
from rnn_topologies.runs import store
from rnn_topologies.runs.record import Record, new_record, utc_timestamp
from rnn_topologies.sweeps import plan, search, tune, worker
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import checkpoint

from ..support import training
from ..support.paths import RUNNER

KILL_RAY_WORKERS = pathlib.Path(__file__).parents[1] / "support/kill_ray_workers"


def make_spec(**changes) -> plan.SweepSpec:
    spec = plan.SweepSpec(
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
    return dataclasses.replace(spec, **changes)


def make_record(trial: plan.Trial, *, status: str = "ok", loss: float = 1.0) -> Record:
    """Returns a record as a finished run of this trial would write it."""
    record = new_record(
        tasks.get_task(trial.task)(trial.settings),
        trial.task,
        run_id=trial.run_id,
        started_at=utc_timestamp(),
        environment={},
        git=None,
    )
    record.status, record.metrics = status, {"validation/loss": loss}
    return record


def test_a_sweep_runs_all_folds(tmp_path):
    (tmp_path / "t.csv").write_text("text,label\na,b\nc,d\n", "utf-8")
    settings = [f"dataset={tmp_path / 't.csv'}", "folds=3"]
    spec = make_spec(tasks=["text_classification"], seeds=2, settings=settings)
    trials = [trial.settings for trial in plan.list_trials(spec)]
    assert [(trial["seed"], trial["fold"]) for trial in trials] == [
        *((0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)),
    ]
    chosen = dataclasses.replace(spec, seeds=1, settings=[*settings, "fold=1,3"])
    assert [trial.settings["fold"] for trial in plan.list_trials(chosen)] == [1, 3]


@pytest.mark.parametrize("changes", [{"search": "optuna"}, {"stop_early": True}])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["dataset=digits,mnist"], "--set dataset: --search optuna and --stop-early compare"),
        (["limit=100..200"], "--set limit: .* not possible on different data"),
        (["folds=3"], "--set folds=K needs --set fold=N"),
    ],
)
def test_losses_on_different_data_are_not_compared(changes, settings, message):
    with pytest.raises(UserError, match=message):
        tune.check_sweep(make_spec(settings=settings, **changes))


def test_a_grid_contains_every_combination_once_seed_by_seed():
    task_names, cells = ("classification", "translation"), ("gru", "lstm")
    trials = plan.list_trials(
        make_spec(
            tasks=list(task_names),
            cells=list(cells),
            seeds=3,
            settings=["units=8,16", "learning-rate=1e-3,1e-2", "dropout=0.1"],
        )
    )
    names = ("cell", "seed", "units", "learning_rate", "dropout")
    combinations = {(trial.task, *(trial.settings[name] for name in names)) for trial in trials}
    assert combinations == set(
        itertools.product(task_names, cells, range(3), (8, 16), (1e-3, 1e-2), (0.1,))
    )
    assert len(trials) == len(combinations) == len({trial.run_id for trial in trials})
    seeds = [trial.settings["seed"] for trial in trials]
    assert seeds == sorted(seeds)


def test_run_ids_follow_from_the_settings():
    first = plan.list_trials(make_spec(settings=["units=8"]))
    assert plan.list_trials(make_spec(settings=["units=8"])) == first
    (other,) = plan.list_trials(make_spec(settings=["units=9"]))
    assert other.run_id != first[0].run_id
    assert first[0].run_id.startswith("20260101T000000Z-classification-gru-seed0-")


def test_random_settings_are_the_same_for_every_cell_and_within_their_range():
    settings = ["units=8..16", "learning_rate=1e-4..1e-1", "horizontal_flip=true,false"]
    trials = plan.list_trials(
        make_spec(cells=["gru", "lstm"], seeds=2, search="random", trials=20, settings=settings)
    )
    assert len(trials) == 80
    samples = {}
    for trial in trials:
        sample = dict(trial.settings)
        samples.setdefault((sample.pop("cell"), sample.pop("seed")), []).append(sample)
    first, *others = samples.values()
    assert all(other == first for other in others)
    assert {type(one["units"]) for one in first} == {int}
    assert all(8 <= one["units"] <= 16 and 1e-4 <= one["learning_rate"] <= 1e-1 for one in first)
    assert {one["horizontal_flip"] for one in first} == {True, False}
    assert sum(one["learning_rate"] < 1e-2 for one in first) > 8  # on a log scale
    assert all(len(f"{one['learning_rate']:.10g}".strip("0.")) <= 6 for one in first)


def test_suggested_settings_are_rounded():
    config = {"cell": "gru", "learning_rate": 0.0012345678}
    trial = plan.trial_from_config(make_spec(), config)
    assert trial.settings == {"seed": 0, "cell": "gru", "learning_rate": 0.00123}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": ["units"]}, "expected NAME=VALUE"),
        (
            {"settings": ["unit=3"]},
            "Unknown setting of classification: 'unit'.*Did you mean 'units'",
        ),
        ({"settings": ["units=big"]}, "--units must be an integer, got 'big'"),
        ({"settings": ["units=0"]}, "--units must be at least 1"),
        ({"settings": ["units=1", "units=2"]}, "given twice"),
        ({"settings": ["horizontal_flip=perhaps"]}, "--horizontal-flip must be true or false"),
        ({"settings": ["units=8..16"]}, "needs --search random"),
        ({"settings": ["units=16..8"], "search": "random"}, "LOW must be less than HIGH"),
        ({"settings": ["seed=1"]}, "use --seeds"),
        ({"cells": ["lstmm"]}, "Unknown cell: 'lstmm'"),
        ({"tasks": ["translaton"]}, "Unknown task: 'translaton'"),
        ({"tasks": ["translation", "classification"], "stop_early": True}, "give a single --task"),
        ({"search": "optuna", "seeds": 2}, "omit --seeds"),
    ],
)
def test_mistakes_are_reported_before_anything_starts(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        tune.run_sweep(make_spec(**changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_saved_sweeps_are_found_by_id_by_prefix_and_last(tmp_path):
    with pytest.raises(UserError, match="No sweep"):
        plan.find_sweep("last", tmp_path)
    plan.save_sweep(make_spec(), tmp_path)
    later = make_spec(sweep_id="20260102T000000Z-sweep-0000", settings=["units=8,16"])
    plan.save_sweep(later, tmp_path)
    assert plan.find_sweep("last", tmp_path) == plan.find_sweep("20260102", tmp_path) == later
    with pytest.raises(UserError, match="Unknown sweep"):
        plan.find_sweep("2026", tmp_path)


def test_an_interrupted_sweep_runs_only_what_has_not_finished(tmp_path, monkeypatch):
    batches = []

    def run_two(ray, spec, remaining, finished, results_dir):
        batches.append([trial.run_id for trial in remaining])
        for trial, status in zip(remaining, ("ok", "failed"), strict=False):
            store.write_run(results_dir, make_record(trial, status=status))
        raise KeyboardInterrupt

    ray = types.SimpleNamespace(shutdown=lambda: None)
    monkeypatch.setattr(tune, "start_ray", lambda spec: ray)
    monkeypatch.setattr(tune, "_run_with_tune", run_two)
    spec = make_spec(cells=["gru", "lstm"], seeds=2)
    run_ids = [trial.run_id for trial in plan.list_trials(spec)]
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            tune.run_sweep(spec, tmp_path)
        spec = plan.find_sweep("last", tmp_path)
    records = tune.run_sweep(spec, tmp_path)  # nothing remains, so Ray is not started
    assert batches == [run_ids, run_ids[2:]]
    assert [record.run_id for record in records] == run_ids


def test_files_sent_by_another_node_become_a_run_folder(tmp_path):
    tune.Collector("s", str(tmp_path)).receive("one", {"record.json": b"{}", "a/b": b"\0"})
    folder = tmp_path / "runs/one"
    assert (folder / "record.json").read_bytes() == b"{}"
    assert (folder / "a/b").read_bytes() == b"\0"


def test_a_worker_runs_a_trial_once_and_reports_its_epochs(tmp_path):
    settings = ["units=4", "limit=60", "epochs=2", "batch_size=64"]
    (trial,) = plan.list_trials(make_spec(cells=["simple_rnn"], settings=settings))
    reports, sent = [], {}
    with training.execution(eager=True):
        record = worker.run_trial(trial, tmp_path, reports.append)
        assert (record.status, record.run_id) == ("ok", trial.run_id)
        assert [row["epoch"] for row in reports] == [1, 2]
        assert reports[1][search.LOSS] == min(row["validation_loss"] for row in reports)
        assert worker.run_trial(trial, tmp_path, reports.append) == record
        assert len(reports) == 2
        record = worker.run_trial_and_send(trial, sent.__setitem__, reports.append)
    assert record.status == "ok"
    assert {"record.json", "weights.npz", "epochs.csv"} < set(sent[trial.run_id])


def test_optuna_suggests_settings_within_range_and_knows_finished_runs():
    pytest.importorskip("ray", reason="needs Ray: pip install '.[sweep]'")
    settings = ["units=2..16", "learning_rate=1e-5..1e-2"]
    spec = make_spec(cells=["gru", "lstm"], search="optuna", settings=settings)
    config = {"cell": "gru", "units": 8, "learning_rate": 1e-3}
    record = make_record(plan.trial_from_config(spec, config), loss=0.5)
    algorithm = search.optuna_search(spec, [record])
    (known,) = algorithm._ot_study.trials
    assert (known.params, known.value) == (config, 0.5)
    suggestions = [algorithm.suggest(str(number)) for number in range(5)]
    for one in suggestions:
        assert one["cell"] in ("gru", "lstm")
        assert 2 <= one["units"] <= 16
        assert 1e-5 <= one["learning_rate"] <= 1e-2
    assert len({one["learning_rate"] for one in suggestions}) == 5


def ray_trial(spec: plan.SweepSpec, **fields) -> types.SimpleNamespace:
    """Returns what a Ray callback is told about the only trial of a sweep."""
    (trial,) = plan.list_trials(spec)
    config = {"trial": trial._asdict()}
    return types.SimpleNamespace(trial_id="1", config=config, **fields)


@pytest.fixture
def board_module():
    pytest.importorskip("ray", reason="needs Ray: pip install '.[sweep]'")
    from rnn_topologies.sweeps import board

    return board


def test_a_run_that_ray_stopped_or_whose_process_died_is_recorded(tmp_path, board_module):
    from ray.exceptions import RayActorError

    spec = make_spec()
    (trial,) = plan.list_trials(spec)
    request = checkpoint.RunRequest(
        run_id=trial.run_id,
        started_at=utc_timestamp(),
        task=trial.task,
        settings=trial.settings,
        backend="tensorflow",
        checkpoint_steps=200,
        environment={"backend": "tensorflow"},
        git=None,
    )
    row = {"epoch": 1, "seconds": 1.0, "learning_rate": 0.1, "loss": 2.0, "val_loss": 3.0}
    stopped = ray_trial(spec, last_result={"epoch": 2, search.LOSS: 3.0})
    died = ray_trial(spec, last_result=None, get_pickled_error=RayActorError)
    for name, event, status, error in (
        ("stopped", "on_trial_complete", "stopped", "not among the best after epoch 2"),
        ("died", "on_trial_error", "failed", "the process died twice"),
    ):
        results_dir = tmp_path / name
        folder = checkpoint.checkpoint_folder(results_dir, trial.run_id)
        manager = checkpoint.CheckpointManager(folder, request)
        manager.save({"progress": {"rows": [row]}}, {})
        manager.close(keep=True)
        board = board_module.Board(spec, results_dir, 1, finished=0)
        getattr(board, event)(0, [], stopped if name == "stopped" else died)
        (run,) = store.list_run_folders(results_dir)
        record = store.read_record(run)
        assert (record.status, record.error, record.epochs_run) == (status, error, 1)
        assert record.started_at == request.started_at
        assert store.read_epochs(run) == [row]
        assert not checkpoint.unfinished_runs(results_dir)


def test_the_error_of_a_run_is_the_last_line_of_its_traceback(board_module):
    from ray.exceptions import RayActorError, RayTaskError

    class RaisedError(RayTaskError):
        def __init__(self):
            Exception.__init__(self)

        def __str__(self):
            return "a trace\nValueError: no such thing\n"

    assert board_module._describe(RaisedError()) == "ValueError: no such thing"
    assert board_module._describe(RayActorError()) == "the process died twice"


def start_sweep(
    results_dir: pathlib.Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(RUNNER), "sweep", *arguments, "--results-dir", str(results_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


SMALL = ("--task", "classification", "--set", "limit=100", "--set", "epochs=3", "--set", "units=4")


@pytest.mark.slow
def test_a_killed_sweep_is_resumed_and_runs_nothing_twice(tmp_path):
    process = start_sweep(tmp_path, *SMALL, "--cell", "simple_rnn,gru", "--max-concurrent", "1")
    for line in process.stdout:
        if line.startswith("1/2"):
            break
    descendants = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(descendants, timeout=60)  # Ray ends them with the driver
    assert not alive
    (first,) = store.list_run_folders(tmp_path)
    modified_at = (first / "record.json").stat().st_mtime_ns
    process = start_sweep(tmp_path, "--resume", "last")
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors
    assert "(1 already finished)" in output
    runs = store.load_runs(tmp_path)
    assert sorted(runs["cell"]) == ["gru", "simple_rnn"]
    assert set(runs["status"]) == {"ok"}
    assert (first / "record.json").stat().st_mtime_ns == modified_at
    assert not checkpoint.unfinished_runs(tmp_path)


@pytest.mark.slow
def test_runs_of_a_sweep_find_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{'a good' if n % 2 else 'a bad'} film {n},{n % 2}\n" for n in range(40))
    (tmp_path / "t.csv").write_text(f"text,label\n{rows}", "utf-8")
    settings = ("--set", "dataset=t.csv", "--set", "epochs=1", "--set", "units=4")
    process = start_sweep(tmp_path, "--task", "text_classification", *settings)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors
    assert set(store.load_runs(tmp_path)["status"]) == {"ok"}


@pytest.mark.slow
def test_optuna_searches_and_poor_runs_are_stopped_early_and_recorded(tmp_path):
    process = start_sweep(
        tmp_path,
        *("--task", "classification", "--cell", "simple_rnn", "--search", "optuna"),
        *("--trials", "3", "--stop-early", "--set", "units=2..16", "--set", "limit=100"),
        *("--set", "learning_rate=1e-5..1e-2", "--set", "epochs=4"),
    )
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors
    runs = store.load_runs(tmp_path)
    assert len(runs) == 3
    assert set(runs["status"]) <= {"ok", "stopped"}
    assert runs["config/units"].nunique() > 1
    assert not checkpoint.unfinished_runs(tmp_path)
    for _, run in runs[runs["status"] == "stopped"].iterrows():
        assert "not among the best after epoch" in run["error"]
        assert run["epochs_run"] >= 1


@pytest.mark.slow
def test_a_run_whose_process_is_killed_twice_is_recorded(tmp_path):
    """As when the machine runs out of memory: the process cannot write anything."""
    process = start_sweep(
        tmp_path, *SMALL, "--cell", "simple_rnn", PYTHONPATH=str(KILL_RAY_WORKERS)
    )
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 1, output + errors
    assert "failed, retrying" in output
    (folder,) = store.list_run_folders(tmp_path)
    record = store.read_record(folder)
    assert (record.status, record.error) == ("failed", "the process died twice")
    assert json.loads((folder / "record.json").read_text())["config"]["limit"] == 100
    assert not checkpoint.unfinished_runs(tmp_path)
