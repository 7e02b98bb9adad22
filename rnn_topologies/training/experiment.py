"""One run: data, model, training, scores, record."""

import contextlib
import functools
import math
import shutil
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import keras
import tensorboard.summary  # noqa: F401 - were it missing, that shall be told before training

from rnn_topologies import tasks
from rnn_topologies.tasks.data import filesystem
from rnn_topologies.tasks.data.batching import Batches
from rnn_topologies.tasks.errors import NotWrittenError, UserError

from ..runs import model_io, store
from ..runs.record import Status, new_record, new_run_id, utc_timestamp
from . import checkpoint, environment, interruption, loop, strategy

EXPLAINED = 4  # test examples, of those that went right and of those that went wrong


def run(
    task_name: str,
    settings: Mapping[str, Any],
    *,
    results_dir,
    display,
    checkpoint_steps: int = 200,
    run_id: str | None = None,
):
    """Runs a task and writes its record, also if it fails, diverges or is interrupted.

    Args:
        task_name: name of a task.
        settings: the fields of its `Config` that the user chose.
        results_dir: folder under which `runs/<run id>/` is written.
        display: see `Display`.
        checkpoint_steps: training steps after which the state is saved, beside every epoch.
        run_id: by default a new one.

    Returns:
        `(record, folder)`.

    Raises:
        UserError: a setting is wrong, or something is missing that the user must provide; no
            folder is written.
        NotWrittenError: the results folder cannot be written any more.
        Exception: whatever broke the run, after a record of status `failed` was written.
    """
    task = tasks.get_task(task_name)(settings)
    model_io.check_cell(task.config.cell)
    if not strategy.is_chief():
        results_dir = tempfile.mkdtemp(prefix="rnn-topologies-")  # for its state, while it helps
    filesystem.check_writable(results_dir, "--results-dir")
    asked = checkpoint.Asked(
        run_id=run_id or new_run_id(task_name, task.config.cell, task.config.seed),
        started_at=utc_timestamp(),
        task=task_name,
        settings={**settings, **task.local_paths()},
        backend=keras.backend.backend(),
        checkpoint_steps=checkpoint_steps,
        environment=environment.describe_environment() | strategy.describe_strategy(),
        git=environment.git_state(),
        strategy="data_parallel" if strategy.is_distributed() else None,
    )
    place = checkpoint.place(results_dir, asked.run_id)
    return _carry_out(task, checkpoint.Unfinished(place, asked), display)


def resume(state: checkpoint.Unfinished, *, display):
    """Goes on with a run that has not ended, to what it would have come to.

    Args:
        state: see `unfinished.find`; of the backend that Keras runs on.
        display: see `Display`.

    Returns:
        `(record, folder)`.

    Raises:
        UserError, NotWrittenError, Exception: as `run`.
    """
    asked = state.asked
    task = tasks.get_task(asked.task)(asked.settings)
    for what, then, now in (
        (
            "environment",
            asked.environment,
            environment.describe_environment() | strategy.describe_strategy(),
        ),
        ("commit", asked.git, environment.git_state()),
    ):
        if then != now:
            display.note(f"the {what} has changed: figures may differ in their last digits")
    return _carry_out(task, state, display)


def _carry_out(task, state: checkpoint.Unfinished, display):
    Batches.mistake = None  # of an earlier run of this process
    stop = interruption.StopRequest()
    run = _Run(task, state, display, stop)
    with stop.handle_signals():
        try:
            run.go()
        except KeyboardInterrupt:
            run.end("interrupted", stop.signal and f"stopped by {stop.signal.name}")
        except loop.DivergedError as error:
            run.record.diverged_step = error.step
            run.end("diverged", _said(error))
        except Exception as error:
            # A mistake that a batch met, which TensorFlow wraps in an error of its own.
            error = Batches.mistake or error
            if run.model is None and isinstance(error, UserError):
                state.close(keep=state.has_checkpoint())
            else:
                run.end("failed", _said(error))
            raise error from None
        else:
            run.end("ok")
    if run.folder is not None:
        display.show_result(run.record, run.examples, run.folder)
    return run.record, run.folder


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


