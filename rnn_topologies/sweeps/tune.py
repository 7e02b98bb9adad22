"""Runs a sweep with Ray Tune, on this machine or on a cluster."""

import logging
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from rnn_topologies import tasks
from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError, unknown_name

from ..runs import store
from ..runs.record import FINAL_STATUSES, Record
from ..training import environment
from . import plan, search, worker
from .search import LOSS

DATA_SETTINGS = ("dataset", "limit", "folds", "fold")  # they select the examples


def run_sweep(spec: plan.SweepSpec, results_dir: str | pathlib.Path) -> list[Record]:
    """Runs the trials of a sweep that have not finished yet, and returns all its records.

    Args:
        spec: the sweep.
        results_dir: folder of results; nodes that cannot access it send their runs to it.

    Raises:
        UserError: a setting is invalid, Ray is missing, or there is no cluster at the address.
        KeyboardInterrupt: the user interrupted the sweep; finished runs are kept.
    """
    check_sweep(spec)
    results_dir = pathlib.Path(results_dir).absolute()
    filesystem.check_writable(results_dir, "--results-dir")
    trials = None if spec.search == "optuna" else plan.list_trials(spec)
    finished = finished_runs(spec, trials, results_dir)
    remaining = [trial for trial in trials or () if trial.run_id not in finished]
    count = len(remaining) if trials is not None else spec.trials - len(finished)
    if count > 0:
        ray = start_ray(spec)
        plan.save_sweep(spec, results_dir)
        try:
            _run_with_tune(ray, spec, remaining, list(finished.values()), results_dir)
        finally:
            ray.shutdown()
    return list(finished_runs(spec, trials, results_dir).values())


def check_sweep(spec: plan.SweepSpec) -> None:
    """Checks the specification before anything is started.

    Raises:
        UserError: it contains unknown names or contradictory options.
    """
    for name in spec.tasks:
        tasks.get_task(name)
        plan.parse_settings(spec, name)
    known = cell_names(spec.backend)
    for cell in spec.cells:
        if cell not in known:
            raise UserError(unknown_name("cell", cell, known))
    if spec.stop_early or spec.search == "optuna":
        _check_losses_are_comparable(spec)
    if spec.search == "optuna" and spec.seeds > 1:
        raise UserError("--search optuna tries each setting with one seed: omit --seeds.")


def _check_losses_are_comparable(spec: plan.SweepSpec) -> None:
    """Checks that all trials are validated on the same examples."""
    if len(spec.tasks) > 1:
        raise UserError("Losses of different tasks cannot be compared: give a single --task.")
    settings = plan.parse_settings(spec, spec.tasks[0])
    if "folds" in settings and "fold" not in settings:
        raise UserError("--set folds=K needs --set fold=N with --search optuna and --stop-early.")
    for name, values in settings.items():
        if name in DATA_SETTINGS and (isinstance(values, plan.Range) or len(values) > 1):
            raise UserError(
                f"--set {name}: --search optuna and --stop-early compare losses, which is not "
                f"possible on different data. Give a single value of {name}."
            )


def cell_names(backend: str) -> list[str]:
    """Returns the names of all cells. Imports Keras with the given backend."""
    os.environ["KERAS_BACKEND"] = backend
    environment.silence_tensorflow()
    with environment.hide_native_output(sys.stderr):
        from rnn_topologies import layers
    return list(layers.CELLS)


