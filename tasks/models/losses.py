"""Losses and metrics that ignore padding."""

from collections.abc import Callable

import keras
from keras import ops

from rnn_topologies.layers.typing import Tensor


class CrossEntropy(keras.losses.Loss):
    """Cross entropy in nats, averaged over the real targets.

        loss = (1 - smoothing) * -log p(target) + smoothing * mean over classes of -log p(class)

    Targets are class indices of any kind: of tokens, of frames or of whole examples. A weight of 0
    removes padding from the sum and from the count; Keras's default reduction would divide by the
    number of all positions.

    Args:
        smoothing: fraction of the target probability that is spread over all classes.

    Call arguments:
        y_true: target classes (...), integers.
        y_pred: logits (..., classes).

    Reference: Szegedy et al., 2016, "Rethinking the inception architecture" (label smoothing).
    """

    def __init__(self, smoothing: float = 0.0, name: str = "cross_entropy"):
        super().__init__(name=name, reduction="mean_with_sample_weight")
        self.smoothing = smoothing

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        logits = ops.cast(y_pred, "float32")
        log_total = ops.logsumexp(logits, axis=-1)
        classes = ops.arange(logits.shape[-1], dtype="int32")
        is_target = ops.equal(ops.expand_dims(ops.cast(y_true, "int32"), -1), classes)
        # Not `take_along_axis`: on TensorFlow its gradient runs on a single core.
        target_logits = ops.sum(ops.where(is_target, logits, 0.0), axis=-1)
        loss = log_total - target_logits
        if self.smoothing:
            mean_loss = log_total - ops.mean(logits, axis=-1)
            loss = (1 - self.smoothing) * loss + self.smoothing * mean_loss
        return loss


class TargetMean(keras.metrics.Mean):
    """Mean of a function over all real targets, whichever batch they are in.

    Keras's own metrics first divide by the width of each batch. If batches are padded to different
    widths, targets in wide batches then count too little.

    Args:
        function: `(y_true, y_pred) -> values`, one per target.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], name: str):
        super().__init__(name=name)
        self.function = function

    # As in all metrics that Keras derives from `Mean`, the values are computed here.
    def update_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        values = ops.reshape(self.function(y_true, y_pred), (-1,))
        weights = None if sample_weight is None else ops.reshape(sample_weight, (-1,))
        super().update_state(values, weights)


def _is_correct(y_true: Tensor, y_pred: Tensor) -> Tensor:
    predicted = ops.argmax(y_pred, axis=-1)
    return ops.cast(ops.equal(predicted, ops.cast(y_true, predicted.dtype)), "float32")


def training_metrics(accuracy_name: str = "accuracy") -> list[keras.metrics.Metric]:
    """Returns the metrics to log in training.

    They are the cross entropy without label smoothing, in nats, and the accuracy, 0 to 1.
    """
    return [
        TargetMean(CrossEntropy().call, "cross_entropy"),
        TargetMean(_is_correct, accuracy_name),
    ]
