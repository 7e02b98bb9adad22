"""What a sweep shows while it goes on, and the records of runs that could not write their own."""

import pathlib
import time

import ray
from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rnn_topologies import tasks

from ..runs import store
from ..runs.record import Status, new_record, utc_timestamp
from ..training import checkpoint
from . import plan

SHOWN = 12  # runs at a time
PATIENCE = 30  # seconds for a process that Ray has stopped to let go of its run


class Board(tune.Callback):
    """A table that follows the runs; in a file, a line for each that ends.

    Args:
        asked: the sweep.
        results_dir: where records are written of runs that Ray stopped or that died.
        count: runs to come.
        already: runs that an earlier call has done.
    """

    def __init__(self, asked: plan.Asked, results_dir: pathlib.Path, count: int, *, already: int):
        self.asked, self.results_dir = asked, results_dir
        self.count, self.already = count, already
        self.console = Console(highlight=False)
        self.began = time.perf_counter()
        self.running, self.ended = {}, {}
        self.live = None

    def __getstate__(self):
        return {}  # Ray keeps a copy of all that it is given, and nobody asks this one

    def __enter__(self):
        note = f" ({self.already} were done before)" if self.already else ""
        self.console.print(f"sweep {self.asked.sweep_id}: {self.count} runs{note}", soft_wrap=True)
        if self.console.is_terminal:
            self.live = Live(self._table(), console=self.console, transient=True)
            self.live.start()
        return self

    def __exit__(self, *error):
        if self.live is not None:
            self.live.stop()
            self.live = None

    def on_trial_start(self, iteration, trials, trial, **info):
        self.running[trial.trial_id] = {"run_id": self._run_of(trial), "began": time.perf_counter()}
        self._refresh()

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.running.setdefault(trial.trial_id, {"began": time.perf_counter()}).update(result)
        self._refresh()

    def on_trial_recover(self, iteration, trials, trial, **info):
        self._say(trial, "failed: once more")

    def on_trial_complete(self, iteration, trials, trial, **info):
        status = trial.last_result.get("status")
        if status is None:
            text = f"not among the best after epoch {trial.last_result.get('epoch')}"
            self._record(trial, "stopped", text)
        self._end(trial, status or "stopped")

    def on_trial_error(self, iteration, trials, trial, **info):
        self._record(trial, "failed", _said(trial.get_pickled_error()))
        self._end(trial, "failed")

    def _run_of(self, trial) -> str:
        return plan.of(self.asked, trial.config).run_id

    def _record(self, trial, status: Status, error: str) -> None:
        """Writes the record of a run that did not come to write one."""
        run_id = self._run_of(trial)
        folder = store.runs_folder(self.results_dir) / run_id
        if (folder / store.RECORD).is_file():
            return
        deadline = time.monotonic() + PATIENCE
        while checkpoint.is_running(self.results_dir, run_id) and time.monotonic() < deadline:
            time.sleep(0.2)
        record, rows = self._known(trial, run_id)
        record.status, record.error, record.epochs_run = status, error, len(rows)
        store.write_run(self.results_dir, record, epochs=rows)
        checkpoint.discard_checkpoint(self.results_dir, run_id)

    def _known(self, trial, run_id: str):
        """Returns what is known of a run: its settings, and the epochs that it saved."""
        asked = plan.of(self.asked, trial.config)
        task = tasks.get_task(asked.task)(asked.settings)
        begun = checkpoint.read_request(self.results_dir, run_id)
        record = new_record(
            task,
            asked.task,
            run_id=run_id,
            started_at=begun.started_at if begun else utc_timestamp(),
            environment=begun.environment if begun else {"backend": self.asked.backend},
            git=begun.git if begun else None,
        )
        return record, checkpoint.saved_epochs(self.results_dir, run_id)

    def _end(self, trial, status: str) -> None:
        self.running.pop(trial.trial_id, None)
        self.ended[self._run_of(trial)] = status
        self._say(trial, status)
        self._refresh()

    def _say(self, trial, text: str) -> None:
        done = f"{len(self.ended)}/{self.count}"
        loss = trial.last_result.get("best_validation_loss") if trial.last_result else None
        figure = f"  best val_loss {loss:.4f}" if loss is not None else ""
        self.console.print(f"{done}  {self._run_of(trial)}  {text}{figure}", soft_wrap=True)

    def _refresh(self) -> None:
        if self.live is not None:
            self.live.update(self._table())

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        table.add_column("running", no_wrap=True)
        for name in ("node", "epoch", "val_loss", "seconds"):
            table.add_column(name, justify="right")
        for one in list(self.running.values())[:SHOWN]:
            loss = one.get("validation_loss")
            table.add_row(
                one.get("run_id", ""),
                str(one.get("node", "")),
                str(one.get("epoch", "")),
                "" if loss is None else f"{loss:.4f}",
                f"{time.perf_counter() - one['began']:.0f}",
            )
        spent = time.perf_counter() - self.began
        line = f"{len(self.ended)} of {self.count} runs ended, {len(self.running)} running"
        return Group(table, Text(f"{line}, {spent:.0f} s", style="bold"))


def _said(error: BaseException | None) -> str:
    """Returns what ended a run that could not say it itself."""
    if isinstance(error, ray.exceptions.RayTaskError):  # our own code raised it
        return str(error).strip().splitlines()[-1]
    return "the process died, twice"
