"""The model of image classification: one image, one class, and how much of a sequence is in it."""

from typing import Literal

import keras
from keras import ops

from .image_encoder import ImageEncoder, doubling
from .recurrence import Pool, Recurrence

PLACES = 4  # a side, that the convolution leaves of an image
View = Literal["image", "rows", "pixels"]


class ImageClassifier(keras.Model):
    """An image, seen at once or as a sequence; a recurrence; a class.

        image    one step:             h = cell(W encoder(image) + b, 0)
        rows     height steps:         h_t = cell(row_t, h_{t-1}), from top to bottom
        pixels   height * width steps: h_t = cell(pixel_t, h_{t-1}), row by row

        logits = h W' + b'

    With one step from a zero state nothing recurs: the recurrent weights of the cell are
    multiplied by zero, and neither learn nor matter.

    Args:
        cell: a name of `layers.CELLS`.
        image_shape: (height, width, channels).
        classes: number of classes.
        view: how the image is read.
        units: size of each recurrent state; a direction of a bidirectional layer has as many.
        depth: number of recurrent layers.
        bidirectional: whether rows or pixels are read both ways.
        filters: filters in the first block of the convolution, with the view `image`.
        feature_size: size of the vector that the cell reads, with the view `image`.
        dropout: fraction to drop of that vector, between layers, and before the class.

    Call arguments:
        images: (batch, height, width, channels), bytes.

    Returns:
        logits (batch, classes).
    """

    def __init__(
        self,
        *,
        cell: str,
        image_shape: tuple[int, int, int],
        classes: int,
        view: View = "image",
        units: int,
        depth: int = 1,
        bidirectional: bool = False,
        filters: int = 32,
        feature_size: int = 128,
        dropout: float = 0.0,
    ):
        super().__init__(name="image_classifier")
        self.view = view
        if view == "image":
            self.encoder = ImageEncoder(doubling(filters, image_shape, PLACES), dropout=dropout / 2)
            self.vector = keras.layers.Dense(feature_size, activation="relu", name="vector")
        self.drop = keras.layers.Dropout(dropout)
        self.recurrence = Recurrence(
            cell, units, depth=depth, bidirectional=bidirectional, dropout=dropout
        )
        self.last = Pool("last", bidirectional=bidirectional)
        self.classes = keras.layers.Dense(classes, name="classes")
        self(ops.zeros((1, *image_shape)))  # makes the weights

    def call(self, images, training=False):
        sequence = self._sequence(images, training)
        hidden = self.last(*self.recurrence(sequence, training=training))
        return self.classes(self.drop(hidden, training=training))

    def _sequence(self, images, training):
        """Returns the image as the recurrence reads it, (batch, time, features)."""
        batch, height, width, channels = (ops.shape(images)[0], *images.shape[1:])
        if self.view == "image":
            maps = self.encoder(images, training=training)
            flat = ops.reshape(maps, (batch, maps.shape[1] * maps.shape[2] * maps.shape[3]))
            vector = self.drop(self.vector(flat), training=training)
            return ops.expand_dims(vector, 1)
        scaled = ops.cast(images, self.compute_dtype) / 127.5 - 1.0
        if self.view == "rows":
            return ops.reshape(scaled, (batch, height, width * channels))
        return ops.reshape(scaled, (batch, height * width, channels))
