"""Images as uint8 arrays (height, width, channels): reading, resizing and augmentation."""

import io
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Self, TypeAlias

import numpy as np

from ..errors import UserError
from .image_reader import read_image
from .source import Source

ImageLike: TypeAlias = np.ndarray | bytes | str | pathlib.Path  # pixels, file content, or path


def to_image_array(image: ImageLike, name: str) -> np.ndarray:
    """Returns an array unchanged, and decodes file content or a path with `read_image`.

    Args:
        image: pixels, file content, or path.
        name: name of pixels and file content in error messages.

    Raises:
        UserError: an array is not uint8 (height, width, 1 or 3), an image cannot be read, or it is
            neither of these.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != "uint8" or image.ndim != 3 or image.shape[-1] not in (1, 3):
            raise UserError(
                f"{name} must be a uint8 array (height, width, channels) with 1 or 3 channels, "
                f"got {image.dtype} {image.shape}."
            )
        return image
    if isinstance(image, bytes):
        return read_image(io.BytesIO(image), name)
    if not isinstance(image, str | pathlib.Path):
        raise UserError(f"{name} must be an array, file content or a path, got {type(image)!r}.")
    return read_image(pathlib.Path(image).expanduser())


class ImageResizer:
    """Reads images and converts them all to the same size and number of channels.

    Args:
        size: height and width in pixels to resize to, or one number for both; None keeps the size,
            which must then be the same for all images.
        shape: (height, width, channels) of the result; None takes it from the first image.
    """

    def __init__(self, size: int | Sequence[int] | None, shape: Sequence[int] | None = None):
        self.size = None if size is None else tuple(np.broadcast_to(size, 2).tolist())
        self.shape: tuple[int, ...] | None = None if shape is None else tuple(shape)

    @classmethod
    def for_source(cls, source: Source, size: int | None, *, least: int, most: int) -> Self:
        """Returns the resizer for a data set.

        Args:
            source: the data set.
            size: height and width set by the user. By default, images of the user and of public
                data sets get their typical size, or `most` x `most` pixels if that is larger or
                unknown; others keep the size that all of them have.
            least: minimum height and width by default.
            most: maximum height and width by default.
        """
        if source.image_shape is None:
            return cls(size)
        height, width, channels = source.image_shape
        if size is not None:
            height = width = size
        elif height is None or width is None or max(height, width) > most:
            height = width = most
        else:
            height, width = max(height, least), max(width, least)
        return cls((height, width), (height, width, channels))

    def __call__(self, image: ImageLike, name: str) -> np.ndarray:
        """Returns the image as uint8 (height, width, channels).

        A greyscale image is repeated over three channels, and colours are converted to their luma
        (ITU-R 601-2, like Pillow's mode L), as needed.

        Raises:
            UserError: the image cannot be read, or has another size; names the image.
        """
        pixels = _resize(to_image_array(image, name), self.size)
        self.shape = self.shape or pixels.shape
        pixels = _convert_channels(pixels, self.shape[-1])
        if pixels.shape != self.shape:
            height, width, _ = pixels.shape
            raise UserError(
                f"{name} is {width} x {height} pixels, but the other images are {self.shape[1]} x "
                f"{self.shape[0]}. Resize all images with --image-size."
            )
        return pixels


def typical_shape(shapes: Iterable[Sequence[int]]) -> tuple[int, int, int]:
    """Returns the median height and width of images, and 3 channels if any image is in colour.

    Args:
        shapes: (height, width, channels) of each image.

    Example:
        >>> typical_shape([(32, 32, 1), (32, 32, 3), (40, 50, 1)])
        (32, 32, 3)
    """
    heights, widths, channels = zip(*shapes, strict=True)
    return statistics.median_low(heights), statistics.median_low(widths), max(channels)


def _resize(image: np.ndarray, size: tuple[int, ...] | None) -> np.ndarray:
    if size is None or image.shape[:2] == size:
        return image
    from PIL import Image

    height, width = size
    greyscale = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if greyscale else image)
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return pixels[..., np.newaxis] if greyscale else pixels


def _convert_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image[..., :1], 3, axis=-1)
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L"))[..., np.newaxis]


def augment_images(
    images: np.ndarray,
    random: np.random.Generator,
    *,
    random_translation: int = 0,
    horizontal_flip: bool = False,
) -> np.ndarray:
    """Returns a copy of the images, each translated and flipped at random.

    Args:
        images: (batch, height, width, channels).
        random: source of randomness.
        random_translation: largest shift in pixels, vertically and horizontally; pixels that move
            in repeat the edge.
        horizontal_flip: whether to flip each image left to right with probability 0.5.
    """
    images = np.array(images)
    if horizontal_flip:
        flipped = random.random(len(images)) < 0.5
        images[flipped] = images[flipped, :, ::-1]
    if random_translation:
        margin = (random_translation, random_translation)
        height, width = images.shape[1:3]
        padded = np.pad(images, [(0, 0), margin, margin, (0, 0)], mode="edge")
        offsets = random.integers(0, 2 * random_translation + 1, (len(images), 2))
        for image, padded_image, (y, x) in zip(images, padded, offsets, strict=True):
            image[:] = padded_image[y : y + height, x : x + width]
    return images


def image_names(images: Sequence[ImageLike]) -> list[str]:
    """Returns a name for each image for use in messages: its path, or its number."""
    return [
        str(image) if isinstance(image, str | pathlib.Path) else f"image {number}"
        for number, image in enumerate(images)
    ]
