"""The training loop: compiles and fits a task's model, from the start or from a checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from rnn_topologies.tasks.base import Data, Task
from rnn_topologies.tasks.models import compilation

from . import strategy
from .callbacks import BestWeights, CheckpointSaver, Progress, ProgressReporter
from .display import RunDisplay
from .interruption import StopRequest


def learning_rate_schedule(
    peak: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a linear warm-up over a tenth of the steps, at most 200, then cosine decay to 1 %."""
    warmup_steps = max(1, min(200, steps // 10))
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, steps - warmup_steps),
        alpha=0.01,
        warmup_target=peak,
        warmup_steps=warmup_steps,
    )


def compile_model(
    model: keras.Model, task: Task, steps: int, metrics: Sequence[keras.metrics.Metric]
) -> None:
    """Compiles a task's model to be trained for `steps` steps in total."""
    schedule: Any = learning_rate_schedule(task.config.learning_rate, steps)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
    model.compile(
        optimizer,
        task.loss(),
        weighted_metrics=metrics,
        jit_compile=compilation.jit_compile(),  # pyright: ignore[reportArgumentType] - or bool
    )
    optimizer.build(model.trainable_variables)


class Trainer:
    """Trains a model and keeps the weights of the epoch with the lowest validation loss.

    Args:
        model: initialized, not compiled.
        task: the task that built the model.
        data: to train and validate on.
        display: receives steps and epochs.
        checkpoint_steps: steps between checkpoints; there is also one after every epoch.
        save: called with the progress and the arrays of a checkpoint.
        stop: checked after each step.

    Attributes:
        progress: how far training has come.
    """

    def __init__(
        self,
        model: keras.Model,
        task: Task,
        data: Data,
        display: RunDisplay,
        *,
        checkpoint_steps: int,
        save: Callable[[dict[str, Any], dict[str, np.ndarray]], None],
        stop: StopRequest,
    ):
        self.model, self.config, self.stop = model, task.config, stop
        self.progress = Progress()
        self.train = task.batches(data.splits["train"], data, training=True)
        self.validation = task.batches(data.splits["validation"], data, training=False)
        if strategy.is_distributed():
            self.train = strategy.ShardedBatches(self.train)
            self.validation = strategy.ShardedBatches(self.validation)
        steps_per_epoch = len(self.train)
        metrics = task.metrics()
        compile_model(model, task, steps_per_epoch * self.config.epochs, metrics)
        self.reporter = ProgressReporter(self.progress, self.train, display)
        self.best = BestWeights(self.progress, self.config.patience)
        self.saver = CheckpointSaver(
            self.progress,
            self.best,
            [model.metrics[0], *metrics],  # the first is the mean of the loss
            epochs=self.config.epochs,
            steps_per_epoch=steps_per_epoch,
            every=checkpoint_steps,
            save=save,
            stop=stop,
        )
        self.saver.set_model(model)

    @property
    def first_step_at(self) -> float | None:
        """`time.perf_counter()` at the end of the first step; None before."""
        return self.reporter.first_step_at

    def restore(self, progress: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Restores a checkpoint from what `save` was called with."""
        vars(self.progress).update(progress)
        self.saver.restore(arrays)

    def train_model(self) -> None:
        """Trains to the end and restores the best weights.

        Raises:
            DivergedError: a loss is NaN or infinite.
            KeyboardInterrupt: the run was asked to stop; the model keeps its current weights.
        """
        progress = self.progress
        with self.stop.deferred():
            if progress.step:  # first complete the interrupted epoch
                self._fit(until=progress.epoch + 1)
            if not progress.done:
                self._fit(until=self.config.epochs)
        self.model.set_weights(self.best.weights)

    def _fit(self, *, until: int) -> None:
        self.train.seek(self.progress.epoch, self.progress.step)
        self.model.fit(
            self.train,
            validation_data=self.validation,
            initial_epoch=self.progress.epoch,
            epochs=until,
            callbacks=[self.reporter, self.best, self.saver],
            shuffle=False,  # the batches are shuffled already, reproducibly
            verbose=0,  # pyright: ignore[reportArgumentType] - Keras takes an int, too
        )
