"""The model of text classification: read a whole text, then say one thing about it."""

import keras
from keras import ops

from ..data import vocabulary
from .recurrence import Pool, Pooling, Recurrence


class TextClassifier(keras.Model):
    """Tokens, recurrent layers, one vector, one class.

        outputs, states = recurrence(embedding(tokens))
        logits          = pool(outputs, states) W + b

    Args:
        cell: a name of `layers.CELLS`.
        vocabulary_size: number of tokens.
        classes: number of classes.
        units: size of each recurrent state; a direction of a bidirectional layer has as many.
        depth: number of recurrent layers.
        bidirectional: whether the text is read both ways.
        pooling: see `Pool`.
        embedding_size: width of a token's vector.
        dropout: fraction to drop of the embedded tokens, between layers, and of the vector.

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
        self.embedding = keras.layers.Embedding(
            vocabulary_size,
            embedding_size,
            # Smaller than a decoder's: it learns a little more slowly and generalizes better.
            embeddings_initializer=keras.initializers.RandomNormal(stddev=0.3),
            name="embedding",
        )
        self.drop = keras.layers.Dropout(dropout)
        self.recurrence = Recurrence(
            cell, units, depth=depth, bidirectional=bidirectional, dropout=dropout
        )
        self.pool = Pool(pooling, bidirectional=bidirectional)
        self.classes = keras.layers.Dense(classes, name="classes")
        self(ops.full((1, 2), vocabulary.START, dtype="int32"))  # makes the weights

    def call(self, tokens, training=False):
        mask = ops.not_equal(tokens, vocabulary.PAD)
        embedded = self.drop(self.embedding(tokens), training=training)
        outputs, states = self.recurrence(embedded, mask=mask, training=training)
        vector = self.pool(outputs, states, mask)
        return self.classes(self.drop(vector, training=training))
