"""The progress table of a sweep, and the records of runs that could not write their own."""

import pathlib
import time
from typing import Any

from ray import tune
from ray.exceptions import RayTaskError
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rnn_topologies import tasks

from ..runs import store
from ..runs.record import Record, Status, new_record, utc_timestamp
from ..training import checkpoint
from . import plan
from .search import LOSS

MAX_ROWS = 12
LOCK_TIMEOUT = 30  # seconds that a process stopped by Ray gets to release its run


class Board(tune.Callback):
    """Shows the running trials as a live table; outside a terminal, prints a line per finished run.

    Args:
        spec: the sweep.
        results_dir: where to write the records of runs that Ray stopped or whose process died.
        count: number of runs to come.
        finished: number of runs that finished before the sweep was resumed.
    """

    def __init__(
        self, spec: plan.SweepSpec, results_dir: pathlib.Path, count: int, *, finished: int
    ):
        self.spec, self.results_dir = spec, results_dir
        self.count, self.finished = count, finished
        self.console = Console(highlight=False)
        self.started_at = time.perf_counter()
        self.running: dict[str, dict[str, Any]] = {}
        self.statuses: dict[str, str] = {}
        self.live: Live | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles its callbacks, and nothing uses this copy

    def __enter__(self) -> "Board":
        note = f" ({self.finished} already finished)" if self.finished else ""
        self.console.print(f"sweep {self.spec.sweep_id}: {self.count} runs{note}", soft_wrap=True)
        if self.console.is_terminal:
            self.live = Live(self._table(), console=self.console, transient=True)
            self.live.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.running[trial.trial_id] = {
            "run_id": self._run_id(trial),
            "started_at": time.perf_counter(),
        }
        self._refresh()

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        row = self.running.setdefault(trial.trial_id, {"started_at": time.perf_counter()})
        row.update(result)
        self._refresh()

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._print_status(trial, "failed, retrying")

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        status = trial.last_result.get("status")
        if status is None:  # the scheduler stopped it
            error = f"not among the best after epoch {trial.last_result.get('epoch')}"
            self._write_record(trial, "stopped", error)
        self._end(trial, status or "stopped")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._write_record(trial, "failed", _describe(trial.get_pickled_error()))
        self._end(trial, "failed")

    def _run_id(self, trial: Any) -> str:
        return plan.trial_from_config(self.spec, trial.config).run_id

    def _write_record(self, trial: Any, status: Status, error: str) -> None:
        """Writes the record of a run that could not write it itself."""
        run_id = self._run_id(trial)
        folder = store.runs_folder(self.results_dir) / run_id
        if (folder / store.RECORD).is_file():
            return
        deadline = time.monotonic() + LOCK_TIMEOUT
        while checkpoint.is_running(self.results_dir, run_id) and time.monotonic() < deadline:
            time.sleep(0.2)
        record = self._new_record(plan.trial_from_config(self.spec, trial.config))
        rows = checkpoint.saved_epochs(self.results_dir, run_id)
        record.status, record.error, record.epochs_run = status, error, len(rows)
        store.write_run(self.results_dir, record, epochs=rows)
        checkpoint.discard_checkpoint(self.results_dir, run_id)

    def _new_record(self, trial: plan.Trial) -> Record:
        request = checkpoint.read_request(self.results_dir, trial.run_id)
        return new_record(
            tasks.get_task(trial.task)(trial.settings),
            trial.task,
            run_id=trial.run_id,
            started_at=request.started_at if request else utc_timestamp(),
            environment=request.environment if request else {"backend": self.spec.backend},
            git=request.git if request else None,
        )

    def _end(self, trial: Any, status: str) -> None:
        self.running.pop(trial.trial_id, None)
        self.statuses[self._run_id(trial)] = status
        self._print_status(trial, status)
        self._refresh()

    def _print_status(self, trial: Any, text: str) -> None:
        loss = trial.last_result.get(LOSS) if trial.last_result else None
        score = f"  best val_loss {loss:.4f}" if loss is not None else ""
        count = f"{len(self.statuses)}/{self.count}"
        self.console.print(f"{count}  {self._run_id(trial)}  {text}{score}", soft_wrap=True)

    def _refresh(self) -> None:
        if self.live is not None:
            self.live.update(self._table())

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        table.add_column("running", no_wrap=True)
        for name in ("node", "epoch", "val_loss", "seconds"):
            table.add_column(name, justify="right")
        for row in list(self.running.values())[:MAX_ROWS]:
            loss = row.get("validation_loss")
            table.add_row(
                row.get("run_id", ""),
                str(row.get("node", "")),
                str(row.get("epoch", "")),
                "" if loss is None else f"{loss:.4f}",
                f"{time.perf_counter() - row['started_at']:.0f}",
            )
        seconds = time.perf_counter() - self.started_at
        counts = f"{len(self.statuses)} of {self.count} runs finished, {len(self.running)} running"
        return Group(table, Text(f"{counts}, {seconds:.0f} s", style="bold"))


def _describe(error: BaseException | None) -> str:
    """Returns why a run ended that could not write its own record."""
    if isinstance(error, RayTaskError):  # an exception of our own code
        return str(error).strip().splitlines()[-1]
    return "the process died twice"
