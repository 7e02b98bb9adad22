"""Decoding of image files to uint8: every mode, depth and orientation that Pillow can read.

Training and `predict` share this reader. What it does beyond Pillow's `convert`:

    orientation       images are rotated upright according to their EXIF tag
    transparency      composited on white
    16-bit greyscale  the high byte, as Pillow does for 16-bit colours; 12-bit the high 8 bits
    floats            0 to 1 or 0 to 255; anything else is rejected, never clipped
    32-bit integers   0 to 255; anything else is rejected, because the range is unknown
    LAB               converted to sRGB, which Pillow's `convert` does not support

Of files with several images, the first is read. Colour profiles and gamma are ignored.
"""

import io
import pathlib
import struct
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import UserError

if TYPE_CHECKING:
    from PIL import Image, ImageFile

# Pillow supports more formats, some of them through external programs such as Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")
# File name suffixes of these formats, all that Pillow knows.
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tif", ".tiff", ".webp"),
)
MAX_PIXELS = 50_000_000  # per image: a small file may decode to gigabytes
GREYSCALE_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
# The transparent grey of a PNG file is stored at the file's depth, but Pillow compares it with
# pixels that it has scaled to 8 bits.
PNG_GREY_SCALES = {"1": 255, "L;2": 85, "L;4": 17}
# Turn an image upright, by its EXIF orientation.
UPRIGHT = 1
TO_UPRIGHT: Mapping[int, Callable[[np.ndarray], np.ndarray]] = {
    UPRIGHT: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}
# Floats slightly above 1 do not mean a range of 0 to 255: the image would be black.
MIN_BYTE_PEAK = 2
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF tags
WHITE_IS_ZERO, SIGNED = 0, 2  # their values
# Raised by decoders for damaged files.
DECODER_ERRORS = (OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, struct.error)


def read_image(file: str | pathlib.Path | BinaryIO, name: str | None = None) -> np.ndarray:
    """Returns an image file as uint8: (height, width, 1) if greyscale, else (height, width, 3).

    Args:
        file: a path or an open binary file. The format is detected from the content.
        name: name of the image in error messages; by default `file`.

    Raises:
        UserError: the file cannot be decoded, or the range of its values is unknown; names the
            file.
    """
    from PIL import Image, UnidentifiedImageError

    name = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata and sizes: checked here
            with Image.open(file, formats=FORMATS) as image:
                return _decode(image)
    except UnidentifiedImageError as error:
        raise UserError(_describe_unidentified(name)) from error
    except (*DECODER_ERRORS, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{name} cannot be read as an image: {reason}.") from error


def holds_several_images(content: bytes) -> bool:
    """Whether a file that `read_image` can read is an animation or has several pages.

    JPEG files from phones, which may contain previews next to the picture, do not count.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            try:
                return image.format != "MPO" and getattr(image, "is_animated", False)
            except DECODER_ERRORS:  # only what follows the first image is damaged
                return True


def _describe_unidentified(name: str) -> str:
    suffix = pathlib.PurePath(name).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        suffixes = ", ".join(SUFFIXES)
        return f"{name} is not an image. Expected a file that ends in one of {suffixes}."
    formats = ", ".join(FORMATS)
    return f"{name} cannot be read as an image: it is damaged, or not one of {formats}."


def _decode(image: "ImageFile.ImageFile") -> np.ndarray:
    width, height = image.size  # known before anything is decoded
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels exceed the limit of {MAX_PIXELS:,} pixels")
    _scale_transparent_color(image)
    image.load()
    is_grey = image.mode in GREYSCALE_MODES
    pixels = _to_grey(image)[..., np.newaxis] if is_grey else np.asarray(_to_rgb(image))
    return np.ascontiguousarray(TO_UPRIGHT[_read_orientation(image)](pixels))


def _read_orientation(image: "Image.Image") -> int:
    """Returns the EXIF orientation, or upright if there is no valid one."""
    from PIL import ExifTags

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except DECODER_ERRORS:  # only the EXIF is damaged: show the image as stored, as viewers do
        return UPRIGHT
    return orientation if orientation in TO_UPRIGHT else UPRIGHT


def _scale_transparent_color(image: "ImageFile.ImageFile") -> None:
    """Converts the transparent colour of a PNG file to 8 bits, like its pixels."""
    color = image.info.get("transparency")
    if image.format != "PNG" or color is None:
        return
    sample_format = image.tile[0].args
    if sample_format in PNG_GREY_SCALES:
        image.info["transparency"] = color * PNG_GREY_SCALES[sample_format]
    elif sample_format == "RGB;16B":  # Pillow keeps only the high bytes
        image.info["transparency"] = tuple(value >> 8 for value in color)


def _to_rgb(image: "Image.Image") -> "Image.Image":
    """Returns an image of 8 bits per channel as RGB, composited on white."""
    from PIL import Image

    if image.mode == "LAB":
        return _lab_to_rgb(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _lab_to_rgb(image: "Image.Image") -> "Image.Image":
    from PIL import ImageCms

    lab, srgb = (ImageCms.createProfile(name) for name in ("LAB", "sRGB"))
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # it is None only for a conversion in place
    return converted


def _to_grey(image: "Image.Image") -> np.ndarray:
    """Returns a greyscale image of any depth as uint8 (height, width), composited on white."""
    tags = getattr(image, "tag_v2", {})  # those of TIFF files
    if image.mode == "L" and _first(tags.get(SAMPLE_FORMAT)) == SIGNED:
        return _check_range(np.asarray(image).view("int8"))
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(_to_rgb(image))[..., 0]
    values = np.asarray(image)
    if image.mode == "I" and image.format == "PPM":
        return (values >> 8).astype("uint8")  # Pillow scales deep PGM files to 16 bits
    if image.mode in ("I", "F"):
        grey = _check_range(values)
    else:
        grey = (values >> (_first(tags.get(BITS_PER_SAMPLE, 16)) - 8)).astype("uint8")
    grey[values == image.info.get("transparency")] = 255
    # Pillow inverts such files only up to 8 bits.
    return 255 - grey if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else grey


def _first(value: Any) -> Any:
    """Returns the first of the values of a TIFF tag, which may be a tuple or a single value."""
    return value[0] if isinstance(value, tuple) else value


def _check_range(values: np.ndarray) -> np.ndarray:
    """Returns numbers of unknown depth as uint8: 0 to 255, or 0 to 1 for floats.

    Raises:
        ValueError: the numbers have another range.
    """
    low, high = values.min(), values.max()
    is_float = values.dtype.kind == "f"
    if is_float and 0 <= low <= high <= 1:
        return np.round(values * 255).astype("uint8")
    if 0 <= low <= high <= 255 and not (is_float and high < MIN_BYTE_PEAK):
        return np.round(values).astype("uint8")
    expected = "0 to 1 or 0 to 255" if is_float else "0 to 255"
    raise ValueError(
        f"its values range from {low:g} to {high:g}, with unknown meaning. Scale them to "
        f"{expected}, or save the image with 8 or 16 bits"
    )
