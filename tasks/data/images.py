"""Images as arrays of bytes, (height, width, channels): reading, resizing, and variation."""

import io
import pathlib
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from ..errors import UserError

# Pillow reads more; some of it by other programs.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MOST_PIXELS = 50_000_000  # of one image: a small file may decode to gigabytes


def read(file: str | pathlib.Path | BinaryIO, name: str | None = None) -> np.ndarray:
    """Returns an image as bytes: (height, width, 1) if it is grey, else (height, width, 3).

    Raises:
        UserError: it cannot be decoded; says which file it is.
    """
    from PIL import Image

    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size  # known before anything is decoded
            if width * height > MOST_PIXELS:
                raise ValueError(f"{width} x {height} are more than {MOST_PIXELS:,} pixels")
            grey = image.mode in ("1", "L", "I", "I;16", "F")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{name or file} cannot be read as an image: {error}") from error
    return pixels[..., np.newaxis] if grey else pixels


def of(image: np.ndarray | bytes | str | pathlib.Path, name: str) -> np.ndarray:
    """Returns an image as bytes, given as such, or as a file's content or path; see `read`."""
    if isinstance(image, np.ndarray):
        return image
    return read(io.BytesIO(image) if isinstance(image, bytes) else image, name)


class Fit:
    """Brings images to one shape.

    Args:
        size: pixels a side to resize to; None keeps the size, which must then be one for all.
        shape: (height, width, channels) of the images to come; None takes it from the first.
    """

    def __init__(self, size: int | None, shape: Sequence[int] | None = None):
        self.size = size
        self.shape = tuple(shape) if shape is not None else None

    def __call__(self, image: np.ndarray | bytes | str | pathlib.Path, name: str) -> np.ndarray:
        """Returns the image in that shape, its grey repeated or its colours averaged if need be.

        Raises:
            UserError: it cannot be read, or is of another size; says which image it is.
        """
        image = _resized(of(image, name), self.size)
        self.shape = self.shape or image.shape
        image = _with_channels(image, self.shape[-1])
        if image.shape != self.shape:
            height, width, _ = image.shape
            raise UserError(
                f"{name} has {width} x {height} pixels, others {self.shape[1]} x {self.shape[0]}: "
                "bring all to one size with --image-size."
            )
        return image


def _resized(image: np.ndarray, size: int | None) -> np.ndarray:
    if size is None or image.shape[:2] == (size, size):
        return image
    from PIL import Image

    grey = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if grey else image)
    pixels = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    return pixels[..., np.newaxis] if grey else pixels


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image[..., :1], 3, axis=-1)
    return np.round(image.mean(axis=-1, keepdims=True)).astype("uint8")


def varied(
    images: np.ndarray, random: np.random.Generator, *, shift: int = 0, mirror: bool = False
) -> np.ndarray:
    """Returns the images, each moved a little and mirrored at random.

    Args:
        images: (batch, height, width, channels).
        random: draws it.
        shift: pixels at most, up, down, left or right; what comes in repeats the edge.
        mirror: whether one half of them has left and right exchanged.
    """
    images = np.array(images)
    if mirror:
        turned = random.random(len(images)) < 0.5
        images[turned] = images[turned, :, ::-1]
    if shift:
        height, width = images.shape[1:3]
        wide = np.pad(images, [(0, 0), (shift, shift), (shift, shift), (0, 0)], mode="edge")
        places = random.integers(0, 2 * shift + 1, (len(images), 2))
        for image, whole, (y, x) in zip(images, wide, places, strict=True):
            image[:] = whole[y : y + height, x : x + width]
    return images


def names(images: Sequence) -> list[str]:
    """Returns what to call each image: its path, or its number."""
    return [
        str(image) if isinstance(image, str | pathlib.Path) else f"image {number}"
        for number, image in enumerate(images)
    ]
