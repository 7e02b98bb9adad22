"""Random images and folders are read as by Pillow and Keras, or rejected with one clear error.

Where Pillow or Keras lose information (depth, transparency, orientation), NumPy computes what is
expected. RNN_TOPOLOGIES_ODD_IMAGES sets the number of cases per test, for a longer search.
"""

import contextlib
import io
import os
import pathlib
import tempfile
import warnings
from collections import Counter

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from rnn_topologies.tasks.data.files import class_folders, clips, images
from rnn_topologies.tasks.data.files.entries import skip_wrapper
from rnn_topologies.tasks.data.image_reader import read_image
from rnn_topologies.tasks.errors import UserError

COUNT = os.environ.get("RNN_TOPOLOGIES_ODD_IMAGES", "60")
ODD = settings(
    max_examples=int(COUNT),
    deadline=None,
    derandomize="RNN_TOPOLOGIES_ODD_IMAGES" not in os.environ,
)
# Formats that store each mode without loss.
LOSSLESS = {
    "1": ["PNG", "TIFF", "BMP", "PPM"],
    "L": ["PNG", "TIFF", "BMP", "PPM"],
    "LA": ["PNG", "TIFF"],
    "P": ["PNG", "GIF", "TIFF", "BMP"],
    "RGB": ["PNG", "TIFF", "BMP", "PPM", "WEBP"],
    "RGBA": ["PNG", "TIFF", "WEBP"],
    "CMYK": ["TIFF"],
    "YCbCr": ["TIFF"],
    "I;16": ["PNG", "TIFF", "PPM"],
    "I;16B": ["TIFF"],
    "I": ["TIFF"],
    "F": ["TIFF", "PPM"],
}
ANY_FORMAT = ["PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP", "GIF"]
CHANNELS = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3}
WITH_EXIF = ("PNG", "TIFF", "JPEG", "WEBP")


@st.composite
def pixels(draw, mode):
    """Values of an image in a mode, as its file stores them."""
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    low, high = sorted((draw(st.integers(0, 255)), draw(st.integers(0, 255))))
    if mode in ("I;16", "I;16B"):
        return random.integers(low, 256 * high + 256, shape).astype("uint16")
    if mode == "I":
        return random.integers(draw(st.sampled_from([low, -1])), high + 1, shape).astype("int32")
    if mode == "F":
        most = draw(st.sampled_from([1, 1.5, 255, 256]))
        return random.uniform(draw(st.sampled_from([0, -1])), most, shape).astype("float32")
    shape += (CHANNELS[mode],) if mode in CHANNELS else ()
    return random.integers(low, high + 1, shape).astype("uint8")


def make_image(mode: str, values: np.ndarray) -> Image.Image:
    if mode == "1":
        return Image.fromarray(values > 127)
    if mode == "P":
        image = Image.frombytes("P", values.shape[::-1], values.tobytes())
        image.putpalette(np.random.default_rng(values[0, 0]).bytes(768))
        return image
    if mode == "I;16B":
        values = values.astype(">u2")
    return Image.frombytes(mode, values.shape[1::-1], np.ascontiguousarray(values).tobytes())


def expected_pixels(mode: str, values: np.ndarray, image: Image.Image) -> np.ndarray | None:
    """The expected pixels as floats, or None if the range of the values is unknown."""
    if mode in ("I;16", "I;16B"):
        return values // 256.0
    if mode in ("I", "F"):
        low, high = values.min(), values.max()
        is_fraction = mode == "F" and high <= 1
        if low < 0 or high > 255 or (mode == "F" and 1 < high < 2):
            return None
        return values * 255.0 if is_fraction else values
    if mode in ("LA", "RGBA"):
        share = values[..., -1:] / 255
        return values[..., :-1] * share + 255 * (1 - share)
    return np.asarray(image.convert("L" if mode in ("1", "L") else "RGB"), "float64")


