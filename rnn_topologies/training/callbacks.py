"""Keras callbacks: report progress, keep the best weights, save checkpoints."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rnn_topologies.tasks.data.batching import Batches

from .display import RunDisplay
from .interruption import StopRequest
from .strategy import ShardedBatches


class DivergedError(Exception):
    """A loss is NaN or infinite.

    Attributes:
        step: training step, counted over all epochs from 1.
    """

    def __init__(self, step: int, name: str = "loss"):
        super().__init__(
            f"the {name} became NaN or infinite at step {step}. Try a smaller --learning-rate."
        )
        self.step = step


@dataclasses.dataclass
class Progress:
    """How far training has come, in JSON types; with a checkpoint's arrays, its full state.

    Attributes:
        epoch: number of completed epochs.
        step: completed steps of the current epoch.
        steps: completed steps of all epochs.
        seconds: spent on the current epoch so far.
        rows: logs of the completed epochs, one row per epoch.
        best_epoch: epoch with the lowest validation loss, counted from 1.
        best_loss: its validation loss.
        done: whether training is complete.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best_epoch: int | None = None
    best_loss: float | None = None
    done: bool = False


class _Callback(keras.callbacks.Callback):
    @property
    def model(self) -> Any:  # Keras's own property is inferred as None by type checkers
        return super().model


class ProgressReporter(_Callback):
    """Updates the progress, reports steps and epochs, and stops training when it diverges.

    Args:
        progress: updated in place.
        batches: the training batches, at the start of an epoch.
        display: receives steps and epochs.

    Attributes:
        first_step_at: `time.perf_counter()` at the end of the first step; None before.
    """

    def __init__(self, progress: Progress, batches: Batches | ShardedBatches, display: RunDisplay):
        super().__init__()
        self.progress, self.batches, self.display = progress, batches, display
        self.steps_per_epoch = len(batches)
        self.first_step_at: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        # Seek here: Keras calls `on_epoch_end` of the batches before the first epoch, too.
        self.batches.seek(epoch, self.progress.step)
        self.epoch_started_at = time.perf_counter() - self.progress.seconds
        self.display.start_epoch(epoch + 1)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        progress = self.progress
        progress.step += 1
        progress.steps += 1
        progress.seconds = time.perf_counter() - self.epoch_started_at
        self.first_step_at = self.first_step_at or time.perf_counter()
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise DivergedError(progress.steps)
        self.display.step(progress.step, self.steps_per_epoch, loss)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        progress = self.progress
        row = {
            "epoch": epoch + 1,
            "seconds": round(time.perf_counter() - self.epoch_started_at, 3),
            "learning_rate": float(_to_numpy(self.model.optimizer.learning_rate)),
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        if not math.isfinite(row["val_loss"]):
            raise DivergedError(progress.steps, "validation loss")
        progress.rows.append(row)
        progress.epoch, progress.step, progress.seconds = epoch + 1, 0, 0.0
        self.display.show_epoch(row)


class BestWeights(_Callback):
    """Keeps the weights of the epoch with the lowest validation loss, and stops training early.

    Unlike Keras's `EarlyStopping`, it does not start over with every call of `fit`.

    Args:
        progress: updated in place.
        patience: number of epochs without improvement after which training stops.

    Attributes:
        weights: those of the best epoch, as `model.get_weights()` returns them.
    """

    def __init__(self, progress: Progress, patience: int):
        super().__init__()
        self.progress, self.patience = progress, patience
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        progress, loss = self.progress, float((logs or {})["val_loss"])
        if progress.best_epoch is None or progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = loss, epoch + 1
            self.weights = self.model.get_weights()
        elif epoch + 1 - progress.best_epoch >= self.patience:
            self.model.stop_training = True


class CheckpointSaver(_Callback):
    """Saves the state of training after every epoch and every few steps, and stops when asked to.

    Args:
        progress: saved as the metadata of a checkpoint.
        best: its weights are saved.
        metrics: their state is saved; `model.metrics` is incomplete before the first step.
        epochs: number of epochs to train.
        steps_per_epoch: number of steps in an epoch.
        every: steps between checkpoints; rounded up to an even number, see `BucketedBatches`.
        save: called with the progress and the arrays of a checkpoint.
        stop: checked after each step.
    """

    def __init__(
        self,
        progress: Progress,
        best: BestWeights,
        metrics: Sequence[keras.metrics.Metric],
        *,
        epochs: int,
        steps_per_epoch: int,
        every: int,
        save: Callable[[dict[str, Any], dict[str, np.ndarray]], None],
        stop: StopRequest,
    ):
        super().__init__()
        self.progress, self.best, self.metrics = progress, best, metrics
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.every = every + every % 2
        self.save, self.stop = save, stop
        self.pending_metrics: list[np.ndarray] | None = None
        self.pending_random_state: list[np.ndarray] | None = None

    def _variables(self) -> dict[str, list[Any]]:
        return {
            "model": [*self.model.variables, *self.model.optimizer.variables],
            "metrics": [variable for metric in self.metrics for variable in metric.variables],
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restores a checkpoint: weights now, metrics and random state when the epoch resumes."""
        groups = {"best": [], "model": [], "metrics": [], "random": []}
        for name, array in sorted(arrays.items()):
            groups[name.partition("/")[0]].append(array)
        self.best.weights = groups["best"]
        self.pending_metrics = groups["metrics"]
        self.pending_random_state = groups["random"]
        _assign(self._variables()["model"], groups["model"])

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        if self.progress.step == 0:
            self._restore_random_state()
        elif self.pending_metrics is not None:  # Keras has just reset the metrics
            _assign(self._variables()["metrics"], self.pending_metrics)
        self.pending_metrics = None

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._restore_random_state()

    def _restore_random_state(self) -> None:
        """Restores PyTorch's generators; when an epoch is resumed midway, at its first step.

        By then the DataLoader has drawn its seed for the epoch, as it had before the checkpoint.
        """
        if self.pending_random_state is not None:
            _set_random_state(self.pending_random_state)
        self.pending_random_state = None

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        step = self.progress.step
        is_stopping = self.stop.signal is not None
        is_due = is_stopping or step % self.every == 0
        if step % 2 or step == self.steps_per_epoch or not is_due:
            return
        if keras.backend.backend() == "jax":  # within an epoch, the variables are outdated
            self.model.jax_state_sync()
        self._save()
        if is_stopping:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.progress.done = self.model.stop_training or epoch + 1 == self.epochs
        self._save()
        if self.stop.signal is not None:
            raise KeyboardInterrupt

    def _save(self) -> None:
        groups = {
            **self._variables(),
            "best": self.best.weights,
            "random": _get_random_state(),
        }
        arrays = {
            f"{group}/{number:05d}": _to_numpy(variable)
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }
        self.save(dataclasses.asdict(self.progress), arrays)


def _to_numpy(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _get_random_state() -> list[Any]:
    """Returns the state of PyTorch's generators, from which Keras draws dropout without a seed.

    Empty on other backends, where all random state is in variables of the model.
    """
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [state.cpu() for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all())]


def _set_random_state(states: Sequence[np.ndarray]) -> None:
    if keras.backend.backend() != "torch":
        return
    import torch

    cpu, *gpus = map(torch.from_numpy, states)
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(gpus)


def _assign(variables: Iterable[Any], arrays: Iterable[np.ndarray]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
