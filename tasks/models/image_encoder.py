"""Convolutions that turn an image into a small map of features."""

import keras
from keras import ops


def doubling(first: int, image_shape, places: int) -> tuple[int, ...]:
    """Returns widths for blocks that halve an image until few places are left.

    Args:
        first: features of the first block; each has twice as many as the one before, up to eight
            times as many as the first.
        image_shape: (height, width, channels).
        places: to be left a side, at most.
    """
    side, widths = max(image_shape[:2]), [first]
    while side > places:
        side = -(-side // 2)
        widths.append(min(2 * widths[-1], 8 * first))
    return tuple(widths)


class ImageEncoder(keras.layers.Layer):
    """An image as a map of features, smaller and deeper with each block.

        block: convolution 3 x 3, the largest of 2 x 2 (not in the last), normalization, ReLU

    Pixels come as bytes, 0 to 255, and are scaled to -1 ... 1. Features are normalized over each
    place by itself: what an image is taken for depends neither on the other images of its batch
    nor on the padding of a clip.

    Args:
        widths: features of each block.
        dropout: fraction of whole features to drop after each block but the last.

    Call arguments:
        images: (batch, height, width, channels).

    Returns:
        (batch, height', width', widths[-1]); each block but the last halves height and width.

    Reference: Ba, Kiros and Hinton, 2016, "Layer normalization".
    """

    def __init__(self, widths, *, dropout: float = 0.0, name: str = "image_encoder"):
        super().__init__(name=name)
        self.convolutions = [
            keras.layers.Conv2D(width, 3, padding="same", name=f"convolution_{number}")
            for number, width in enumerate(widths)
        ]
        self.norms = [
            keras.layers.LayerNormalization(name=f"norm_{number}") for number in range(len(widths))
        ]
        self.pool = keras.layers.MaxPooling2D(2, padding="same")
        self.drop = keras.layers.SpatialDropout2D(dropout)

    def call(self, images, training=False):
        hidden = ops.cast(images, self.compute_dtype) / 127.5 - 1.0
        *blocks, (convolution, norm) = zip(self.convolutions, self.norms, strict=True)
        for convolve, normalize in blocks:
            # Pooling first leaves a quarter of the places to be normalized.
            hidden = ops.relu(normalize(self.pool(convolve(hidden))))
            hidden = self.drop(hidden, training=training)
        return ops.relu(norm(convolution(hidden)))