def encode(image: Image.Image, file_format: str, orientation: int | None = None) -> bytes:
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    if orientation is not None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options["exif"] = exif
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def upright(values: np.ndarray, orientation: int | None) -> np.ndarray:
    """Rotates pixels with Pillow, one channel at a time."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation or 1
    channels = []
    for channel in np.moveaxis(np.atleast_3d(values).astype("float32"), -1, 0):
        image = Image.fromarray(channel)
        image.info["exif"] = exif.tobytes()
        channels.append(np.asarray(ImageOps.exif_transpose(image)))
    return np.stack(channels, -1)


@ODD
@given(
    data=st.data(), mode=st.sampled_from(list(LOSSLESS)), orientation=st.none() | st.integers(0, 9)
)
def test_images_of_any_mode_are_read_right(data, mode, orientation):
    file_format = data.draw(st.sampled_from(LOSSLESS[mode]))
    values = data.draw(pixels(mode))
    image = make_image(mode, values)
    orientation = orientation if file_format in WITH_EXIF else None
    content = encode(image, file_format, orientation)
    expected = expected_pixels(mode, values, image)
    if expected is None:
        with np.testing.assert_raises_regex(
            UserError, "image: its values range from .* Scale them to"
        ):
            read_image(io.BytesIO(content), "an image")
        return
    result = read_image(io.BytesIO(content), "an image")
    assert result.dtype == "uint8"
    expected = upright(expected, orientation)
    assert result.shape[:2] == expected.shape[:2]
    # Compositing and fractions are rounded; everything else is exact.
    tolerance = 1 if mode in ("LA", "RGBA", "F") else 0
    np.testing.assert_allclose(result, np.broadcast_to(expected, result.shape), atol=tolerance)


@ODD
@given(data=st.data(), file_format=st.sampled_from(ANY_FORMAT), grey=st.booleans())
def test_plain_images_are_read_as_keras_reads_them(data, file_format, grey):
    mode = "L" if grey else "RGB"
    content = encode(make_image(mode, data.draw(pixels(mode))), file_format)
    with tempfile.NamedTemporaryFile(suffix=f".{file_format.lower()}") as file:
        file.write(content)
        file.flush()
        result = read_image(file.name)
        color_mode = "grayscale" if result.shape[-1] == 1 else "rgb"
        loaded = keras.utils.img_to_array(keras.utils.load_img(file.name, color_mode=color_mode))
    np.testing.assert_array_equal(result, loaded)


@ODD
@given(data=st.data(), mode=st.sampled_from(list(LOSSLESS)))
def test_damaged_images_are_read_or_refused(data, mode):
    file_format = data.draw(st.sampled_from(LOSSLESS[mode]))
    orientation = data.draw(st.none() | st.integers(0, 9)) if file_format in WITH_EXIF else None
    content = bytearray(encode(make_image(mode, data.draw(pixels(mode))), file_format, orientation))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(UserError):
            result = read_image(io.BytesIO(content), "an image")
            assert result.dtype == "uint8"
            assert result.shape[-1] in (1, 3)


NAMES = st.sampled_from(
    [
        *("cat", "dog", "Fox", "-a", "b c", "ü", "🐱", "[red]", "1", "10", "2", "a,b", "n" * 60),
        *("train", "Test", "val_set", "images", "__MACOSX", ".git", "part1", "part2"),
    ]
)
FILES = st.sampled_from(
    [f"{name}{suffix}" for name in "01🐱a" for suffix in (".png", ".JPG", " b.jpeg", ".bmp")]
    + [".hidden", "Thumbs.db"]
)
PATHS = st.tuples(st.lists(NAMES, min_size=1, max_size=3).map("/".join), FILES).map(
    lambda pair: "/".join(pair)
)


def write_images(folder: pathlib.Path, names: set[str]) -> None:
    for number, name in enumerate(sorted(names)):
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, "uint8")).save(path, "PNG")


def classes_of_keras(folder: pathlib.Path) -> Counter:
    """The number of images that Keras finds in each class, without hidden and system files."""
    dataset = keras.utils.image_dataset_from_directory(
        folder, label_mode="int", image_size=(4, 4), shuffle=False, verbose=False
    )
    paths = [pathlib.Path(path).relative_to(folder) for path in dataset.file_paths]
    system = [path for path in paths if any(p.startswith((".", "__MACOSX")) for p in path.parts)]
    return Counter(path.parts[0] for path in paths if path not in system)


@ODD
@given(names=st.sets(PATHS, min_size=1, max_size=14))
def test_folders_are_read_as_keras_reads_them_or_refused(names):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        write_images(path, names)
        try:
            files = class_folders.list_class_files(path)
        except UserError:
            return
        found = {name: len(paths) for name, paths in files.items()}
        assert found == dict(classes_of_keras(skip_wrapper(path)))


@ODD
@given(names=st.sets(PATHS, min_size=1, max_size=14))
def test_any_folder_is_read_or_refused(names):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        write_images(path, names)
        (path / "labels.csv").write_text("clip,frame,label\ncat,0,a\n")
        for read in (images.read_image_classes, images.read_image_captions, clips.read_clips):
            with contextlib.suppress(UserError):
                source = read(folder)
                assert len(source.classes) != 1
