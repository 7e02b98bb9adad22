"""Keras's `predict` with progress reported after every batch."""

from typing import TYPE_CHECKING, Any

import keras

from ..progress import Advance

if TYPE_CHECKING:
    from ..data.batching import Batches


def predict_batches(model: Any, batches: "Batches", advance: Advance) -> Any:
    """Returns `model.predict(batches)`.

    Args:
        model: a Keras model.
        batches: batches of its inputs.
        advance: called with the number of batches done and their total.
    """
    total = len(batches)
    callback = keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: advance(batch + 1, total)
    )
    return model.predict(batches, callbacks=[callback], verbose=0)
