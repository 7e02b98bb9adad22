"""The model of video labelling: a label for every frame."""

import keras
from keras import ops

from .image_encoder import ImageEncoder, doubling
from .recurrence import Recurrence

PLACES = 6  # a side, that the convolution leaves of a frame


class FrameLabeler(keras.Model):
    """Frames, each made a vector; recurrent layers over them; a class for every frame.

        x_t      = encoder(frame_t)             the same encoder at every frame
        h_t      = recurrence(x_1 ... x_t)      or of all frames, if it reads both ways
        logits_t = h_t W + b

    Args:
        cell: a name of `layers.CELLS`.
        frame_shape: (height, width, channels) of an image, or (features,).
        classes: number of classes.
        units: size of each recurrent state; a direction of a bidirectional layer has as many.
        depth: number of recurrent layers.
        bidirectional: whether a frame's label may depend on the frames after it.
        filters: filters in the first block of the convolution, for images.
        feature_size: size of a frame's vector.
        dropout: fraction to drop of a frame's vector, between layers, and before the class.

    Call arguments:
        inputs: `{"frames": (batch, time, *frame_shape), "mask": (batch, time)}`.

    Returns:
        logits (batch, time, classes).
    """

    def __init__(
        self,
        *,
        cell: str,
        frame_shape: tuple[int, ...],
        classes: int,
        units: int,
        depth: int = 1,
        bidirectional: bool = False,
        filters: int = 16,
        feature_size: int = 64,
        dropout: float = 0.0,
    ):
        super().__init__(name="frame_labeler")
        self.frame_shape = tuple(frame_shape)
        self.encoder = None
        if len(frame_shape) == 3:
            self.encoder = ImageEncoder(doubling(filters, frame_shape, PLACES))
        self.vector = keras.layers.Dense(feature_size, activation="relu", name="vector")
        self.drop = keras.layers.Dropout(dropout)
        self.recurrence = Recurrence(
            cell, units, depth=depth, bidirectional=bidirectional, dropout=dropout
        )
        self.classes = keras.layers.Dense(classes, name="classes")
        self({"frames": ops.zeros((1, 1, *frame_shape)), "mask": ops.ones((1, 1), "bool")})

    def call(self, inputs, training=False):
        frames, mask = inputs["frames"], ops.cast(inputs["mask"], "bool")
        vectors = self.drop(self.vector(self._flat(frames, training)), training=training)
        hidden, _ = self.recurrence(vectors, mask=mask, training=training)
        return self.classes(self.drop(hidden, training=training))

    def _flat(self, frames, training):
        """Returns what is known of each frame by itself, (batch, time, features)."""
        if self.encoder is None:
            return ops.cast(frames, self.compute_dtype)
        batch, time = ops.shape(frames)[:2]
        images = ops.reshape(frames, (-1, *self.frame_shape))
        maps = self.encoder(images, training=training)
        return ops.reshape(maps, (batch, time, maps.shape[1] * maps.shape[2] * maps.shape[3]))
