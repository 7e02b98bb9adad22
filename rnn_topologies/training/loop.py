"""Fitting a task's model: the callbacks, how it may end before its time, and how it goes on."""

import dataclasses
import math
import time

import keras

from rnn_topologies.tasks.models import compilation

from . import strategy


class DivergedError(Exception):
    """A loss became infinite or not a number."""

    def __init__(self, step: int, name: str = "loss"):
        super().__init__(
            f"the {name} is not finite any more at step {step}. Try a smaller --learning-rate."
        )
        self.step = step


@dataclasses.dataclass
class Progress:
    """How far training has come, in JSON types; with the arrays of a checkpoint, all of its state.

    Attributes:
        epoch, step: epochs that have ended, and steps of the one that has not.
        steps: in all.
        seconds: spent on the epoch that has not ended.
        rows: one for each epoch.
        best_epoch, best_loss: the one with the lowest validation loss, counted from 1.
        done: whether there is nothing left to train.
    """

    epoch: int = 0
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    rows: list[dict] = dataclasses.field(default_factory=list)
    best_epoch: int | None = None
    best_loss: float | None = None
    done: bool = False


class Watch(keras.callbacks.Callback):
    """Reports steps and epochs, keeps a row an epoch, and stops where a loss is not finite.

    Args:
        progress: to bring up to date.
        train: the batches, at the beginning of an epoch.
        display: see `Display`.
    """

    def __init__(self, progress: Progress, train, display):
        super().__init__()
        self.progress, self.train, self.display = progress, train, display
        self.steps = len(train)
        self.first_step_at = None

    def on_epoch_begin(self, epoch, logs=None):
        # Keras tells batches of an end of an epoch before the first one, too.
        self.train.go_to(epoch, self.progress.step)
        self.began = time.perf_counter() - self.progress.seconds
        self.display.start_epoch(epoch + 1)

    def on_train_batch_end(self, batch, logs=None):
        progress = self.progress
        progress.step += 1
        progress.steps += 1
        progress.seconds = time.perf_counter() - self.began
        self.first_step_at = self.first_step_at or time.perf_counter()
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise DivergedError(progress.steps)
        self.display.step(progress.step, self.steps, loss)

    def on_epoch_end(self, epoch, logs=None):
        progress = self.progress
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "seconds": round(time.perf_counter() - self.began, 3)}
        row |= {"learning_rate": rate}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(row["val_loss"]):
            raise DivergedError(progress.steps, "validation loss")
        progress.rows.append(row)
        progress.epoch, progress.step, progress.seconds = epoch + 1, 0, 0.0
        self.display.show_epoch(row)


