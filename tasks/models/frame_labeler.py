"""The video labeling model: a class for every frame of a clip."""

from collections.abc import Mapping

import keras
from keras import ops

from rnn_topologies.layers.typing import Tensor

from .image_encoder import ImageEncoder, doubling_filters
from .recurrence import Recurrence

MAX_MAP_SIDE = 6  # height and width of the feature map, at most


class FrameLabeler(keras.Model):
    """Encodes every frame as a vector, runs recurrent layers over them, and labels every frame.

        x_t      = relu(encoder(frame_t) W' + b')    the same encoder for every frame
        h_t      = recurrence(x_1 ... x_t)           of all frames, if bidirectional
        logits_t = h_t W + b

    Args:
        cell: key of `layers.CELLS`.
        frame_shape: (height, width, channels) of an image, or (features,).
        classes: number of classes.
        units: size of each recurrent state, per direction.
        depth: number of recurrent layers.
        bidirectional: whether the label of a frame may depend on later frames.
        filters: filters of the first convolutional block, if frames are images.
        feature_size: size of the vector of a frame.
        dropout: fraction to drop of that vector, between recurrent layers, and before the output
            layer.

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
            self.encoder = ImageEncoder(doubling_filters(filters, frame_shape, MAX_MAP_SIDE))
        self.vector = keras.layers.Dense(feature_size, activation="relu", name="vector")
        self.drop = keras.layers.Dropout(dropout)
        self.recurrence = Recurrence(
            cell, units, depth=depth, bidirectional=bidirectional, dropout=dropout
        )
        self.classes = keras.layers.Dense(classes, name="classes")
        # Builds the weights.
        self({"frames": ops.zeros((1, 1, *frame_shape)), "mask": ops.ones((1, 1), "bool")})

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Tensor:
        frames, mask = inputs["frames"], ops.cast(inputs["mask"], "bool")
        features = self._extract_features(frames, training)
        vectors = self.drop(self.vector(features), training=training)
        hidden, _ = self.recurrence(vectors, mask=mask, training=training)
        return self.classes(self.drop(hidden, training=training))

    def _extract_features(self, frames: Tensor, training: bool) -> Tensor:
        """Returns features of each frame by itself, (batch, time, features)."""
        if self.encoder is None:
            return ops.cast(frames, self.compute_dtype)
        batch, time = ops.shape(frames)[:2]
        images = ops.reshape(frames, (-1, *self.frame_shape))
        maps = self.encoder(images, training=training)
        return ops.reshape(maps, (batch, time, maps.shape[1] * maps.shape[2] * maps.shape[3]))
