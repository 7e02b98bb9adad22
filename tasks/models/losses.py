"""Losses in which padding does not count."""

import keras
from keras import ops


class CrossEntropy(keras.losses.Loss):
    """The mean over real targets of the cross entropy, in nats.

        loss = (1 - smoothing) * -log p(target) + smoothing * mean over classes of -log p(class)

    Targets are classes of any kind: tokens, labels of frames or of whole examples. Weights of 0
    take padding out of the sum and of the count alike; Keras's default would divide by all
    positions.

    Args:
        smoothing: share of the target's probability that is spread over the classes.

    Call arguments:
        targets: (...), whole numbers.
        logits: (..., classes).

    Reference: Szegedy et al., 2016, "Rethinking the inception architecture" (smoothing).
    """

    def __init__(self, smoothing: float = 0.0, name: str = "cross_entropy"):
        super().__init__(name=name, reduction="mean_with_sample_weight")
        self.smoothing = smoothing

    def call(self, targets, logits):
        logits = ops.cast(logits, "float32")
        total = ops.logsumexp(logits, axis=-1)
        classes = ops.arange(logits.shape[-1], dtype="int32")
        is_target = ops.equal(ops.expand_dims(ops.cast(targets, "int32"), -1), classes)
        # Not `take_along_axis`: on TensorFlow its gradient runs on one core.
        chosen = ops.sum(ops.where(is_target, logits, 0.0), axis=-1)
        loss = total - chosen
        if self.smoothing:
            spread = total - ops.mean(logits, axis=-1)
            loss = (1 - self.smoothing) * loss + self.smoothing * spread
        return loss


class Average(keras.metrics.Mean):
    """The mean over real targets, whatever batch they are in.

    Keras's own metrics divide by the width of each batch first: of batches that are padded to
    different widths, the wide ones then count for too little.

    Args:
        function: `(targets, logits) -> values`, one for each target.
    """

    def __init__(self, function, name: str):
        super().__init__(name=name)
        self.function = function

    def update_state(self, targets, logits, sample_weight=None):
        values = ops.reshape(self.function(targets, logits), (-1,))
        weights = None if sample_weight is None else ops.reshape(sample_weight, (-1,))
        return super().update_state(values, weights)


def _is_right(targets, logits):
    found = ops.argmax(logits, axis=-1)
    return ops.cast(ops.equal(found, ops.cast(targets, found.dtype)), "float32")


def training_metrics(accuracy: str = "accuracy") -> list:
    """Returns the metrics to watch: cross entropy without smoothing, and accuracy, 0 to 1."""
    return [Average(CrossEntropy().call, "cross_entropy"), Average(_is_right, accuracy)]