class _Run:
    """The state of a run, so that what there is of it can be written whenever it ends."""

    def __init__(self, task, state: checkpoint.Unfinished, display, stop: interruption.StopRequest):
        self.task, self.state, self.display, self.stop = task, state, display, stop
        self.model = self.data = self.training = self.folder = None
        self.examples, self.explained, self.seconds = [], [], {}
        asked = state.asked
        self.record = new_record(
            task,
            asked.task,
            run_id=asked.run_id,
            started_at=asked.started_at,
            environment=asked.environment,
            git=asked.git,
        )

    def go(self):
        task, record = self.task, self.record
        saved = self.state.saved()
        record.reproducible = environment.describe_reproducibility(task.config.deterministic)
        stage = self.display.stage(f"data {task.dataset}", has_bars=True)
        with stage, self._timed("data"):
            self.data = data = task.load_data()
        record.data = {
            "name": data.name,
            "examples": {name: len(split) for name, split in data.splits.items()},
            "sha256": data.sha256,
            **data.notes,
        }
        began = time.perf_counter()
        # After the data: TFDS draws from Python's generator when it prepares a set, and Keras
        # takes the seeds of first weights from it.
        keras.utils.set_random_seed(task.config.seed)
        self.model = model = task.build_model(data)
        self.training = loop.Training(
            model,
            task,
            data,
            self.display,
            checkpoint_steps=self.state.asked.checkpoint_steps,
            save=self._save,
            stop=self.stop,
        )
        if saved is not None:
            self._restore(*saved)
        before = dict(self.seconds)
        try:
            with self.display.training(task.config.epochs):
                self.training.run()
        finally:
            ended = time.perf_counter()
            first = self.training.first_step_at or ended
            for name, spent in (("compile", first - began), ("fit", ended - first)):
                self.seconds[name] = before.get(name, 0.0) + spent
        record.best_epoch = self.training.progress.best_epoch
        if strategy.is_distributed():
            if not strategy.is_chief():
                return
            strategy.disable_data_parallel()
            arrays = list(model_io.weights_by_name(model).values())
            self.model = task.build_model(data)
            self.model.set_weights(arrays)
            loop.compile_model(self.model, task, 1, task.metrics())
        with self.display.stage("test"), self._timed("evaluate"):
            self._evaluate()

    def _save(self, progress, arrays) -> None:
        """Keeps the state of training; if it cannot be kept, says so and goes on."""
        facts = {
            "progress": progress,
            "seconds": self.seconds,
            "resumed": self.record.resumed,
            "sha256": self.data.sha256,
        }
        try:
            self.state.save(facts, arrays)
        except OSError as error:
            self.display.note(
                f"the state cannot be saved: {error.strerror}; training goes on without"
            )

    def _restore(self, facts, arrays) -> None:
        if facts["sha256"] != self.data.sha256:
            raise UserError(
                f"{self.task.dataset} has changed since {self.record.run_id} began. Start a new "
                "run, or bring the data back."
            )
        progress = facts["progress"]
        self.training.restore(progress, arrays)
        self.seconds = facts["seconds"]
        place = {name: progress[name] for name in ("epoch", "step")}
        self.record.resumed = [*facts["resumed"], {"at": utc_timestamp(), **place}]
        self.display.note(f"going on after epoch {place['epoch']}, step {place['step']}")

    def _evaluate(self):
        task, data, record = self.task, self.data, self.record
        best = self.training.progress.rows[record.best_epoch - 1]
        validation = {
            name.replace("val_", "validation/"): value
            for name, value in best.items()
            if name.startswith("val_")
        }
        evaluation = task.evaluate(self.model, "test", data)
        test = {f"test/{name}": value for name, value in evaluation.metrics.items()}
        self.examples = evaluation.examples
        self.explained = self._explain(data.splits["test"])
        record.metrics = {**validation, **test}
        record.signatures = evaluation.signatures
        record.tables = evaluation.tables
        headline = task.dataset_spec.headline
        record.headline = {
            "name": headline.name,
            "value": evaluation.metrics[headline.name],
            "higher_is_better": headline.higher_is_better,
            "meaning": headline.meaning,
        }
        record.baseline_metrics = task.baseline(data)
        record.baselines = {
            name: metrics[headline.name] for name, metrics in record.baseline_metrics.items()
        }

    @contextlib.contextmanager
    def _timed(self, name):
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def _explain(self, test) -> list[dict]:
        """Returns what the model did with a few test examples, right and wrong ones."""
        outcomes = [bool(example["right"]) for example in self.examples[: len(test)]]
        chosen = [
            index
            for outcome in (True, False)
            for index in [i for i, right in enumerate(outcomes) if right is outcome][:EXPLAINED]
        ]
        if not chosen:
            return []
        raw = [self.task.raw_input(test[index]) for index in chosen]
        explained = self.task.explain(self.model, raw, self.data)
        return [{"index": i, **one} for i, one in zip(chosen, explained, strict=True)]

    def end(self, status: Status, error: str | None = None) -> None:
        """Writes what there is of the run.

        Raises:
            NotWrittenError: that is not possible where it belongs.
        """
        if not strategy.is_chief():
            self.state.close(keep=False)
            shutil.rmtree(self.state.results_dir, ignore_errors=True)
            return
        record = self.record
        record.status = status
        record.error = error
        record.seconds = {name: round(value, 3) for name, value in self.seconds.items()}
        rows = self.training.progress.rows if self.training else []
        record.epochs_run = len(rows)
        if self.model is not None and self.model.built:
            record.model = {
                "trainable_parameters": sum(
                    math.prod(weight.shape) for weight in self.model.trainable_weights
                )
            }
        preprocessors = (
            {name: preprocessor.to_json() for name, preprocessor in self.data.preprocessors.items()}
            if self.data
            else {}
        )
        has_weights = status != "failed" and self.model is not None
        write = functools.partial(
            store.write_run,
            record=record,
            epochs=rows,
            examples=self.examples,
            explained=self.explained,
            preprocessors=preprocessors,
            weights=model_io.weights_by_name(self.model) if has_weights else None,
        )
        try:
            self.folder = write(self.state.results_dir)
        except OSError as error:
            self._rescue(write, error)
        has_failed = status == "failed" and self.state.has_checkpoint()
        self.state.close(keep=status == "interrupted" or has_failed)

    def _rescue(self, write, error: OSError) -> None:
        """Writes the run elsewhere, and breaks off with a message that says where."""
        place = self.state.results_dir
        message = f"The run could not be written into {place}: {error.strerror}."
        try:
            elsewhere = write(tempfile.mkdtemp(prefix="rnn-topologies-"))
            message += f" It is in {elsewhere}: move it into {store.runs_folder(place)}."
        except OSError as second:
            message += f" Nor could it elsewhere: {second.strerror}."
        if self.state.has_checkpoint():
            message += f" Or make room and write it again: --resume {self.record.run_id}."
        self.state.close(keep=True)
        raise NotWrittenError(message) from error
