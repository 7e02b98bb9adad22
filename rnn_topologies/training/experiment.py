"""Experiments: one run from data, model and training to its scores and its record."""

import contextlib
import functools
import math
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
import tensorboard.summary  # noqa: F401 - if it is missing, fail before training, not after

from rnn_topologies import tasks
from rnn_topologies.tasks import progress
from rnn_topologies.tasks.base import Data, Task
from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.data.batching import Batches
from rnn_topologies.tasks.errors import NotWrittenError, UserError

from ..runs import model_io, store
from ..runs.record import Record, Status, new_record, new_run_id, utc_timestamp
from . import baseline_cache, evaluation, strategy
from .callbacks import DivergedError
from .checkpoint import CheckpointManager, RunRequest, checkpoint_folder
from .display import RunDisplay
from .environment import describe_environment, describe_reproducibility, git_state
from .interruption import StopRequest
from .loop import Trainer, compile_model
from .memory import describe_error, is_out_of_memory

Stage: TypeAlias = Literal["data", "training", "test"]
MEMORY_HINTS: Mapping[Stage, str] = {
    "data": "out of memory while reading the data. Try fewer examples: --limit.",
    "training": "out of memory in training. Try a smaller --batch-size.",
    "test": "out of memory while testing the model. Its weights are saved; to test it again: "
    "--resume {run_id}.",
}


def run_experiment(
    task_name: str,
    settings: Mapping[str, Any],
    *,
    results_dir: str | pathlib.Path,
    display: RunDisplay,
    checkpoint_steps: int = 200,
    run_id: str | None = None,
) -> tuple[Record, pathlib.Path]:
    """Runs a task and writes its record, even if it fails, diverges or is interrupted.

    Args:
        task_name: name of a task.
        settings: values for fields of the task's `Config`; the rest keep their defaults.
        results_dir: folder under which `runs/<run id>/` is written.
        display: receives the events of the run.
        checkpoint_steps: steps between checkpoints; there is also one after every epoch.
        run_id: id of the run. Default: a new one.

    Returns:
        `(record, folder)`. In a distributed run, only the chief's folder exists.

    Raises:
        UserError: a setting is invalid, or something that the user must provide is missing;
            nothing is written.
        NotWrittenError: the results folder is no longer writable.
        Exception: the run failed; a record with status `failed` was written.
    """
    task = tasks.get_task(task_name)(settings)
    model_io.check_cell(task.config.cell)
    baseline_cache.is_enabled()  # checks the environment variable before training
    if not strategy.is_chief():
        results_dir = tempfile.mkdtemp(prefix="rnn-topologies-")  # deleted at the end
    filesystem.check_writable(results_dir, "--results-dir")
    request = RunRequest(
        run_id=run_id or new_run_id(task_name, task.config.cell, task.config.seed),
        started_at=utc_timestamp(),
        task=task_name,
        settings={**settings, **task.local_paths()},
        backend=keras.backend.backend(),
        checkpoint_steps=checkpoint_steps,
        environment=describe_environment() | strategy.describe_strategy(),
        git=git_state(),
        strategy="data_parallel" if strategy.is_distributed() else None,
    )
    folder = checkpoint_folder(results_dir, request.run_id)
    return _execute(task, CheckpointManager(folder, request), display)


def resume_experiment(
    checkpoint: CheckpointManager, *, display: RunDisplay
) -> tuple[Record, pathlib.Path]:
    """Resumes an interrupted run; it ends as it would have without the interruption.

    Args:
        checkpoint: see `checkpoint.find_checkpoint`; Keras must use its backend.
        display: receives the events of the run.

    Returns:
        `(record, folder)`.

    Raises:
        UserError, NotWrittenError, Exception: as `run_experiment`.
    """
    request = checkpoint.request
    task = tasks.get_task(request.task)(request.settings)
    environment = describe_environment() | strategy.describe_strategy()
    for name, before, now in (
        ("environment", request.environment, environment),
        ("commit", request.git, git_state()),
    ):
        if before != now:
            display.note(
                f"the {name} has changed since the run started: results may differ in the last "
                "digits"
            )
    return _execute(task, checkpoint, display)