def start_ray(spec: plan.SweepSpec) -> Any:
    """Starts Ray on this machine, or connects to a cluster, and returns the `ray` module.

    Raises:
        UserError: there is no cluster at the address.
    """
    os.environ |= {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",  # so that trials find relative paths
    }
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the board reports failed runs
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        with environment.hide_native_output(sys.stderr):
            ray.init(
                address=spec.address or "local",
                num_cpus=None if spec.address else environment.available_cores(),
                include_dashboard=None if spec.address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--address {spec.address}: no Ray cluster at this address.") from error
    return ray


def finished_runs(
    spec: plan.SweepSpec, trials: Sequence[plan.Trial] | None, results_dir: pathlib.Path
) -> dict[str, Record]:
    """Returns the records of a sweep's runs that finished or failed, by run id.

    Args:
        spec: the sweep.
        trials: its trials, or None if a search suggests them as it goes.
        results_dir: folder of results.
    """
    if trials is None:
        prefix = f"{spec.sweep_id.partition('-')[0]}-{spec.tasks[0]}-"
        folders = store.list_run_folders(results_dir)
        run_ids = [folder.name for folder in folders if folder.name.startswith(prefix)]
    else:
        run_ids = [trial.run_id for trial in trials]
    records = {run_id: store.find_record(results_dir, run_id) for run_id in run_ids}
    return {
        run_id: record
        for run_id, record in records.items()
        if record is not None and record.status in (*FINAL_STATUSES, "failed")
    }


def _run_with_tune(
    ray: Any,
    spec: plan.SweepSpec,
    remaining: Sequence[plan.Trial],
    finished: Sequence[Record],
    results_dir: pathlib.Path,
) -> None:
    """Runs trials with Ray Tune, and returns when all have ended.

    Args:
        ray: the module.
        spec: the sweep.
        remaining: trials to run; ignored if a search suggests them.
        finished: records of the runs that finished before the sweep was resumed.
        results_dir: where to write runs.
    """
    from ray import tune
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from .board import Board

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    collector = (
        ray.remote(Collector)
        .options(num_cpus=0, scheduling_strategy=here)
        .remote(spec.sweep_id, str(results_dir))
    )
    shared = {"spec": spec, "results_dir": str(results_dir), "collector": collector}
    trainable = tune.with_resources(
        tune.with_parameters(_train, **shared), {"cpu": spec.cpus_per_run}
    )
    if spec.search == "optuna":
        space, algorithm = {}, search.optuna_search(spec, finished)
        count = samples = spec.trials - len(finished)
    else:
        space = {"trial": tune.grid_search([trial._asdict() for trial in remaining])}
        algorithm, count, samples = None, len(remaining), 1
    tune_config = tune.TuneConfig(
        metric=LOSS,
        mode="min",
        num_samples=samples,
        search_alg=algorithm,
        scheduler=search.asha_scheduler(spec) if spec.stop_early else None,
        max_concurrent_trials=spec.max_concurrent,
    )
    storage = tempfile.mkdtemp(prefix="rnn-topologies-ray-")
    ray.get(collector.mark.remote())
    try:
        with Board(spec, results_dir, count, finished=len(finished)) as board:
            run_config = tune.RunConfig(
                name=spec.sweep_id,
                storage_path=storage,
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[board],
                verbose=0,
            )
            tuner = tune.Tuner(
                trainable, param_space=space, tune_config=tune_config, run_config=run_config
            )
            tuner.fit()
    finally:
        ray.get(collector.unmark.remote())
        shutil.rmtree(storage, ignore_errors=True)


class Collector:
    """A Ray actor on the node of the results folder; receives runs from nodes without access."""

    def __init__(self, sweep_id: str, results_dir: str):
        self.results_dir = pathlib.Path(results_dir)
        self.marker = _marker(self.results_dir, sweep_id)

    def mark(self) -> None:
        filesystem.make_folder(self.results_dir)
        self.marker.touch()

    def unmark(self) -> None:
        self.marker.unlink(missing_ok=True)

    def receive(self, run_id: str, files: Mapping[str, bytes]) -> None:
        store.write_run_files(self.results_dir, run_id, files)


def _marker(results_dir: pathlib.Path, sweep_id: str) -> pathlib.Path:
    """Returns a file that exists while the sweep runs, where its results folder is accessible."""
    return results_dir / f".{sweep_id}"


def _train(
    config: Mapping[str, Any], *, spec: plan.SweepSpec, results_dir: str, collector: Any
) -> dict[str, Any]:
    """Runs one trial in a Ray worker, and returns its last report."""
    import ray
    from ray import tune

    worker.set_up_backend(spec.backend, spec.cpus_per_run)
    trial = plan.trial_from_config(spec, config)
    facts = {"run_id": trial.run_id, "node": ray.util.get_node_ip_address()}

    def report(figures: dict[str, Any]) -> None:
        tune.report({**figures, **facts})

    def send(run_id: str, files: dict[str, bytes]) -> None:
        ray.get(collector.receive.remote(run_id, files))

    if _marker(pathlib.Path(results_dir), spec.sweep_id).is_file():
        record = worker.run_trial(trial, pathlib.Path(results_dir), report)
    else:
        record = worker.run_trial_and_send(trial, send, report)
    loss = record.metrics.get("validation/loss", float("inf"))
    return {**facts, "status": record.status, "epoch": record.epochs_run, LOSS: loss}