class Best(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the lowest validation loss, and stops after a while.

    Keras's `EarlyStopping` forgets what it knew whenever `fit` begins.

    Args:
        progress: to bring up to date.
        patience: epochs without a better loss to stop after.
    """

    def __init__(self, progress: Progress, patience: int):
        super().__init__()
        self.progress, self.patience = progress, patience
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        progress, loss = self.progress, float(logs["val_loss"])
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = loss, epoch + 1
            self.weights = self.model.get_weights()
        elif epoch + 1 - progress.best_epoch >= self.patience:
            self.model.stop_training = True


class Saver(keras.callbacks.Callback):
    """Saves the state after every epoch and every few steps, and stops where that is asked for.

    Args:
        progress: what to save beside arrays.
        best: whose weights to save.
        metrics: whose state to save; a model lists its own only after the first step.
        epochs, steps: that there are, the steps of one epoch.
        every: steps; rounded up to an even number, since batches come in pairs.
        save: `(facts, arrays)`, keeps them.
        stop: see `interruption.StopRequest`.
    """

    def __init__(self, progress, best, metrics, *, epochs, steps, every, save, stop):
        super().__init__()
        self.progress, self.best, self.metrics = progress, best, metrics
        self.epochs, self.steps = epochs, steps
        self.every = every + every % 2
        self.save, self.stop = save, stop
        self.pending = self.random = None

    def _variables(self) -> dict[str, list]:
        return {
            "model": [*self.model.variables, *self.model.optimizer.variables],
            "metrics": [variable for metric in self.metrics for variable in metric.variables],
        }

    def restore(self, arrays) -> None:
        """Puts arrays of a checkpoint in their place, some of them when the epoch goes on."""
        groups = {"best": [], "model": [], "metrics": [], "random": []}
        for name, array in sorted(arrays.items()):
            groups[name.partition("/")[0]].append(array)
        self.best.weights = groups["best"]
        self.pending, self.random = groups["metrics"], groups["random"]
        _assign(self._variables()["model"], groups["model"])

    def on_epoch_begin(self, epoch, logs=None):
        if self.progress.step == 0:
            self._restore_random()
        elif self.pending is not None:  # Keras has just reset the metrics
            _assign(self._variables()["metrics"], self.pending)
        self.pending = None

    def on_train_batch_begin(self, batch, logs=None):
        self._restore_random()

    def _restore_random(self):
        """PyTorch draws when an epoch begins: so after that if the epoch had begun."""
        if self.random is not None:
            _set_random_state(self.random)
        self.random = None

    def on_train_batch_end(self, batch, logs=None):
        step = self.progress.step
        asked = self.stop.signal is not None
        if step % 2 or step == self.steps or not (asked or step % self.every == 0):
            return
        if keras.backend.backend() == "jax":  # it keeps the state out of the variables meanwhile
            self.model.jax_state_sync()
        self._save()
        if asked:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        self.progress.done = self.model.stop_training or epoch + 1 == self.epochs
        self._save()
        if self.stop.signal is not None:
            raise KeyboardInterrupt

    def _save(self):
        groups = self._variables() | {"best": self.best.weights, "random": _random_state()}
        arrays = {
            f"{group}/{number:05d}": keras.ops.convert_to_numpy(variable)
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }
        self.save(dataclasses.asdict(self.progress), arrays)


def _random_state() -> list:
    """Returns the state of generators that Keras draws from and that are no variables of a model.

    On PyTorch, dropout without a seed draws from the backend's own.
    """
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [state.cpu() for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all())]


def _set_random_state(arrays) -> None:
    if keras.backend.backend() != "torch":
        return
    import torch

    cpu, *others = map(torch.from_numpy, arrays)
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(others)


def _assign(variables, arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def learning_rate(highest: float, steps: int):
    """Returns a schedule: up for a tenth of the steps, 200 at most, then down along a cosine."""
    warm_up = max(1, min(200, steps // 10))
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, steps - warm_up),
        alpha=0.01,
        warmup_target=highest,
        warmup_steps=warm_up,
    )


def compile_model(model, task, steps: int, metrics: list) -> None:
    """Compiles a task's model for `steps` steps in all."""
    optimizer = keras.optimizers.Adam(
        learning_rate(task.config.learning_rate, steps), global_clipnorm=1.0
    )
    model.compile(
        optimizer,
        task.loss(),
        weighted_metrics=metrics,
        jit_compile=compilation.jit_compile(),
    )
    optimizer.build(model.trainable_variables)


class Training:
    """Trains a model, keeps the weights of the epoch with the lowest validation loss.

    Args:
        model: with its weights.
        task: it is the model of.
        data: to train on.
        display: see `Display`.
        checkpoint_steps: steps after which to save the state, beside every epoch.
        save: `(facts, arrays)`, keeps the state.
        stop: see `interruption.StopRequest`.

    Attributes:
        progress: how far it has come.
        first_step_at: when the first step ended, of `time.perf_counter`; None before.
    """

    def __init__(self, model, task, data, display, *, checkpoint_steps: int, save, stop):
        self.model, self.config, self.stop = model, task.config, stop
        self.progress = Progress()
        self.train = task.batches(data.splits["train"], data, training=True)
        self.validation = task.batches(data.splits["validation"], data, training=False)
        if strategy.is_distributed():
            self.train, self.validation = (
                strategy.ShardedBatches(self.train),
                strategy.Part(self.validation),
            )
        steps = len(self.train)
        metrics = task.metrics()
        compile_model(model, task, steps * self.config.epochs, metrics)
        self.watch = Watch(self.progress, self.train, display)
        self.best = Best(self.progress, self.config.patience)
        self.saver = Saver(
            self.progress,
            self.best,
            [model.metrics[0], *metrics],  # the mean of the loss, and ours
            epochs=self.config.epochs,
            steps=steps,
            every=checkpoint_steps,
            save=save,
            stop=stop,
        )
        self.saver.set_model(model)

    @property
    def first_step_at(self) -> float | None:
        return self.watch.first_step_at

    def restore(self, facts, arrays) -> None:
        """Goes on from what `save` was given."""
        vars(self.progress).update(facts)
        self.saver.restore(arrays)

    def run(self) -> None:
        """Trains to the end.

        Raises:
            DivergedError: a loss is not finite.
            KeyboardInterrupt: the user asked to stop; the model keeps its weights.
        """
        progress = self.progress
        with self.stop.deferred():
            if progress.step:  # first what is left of an epoch
                self._fit(until=progress.epoch + 1)
            if not progress.done:
                self._fit(until=self.config.epochs)
        self.model.set_weights(self.best.weights)

    def _fit(self, *, until: int) -> None:
        self.train.go_to(self.progress.epoch, self.progress.step)
        self.model.fit(
            self.train,
            validation_data=self.validation,
            initial_epoch=self.progress.epoch,
            epochs=until,
            callbacks=[self.watch, self.best, self.saver],
            shuffle=False,  # Keras would, from Python's own generator; the batches are mixed
            verbose=0,
        )
