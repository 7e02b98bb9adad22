"""Grids of runs through Ray Tune, on this machine or on a cluster.

Every run is named after the sweep and its settings, and is an ordinary run folder: what has been
done is seen from the folders. So a sweep that was cut off goes on, whatever Ray remembers.
"""

import logging
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from rnn_topologies import tasks
from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.errors import UserError, unknown_name

from ..runs import store
from ..runs.record import FINAL_STATUSES, Record
from ..training import environment
from . import plan, search, worker
from .board import Board
from .search import LOSS


def run(asked: plan.Asked, results_dir: str | pathlib.Path) -> list[Record]:
    """Runs what a sweep was asked to, as far as it has not been done, and returns all records.

    Args:
        asked: what to run, and how.
        results_dir: folder of results; runs on nodes that do not see it are sent there.

    Raises:
        UserError: a setting is wrong, Ray is missing, or there is no cluster at the address.
        KeyboardInterrupt: the user asked to stop; what has been done is kept.
    """
    check(asked)
    results_dir = pathlib.Path(results_dir).absolute()
    filesystem.check_writable(results_dir, "--results-dir")
    planned = None if asked.search == "optuna" else plan.trials(asked)
    done = finished(asked, planned, results_dir)
    left = [one for one in planned or () if one.run_id not in done]
    count = len(left) if planned is not None else asked.trials - len(done)
    if count > 0:
        ray = connect(asked)
        plan.save(asked, results_dir)
        try:
            _tune(ray, asked, left, list(done.values()), results_dir)
        finally:
            ray.shutdown()
    return list(finished(asked, planned, results_dir).values())


def check(asked: plan.Asked) -> None:
    """Refuses what makes no sense, before anything is started.

    Raises:
        UserError: says what.
    """
    for name in asked.tasks:
        tasks.get_task(name)
        plan.values_of(asked, name)
    known = cells(asked.backend)
    for cell in asked.cells:
        if cell not in known:
            raise UserError(unknown_name("cell", cell, known))
    if (asked.stop_early or asked.search == "optuna") and len(asked.tasks) > 1:
        raise UserError("Losses of different tasks cannot be compared: give one --task.")
    if asked.search == "optuna" and asked.seeds > 1:
        raise UserError("--search optuna tries each setting with one seed: leave --seeds out.")


def cells(backend: str) -> list[str]:
    """Returns the names of the cells; imports Keras on the backend."""
    os.environ["KERAS_BACKEND"] = backend
    environment.silence_tensorflow()
    with environment.hide_native_output(sys.stderr):
        from rnn_topologies import layers
    return list(layers.CELLS)


def connect(asked: plan.Asked):
    """Starts Ray here, or joins the cluster at the address, and returns its module.

    Raises:
        UserError: it is not installed, or there is no cluster.
    """
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_SIGINT_HANDLER": "1"}
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what became of a run, the board says
    try:
        import ray
    except ImportError as error:
        raise UserError("Sweeps need Ray Tune: pip install 'rnn-topologies[sweep]'.") from error
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        with environment.hide_native_output(sys.stderr):
            ray.init(
                address=asked.address or "local",
                num_cpus=None if asked.address else environment.available_cores(),
                include_dashboard=None if asked.address else False,
                log_to_driver=False,
                logging_level="CRITICAL",
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--address {asked.address}: no cluster answers there.") from error
    return ray


def finished(asked: plan.Asked, planned, results_dir) -> dict[str, Record]:
    """Returns the records of those runs of a sweep that came to an end, by their ids.

    Args:
        asked: the sweep.
        planned: its runs, or None if it proposes them as it goes.
        results_dir: where they are.
    """
    if planned is None:
        start = f"{asked.sweep_id.partition('-')[0]}-{asked.tasks[0]}-"
        found_folders = store.list_run_folders(results_dir)
        names = [folder.name for folder in found_folders if folder.name.startswith(start)]
    else:
        names = [one.run_id for one in planned]
    found = {}
    for name in names:
        record = store.find_record(results_dir, name)
        if record is not None and record.status in (*FINAL_STATUSES, "failed"):
            found[name] = record
    return found


def _tune(ray, asked, left, done, results_dir) -> None:
    """Gives the runs that are left to Ray Tune, and waits for them.

    Args:
        ray: the module.
        asked: the sweep.
        left: runs of a grid that are left.
        done: records of those that an earlier call has done.
        results_dir: where to write.
    """
    from ray import tune
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    collector = (
        ray.remote(Collector)
        .options(num_cpus=0, scheduling_strategy=here)
        .remote(asked.sweep_id, str(results_dir))
    )
    common = {"asked": asked, "results_dir": str(results_dir), "collector": collector}
    trainable = tune.with_resources(
        tune.with_parameters(_trial, **common), {"cpu": asked.cpus_per_run}
    )
    if asked.search == "optuna":
        space, algorithm, count = {}, search.optuna(asked, done), asked.trials - len(done)
    else:
        space = {"trial": tune.grid_search([one._asdict() for one in left])}
        algorithm, count = None, 1
    settings = tune.TuneConfig(
        metric=LOSS,
        mode="min",
        num_samples=count,
        search_alg=algorithm,
        scheduler=search.scheduler(asked) if asked.stop_early else None,
        max_concurrent_trials=asked.max_concurrent,
    )
    scratch = tempfile.mkdtemp(prefix="rnn-topologies-ray-")
    ray.get(collector.mark.remote())
    try:
        with Board(asked, results_dir, len(left) or count, already=len(done)) as board:
            told = tune.RunConfig(
                name=asked.sweep_id,
                storage_path=scratch,
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[board],
                verbose=0,
            )
            tune.Tuner(trainable, param_space=space, tune_config=settings, run_config=told).fit()
    finally:
        ray.get(collector.unmark.remote())
        shutil.rmtree(scratch, ignore_errors=True)


class Collector:
    """An actor beside the results folder, which takes in runs from nodes that do not see it."""

    def __init__(self, sweep_id: str, results_dir: str):
        self.results_dir = pathlib.Path(results_dir)
        self.token = _token(self.results_dir, sweep_id)

    def mark(self) -> None:
        filesystem.make(self.results_dir)
        self.token.touch()

    def unmark(self) -> None:
        self.token.unlink(missing_ok=True)

    def receive(self, run_id: str, files: Mapping[str, bytes]) -> None:
        store.write_run_files(self.results_dir, run_id, files)


def _token(results_dir: pathlib.Path, sweep_id: str) -> pathlib.Path:
    """A file by which a node sees that its results folder is the one of the sweep."""
    return results_dir / f".{sweep_id}"


def _trial(config: Mapping[str, Any], *, asked, results_dir: str, collector) -> dict:
    """What Ray runs: see `worker`."""
    import ray
    from ray import tune

    worker.begin(asked.backend, asked.cpus_per_run)
    trial = plan.of(asked, config)
    results_dir = pathlib.Path(results_dir)
    tell = {"run_id": trial.run_id, "node": ray.util.get_node_ip_address()}

    def report(figures):
        tune.report({**figures, **tell})

    if _token(results_dir, asked.sweep_id).is_file():
        record = worker.work(trial, results_dir, report)
    else:
        record = worker.work_apart(
            trial, lambda *sent: ray.get(collector.receive.remote(*sent)), report
        )
    best = record.metrics.get("validation/loss", float("inf"))
    return {**tell, "status": record.status, "epoch": record.epochs_run, LOSS: best}