def _execute(
    task: Task, checkpoint: CheckpointManager, display: RunDisplay
) -> tuple[Record, pathlib.Path]:
    Batches.user_error = None  # an earlier run of this process may have set it
    stop = StopRequest()
    run = _Run(task, checkpoint, display, stop)
    with stop.handle_signals():
        try:
            run.train_and_evaluate()
        except KeyboardInterrupt:
            run.finish("interrupted", f"stopped by {stop.signal.name}" if stop.signal else None)
        except DivergedError as error:
            run.record.diverged_step = error.step
            run.finish("diverged", describe_error(error))
        except Exception as error:
            # TensorFlow wraps errors raised while a batch is read.
            error = Batches.user_error or error
            if is_out_of_memory(error) and not isinstance(error, UserError):
                hint = MEMORY_HINTS[run.stage].format(run_id=run.record.run_id)
                error = MemoryError(f"{hint} ({describe_error(error)})")
            if run.model is None and isinstance(error, UserError):
                checkpoint.close(keep=checkpoint.has_checkpoint())
            else:
                run.finish("failed", describe_error(error))
            raise error from None
        else:
            run.finish("ok")
    if strategy.is_chief():
        display.show_result(run.record, run.examples, run.folder)
    return run.record, run.folder


class _Run:
    """The state of a run. `finish` can write it at any point."""

    def __init__(
        self, task: Task, checkpoint: CheckpointManager, display: RunDisplay, stop: StopRequest
    ):
        self.task, self.checkpoint, self.display, self.stop = task, checkpoint, display, stop
        self.data: Data | None = None
        self.model: keras.Model | None = None
        self.trainer: Trainer | None = None
        self.examples: Sequence[Mapping[str, Any]] = []
        self.explained: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}
        self.stage: Stage = "data"
        request = checkpoint.request
        self.folder = store.runs_folder(checkpoint.results_dir) / request.run_id
        self.record = new_record(
            task,
            request.task,
            run_id=request.run_id,
            started_at=request.started_at,
            environment=request.environment,
            git=request.git,
        )

    def train_and_evaluate(self) -> None:
        task = self.task
        saved = self.checkpoint.load()
        self.record.reproducible = describe_reproducibility(task.config.deterministic)
        data = self.data = self._load_data()
        self.stage = "training"
        started_at = time.perf_counter()
        # After loading: TFDS draws from Python's generator when it prepares a data set, and Keras
        # takes the seeds of initializers from that generator.
        keras.utils.set_random_seed(task.config.seed)
        model = self.model = task.build_model(data)
        trainer = self.trainer = Trainer(
            model,
            task,
            data,
            self.display,
            checkpoint_steps=self.checkpoint.request.checkpoint_steps,
            save=functools.partial(self._save_checkpoint, data),
            stop=self.stop,
        )
        if saved is not None:
            self._restore_checkpoint(trainer, data, *saved)
        self._train(trainer, started_at)
        if strategy.is_distributed():
            if not strategy.is_chief():
                return
            model = self.model = self._rebuild_locally(model, data)
        self.stage = "test"
        self._test(trainer, model, data)

    def _load_data(self) -> Data:
        stage = self.display.stage(f"data {self.task.dataset}", has_bars=True)
        with stage, self._timed("data"):
            data = self.task.load_data()
        for line in self.task.describe_data(data):
            self.display.note(line)
        self.record.data = {
            "name": data.name,
            "examples": {name: len(split) for name, split in data.splits.items()},
            "sha256": data.sha256,
            **data.notes,
        }
        if lengths := data.notes.get("sampled_from"):
            self.display.note(
                f"--limit {self.task.config.limit}: sampled "
                + ", ".join(
                    f"{len(data.splits[name]):,} of {length:,} {name}"
                    for name, length in lengths.items()
                )
                + " examples"
            )
        for warning in data.notes.get("warnings", ()):
            self.display.note(f"warning: {warning}")
        return data

    def _train(self, trainer: Trainer, started_at: float) -> None:
        """Trains the model; the time until the first step ends counts as compilation."""
        before = dict(self.seconds)
        try:
            with self.display.training(self.task.config.epochs):
                trainer.train_model()
        finally:
            ended_at = time.perf_counter()
            first_step_at = trainer.first_step_at or ended_at
            self.seconds["compile"] = before.get("compile", 0.0) + first_step_at - started_at
            self.seconds["fit"] = before.get("fit", 0.0) + ended_at - first_step_at
        self.record.best_epoch = trainer.progress.best_epoch

    def _rebuild_locally(self, model: keras.Model, data: Data) -> keras.Model:
        """Returns a copy of a distributed model that runs in this process alone."""
        strategy.disable_data_parallel()
        arrays = list(model_io.weights_by_name(model).values())
        model = self.task.build_model(data)
        model.set_weights(arrays)
        compile_model(model, self.task, 1, self.task.metrics())
        return model

    def _save_checkpoint(
        self, data: Data, progress: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        metadata = {
            "progress": progress,
            "seconds": self.seconds,
            "resumed": self.record.resumed,
            "sha256": data.sha256,
        }
        try:
            self.checkpoint.save(metadata, arrays)
        except OSError as error:
            self.display.note(
                f"cannot save a checkpoint: {error.strerror}; training continues without it"
            )

    def _restore_checkpoint(
        self,
        trainer: Trainer,
        data: Data,
        metadata: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        if metadata["sha256"] != data.sha256:
            raise UserError(
                f"{self.task.dataset} has changed since {self.record.run_id} started. Start a new "
                "run, or restore the original data."
            )
        progress = metadata["progress"]
        trainer.restore(progress, arrays)
        self.seconds = metadata["seconds"]
        epoch, step = progress["epoch"], progress["step"]
        resumption = {"at": utc_timestamp(), "epoch": epoch, "step": step}
        self.record.resumed = [*metadata["resumed"], resumption]
        self.display.note(f"resuming after epoch {epoch}, step {step}")

    def _test(self, trainer: Trainer, model: keras.Model, data: Data) -> None:
        task, record, note = self.task, self.record, self.display.note
        record.metrics = _best_validation_metrics(trainer)
        self._save_before_test()
        with (
            self.display.stage("test"),
            progress.shown_by(self.display.part),
            self._timed("evaluate"),
        ):
            self.examples = evaluation.score_model(task, model, data, record)
            self.explained = evaluation.explain_examples(
                task, model, data, self.examples, record, note
            )
            evaluation.score_baselines(task, data, record, note)

    def _save_before_test(self) -> None:
        """Writes the run with its weights, so that a failure in the test stage cannot lose them."""
        self._complete_record("interrupted", "the test stage did not finish")
        try:
            self._write(self.checkpoint.results_dir)
        except OSError as error:
            self.display.note(f"cannot save the run before it is tested: {error.strerror}")

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started_at = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started_at
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def finish(self, status: Status, error: str | None = None) -> None:
        """Writes the run as far as it got, and deletes its checkpoint unless it can be resumed.

        Raises:
            NotWrittenError: the results folder is not writable.
        """
        if not strategy.is_chief():
            self.checkpoint.close(keep=False)
            shutil.rmtree(self.checkpoint.results_dir, ignore_errors=True)
            return
        self._complete_record(status, error)
        try:
            self._write(self.checkpoint.results_dir)
        except OSError as os_error:
            self._write_elsewhere(os_error)
        if status == "failed" and self.stage == "test":
            self.display.note(
                f"the run failed after training; its weights are saved in {self.folder}"
            )
        has_failed = status == "failed" and self.checkpoint.has_checkpoint()
        self.checkpoint.close(keep=status == "interrupted" or has_failed)

    def _write(self, results_dir: str | pathlib.Path) -> pathlib.Path:
        """Writes the run so far to a results folder, and returns the folder of the run."""
        preprocessors = self.data.preprocessors if self.data else {}
        # If training fails, the weights belong to no particular epoch.
        has_weights = self.record.status != "failed" or self.stage == "test"
        model = self.model if has_weights else None
        return store.write_run(
            results_dir,
            self.record,
            epochs=self._rows(),
            examples=self.examples,
            explained=self.explained,
            preprocessors={
                name: preprocessor.to_json() for name, preprocessor in preprocessors.items()
            },
            weights=model_io.weights_by_name(model) if model is not None else None,
        )

    def _rows(self) -> list[dict[str, Any]]:
        return self.trainer.progress.rows if self.trainer else []

    def _complete_record(self, status: Status, error: str | None) -> None:
        record = self.record
        record.status, record.error, record.epochs_run = status, error, len(self._rows())
        record.seconds = {name: round(value, 3) for name, value in self.seconds.items()}
        if self.model is not None and self.model.built:
            sizes = (math.prod(weight.shape) for weight in self.model.trainable_weights)
            record.model = {"trainable_parameters": sum(sizes)}

    def _write_elsewhere(self, error: OSError) -> None:
        """Writes the run to a temporary folder, keeps the checkpoint, and says where both are."""
        results_dir = self.checkpoint.results_dir
        message = f"The run could not be written to {results_dir}: {error.strerror}."
        try:
            folder = self._write(tempfile.mkdtemp(prefix="rnn-topologies-"))
            message += f" It is in {folder}: move it to {store.runs_folder(results_dir)}."
        except OSError as second_error:
            message += f" Writing it to a temporary folder failed as well: {second_error.strerror}."
        if self.checkpoint.has_checkpoint():
            message += f" Or free disk space and write it again: --resume {self.record.run_id}."
        self.checkpoint.close(keep=True)
        raise NotWrittenError(message) from error


def _best_validation_metrics(trainer: Trainer) -> dict[str, float]:
    progress = trainer.progress
    row = next(row for row in progress.rows if row["epoch"] == progress.best_epoch)
    return {
        name.replace("val_", "validation/"): value
        for name, value in row.items()
        if name.startswith("val_")
    }
