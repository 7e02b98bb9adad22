"""Fitting a task's model: the callbacks, and how it may end before its time."""

import math
import time

import keras

from rnn_topologies.tasks.parts import compilation


class DivergedError(Exception):
    """The loss became infinite or not a number."""

    def __init__(self, step: int):
        super().__init__(
            f"the loss is not finite any more at step {step}. Try a smaller --learning-rate."
        )
        self.step = step


class Watch(keras.callbacks.Callback):
    """Reports steps and epochs, keeps a row an epoch, and stops where the loss is not finite.

    Args:
        display: see `Display`.
    """

    def __init__(self, display):
        super().__init__()
        self.display = display
        self.rows = []
        self.steps = 0
        self.first_step_at = None

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()
        self.display.start_epoch(epoch + 1)

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.first_step_at = self.first_step_at or time.perf_counter()
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise DivergedError(self.steps)
        self.display.step(batch + 1, self.params["steps"], loss)

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, "seconds": round(time.perf_counter() - self.began, 3)}
        row |= {"learning_rate": rate}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append(row)
        self.display.epoch(row)


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


def compile_model(model, task, steps: int) -> None:
    """Compiles a task's model for `steps` steps in all."""
    optimizer = keras.optimizers.Adam(
        learning_rate(task.config.learning_rate, steps), global_clipnorm=1.0
    )
    model.compile(
        optimizer,
        task.loss(),
        weighted_metrics=task.metrics(),
        jit_compile=compilation.jit_compile(),
    )


def fit(model, task, data, watch: Watch) -> int:
    """Trains, keeps the weights of the epoch with the lowest validation loss, returns its number.

    Raises:
        DivergedError: the loss is not finite.
        KeyboardInterrupt: the user asked to stop; the model keeps its weights.
    """
    train = task.batches(data.splits["train"], data, training=True)
    validation = task.batches(data.splits["validation"], data, training=False)
    compile_model(model, task, len(train) * task.config.epochs)
    best = keras.callbacks.EarlyStopping(
        "val_loss", patience=task.config.patience, restore_best_weights=True
    )
    model.fit(
        train,
        validation_data=validation,
        epochs=task.config.epochs,
        callbacks=[watch, best],
        verbose=0,
    )
    return best.best_epoch + 1
