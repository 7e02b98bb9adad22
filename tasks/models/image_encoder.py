"""A small convolutional network that turns an image into a feature map."""

from collections.abc import Sequence

import keras
from keras import ops

from rnn_topologies.layers.typing import Tensor


def doubling_filters(first: int, image_shape: Sequence[int], max_side: int) -> tuple[int, ...]:
    """Returns the filters of blocks that halve an image until its longer side is short enough.

    Args:
        first: filters of the first block. Each block doubles them, up to eight times `first`.
        image_shape: (height, width, channels).
        max_side: longest side that the feature map may have.

    Example:
        >>> doubling_filters(16, (28, 28, 1), 4)
        (16, 32, 64, 128)
    """
    side, filters = max(image_shape[:2]), [first]
    while side > max_side:
        side = -(-side // 2)
        filters.append(min(2 * filters[-1], 8 * first))
    return tuple(filters)


class ImageEncoder(keras.layers.Layer):
    """Convolutional blocks, each of which makes the feature map smaller and deeper.

        block: 3 x 3 convolution, 2 x 2 max pooling (not in the last), layer normalization, ReLU

    Pixels are bytes, 0 to 255, and are scaled to -1 ... 1. Each position is normalized separately,
    so that the result depends neither on the other images in the batch nor on the padding of a
    clip.

    Args:
        filters: number of filters of each block.
        dropout: fraction of feature channels to drop after each block but the last.

    Call arguments:
        images: (batch, height, width, channels).

    Returns:
        (batch, height', width', filters[-1]); each block but the last halves height and width.

    Reference: Ba, Kiros and Hinton, 2016, "Layer normalization".
    """

    def __init__(
        self, filters: Sequence[int], *, dropout: float = 0.0, name: str = "image_encoder"
    ):
        super().__init__(name=name)
        self.convolutions = [
            keras.layers.Conv2D(count, 3, padding="same", name=f"convolution_{index}")
            for index, count in enumerate(filters)
        ]
        self.norms = [
            keras.layers.LayerNormalization(name=f"norm_{index}") for index in range(len(filters))
        ]
        self.pool = keras.layers.MaxPooling2D(2, padding="same")
        self.drop = keras.layers.SpatialDropout2D(dropout)

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        hidden = ops.cast(images, self.compute_dtype) / 127.5 - 1.0
        *blocks, (last_convolution, last_norm) = zip(self.convolutions, self.norms, strict=True)
        for convolution, norm in blocks:
            # Pooling first leaves a quarter of the positions to normalize.
            hidden = ops.relu(norm(self.pool(convolution(hidden))))
            hidden = self.drop(hidden, training=training)
        return ops.relu(last_norm(last_convolution(hidden)))
