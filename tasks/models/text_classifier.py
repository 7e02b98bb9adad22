"""The text classification model: embedding, recurrent layers, pooling, one class."""

from typing import Any

import keras
from keras import ops

from rnn_topologies.layers.typing import Tensor

from ..data import vocabulary
from .recurrence import Pool, Pooling, Recurrence


class TextClassifier(keras.Model):
    """Classifies a sequence of tokens.

        outputs, states = recurrence(embedding(tokens))
        logits          = pool(outputs, states) W + b

    Args:
        cell: key of `layers.CELLS`.
        vocabulary_size: number of tokens.
        classes: number of classes.
        units: size of each recurrent state, per direction.
        depth: number of recurrent layers.
        bidirectional: whether to read the text in both directions.
        pooling: see `Pool`.
        embedding_size: size of the token embeddings.
        dropout: fraction to drop of the embedded tokens, between recurrent layers, and of the
            pooled vector.

    Call arguments:
        tokens: (batch, time), padded at the end.

    Returns:
        logits (batch, classes).
    """

    def __init__(
        self,
        *,
        cell: str,
        vocabulary_size: int,
        classes: int,
        units: int,
        depth: int = 1,
        bidirectional: bool = False,
        pooling: Pooling = "last",
        embedding_size: int,
        dropout: float = 0.0,
    ):
        super().__init__(name="text_classifier")
        # Smaller than in a decoder: it learns a little more slowly and generalizes better.
        initializer: Any = keras.initializers.RandomNormal(stddev=0.3)
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_size,
            embeddings_initializer=initializer,
            name="embedding",
        )
        self.drop = keras.layers.Dropout(dropout)
        self.recurrence = Recurrence(
            cell, units, depth=depth, bidirectional=bidirectional, dropout=dropout
        )
        self.pool = Pool(pooling, bidirectional=bidirectional)
        self.classes = keras.layers.Dense(classes, name="classes")
        self(ops.full((1, 2), vocabulary.START, dtype="int32"))  # builds the weights

    def call(self, tokens: Tensor, training: bool = False) -> Tensor:
        mask = ops.not_equal(tokens, vocabulary.PAD)
        embedded = self.drop(self.embedding(tokens), training=training)
        outputs, states = self.recurrence(embedded, mask=mask, training=training)
        vector = self.pool(outputs, states, mask)
        return self.classes(self.drop(vector, training=training))
