"""Losses over sequences in which padding does not count."""

import keras
from keras import ops


class TokenCrossEntropy(keras.losses.Loss):
    """The mean over real tokens of the cross entropy, in nats.

        loss = (1 - smoothing) * -log p(target) + smoothing * mean over tokens of -log p(token)

    Weights of 0 take padding out of the sum and of the count alike; Keras's default would
    divide by all positions.

    Args:
        smoothing: share of the target's probability that is spread over the vocabulary.

    Reference: Szegedy et al., 2016, "Rethinking the inception architecture" (smoothing).
    """

    def __init__(self, smoothing: float = 0.0, name: str = "token_cross_entropy"):
        super().__init__(name=name, reduction="mean_with_sample_weight")
        self.smoothing = smoothing

    def call(self, targets, logits):
        logits = ops.cast(logits, "float32")
        total = ops.logsumexp(logits, axis=-1)
        targets = ops.expand_dims(ops.cast(targets, "int32"), -1)
        chosen = ops.squeeze(ops.take_along_axis(logits, targets, axis=-1), -1)
        loss = total - chosen
        if self.smoothing:
            spread = total - ops.mean(logits, axis=-1)
            loss = (1 - self.smoothing) * loss + self.smoothing * spread
        return loss
