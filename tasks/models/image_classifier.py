"""The image classification model: one image, read at once or as a sequence, and one class."""

from typing import Literal

import keras
from keras import ops

from rnn_topologies.layers.typing import Tensor

from .image_encoder import ImageEncoder, doubling_filters
from .recurrence import Pool, Recurrence

MAX_MAP_SIDE = 4  # height and width of the feature map, at most
View = Literal["image", "rows", "pixels"]


class ImageClassifier(keras.Model):
    """Classifies an image that the recurrence reads in one step, row by row, or pixel by pixel.

        image    one step:             h = cell(relu(W encoder(image) + b), 0)
        rows     height steps:         h_t = cell(row_t, h_{t-1}), from top to bottom
        pixels   height * width steps: h_t = cell(pixel_t, h_{t-1}), row by row

        logits = h W' + b'

    With a single step from a zero state nothing recurs: the recurrent weights of the cell are
    multiplied by zero, so they neither learn nor matter.

    Args:
        cell: key of `layers.CELLS`.
        image_shape: (height, width, channels).
        classes: number of classes.
        view: how the image is read: "image", "rows" or "pixels".
        units: size of each recurrent state, per direction.
        depth: number of recurrent layers.
        bidirectional: whether to read rows or pixels in both directions.
        filters: filters of the first convolutional block, with the view "image".
        feature_size: size of the vector that the cell reads, with the view "image".
        dropout: fraction to drop of that vector, between recurrent layers, and before the output
            layer.

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
            block_filters = doubling_filters(filters, image_shape, MAX_MAP_SIDE)
            self.encoder = ImageEncoder(block_filters, dropout=dropout / 2)
            self.vector = keras.layers.Dense(feature_size, activation="relu", name="vector")
        self.drop = keras.layers.Dropout(dropout)
        self.recurrence = Recurrence(
            cell, units, depth=depth, bidirectional=bidirectional, dropout=dropout
        )
        self.last = Pool("last", bidirectional=bidirectional)
        self.classes = keras.layers.Dense(classes, name="classes")
        self(ops.zeros((1, *image_shape)))  # builds the weights

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        sequence = self._to_sequence(images, training)
        outputs, states = self.recurrence(sequence, training=training)
        hidden = self.last(outputs, states)
        return self.classes(self.drop(hidden, training=training))

    def _to_sequence(self, images: Tensor, training: bool) -> Tensor:
        """Returns images the way the recurrence reads them, (batch, time, features)."""
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
