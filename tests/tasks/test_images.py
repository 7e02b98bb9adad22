"""Users' images: every mode, depth and orientation is read correctly or rejected in one line."""

import io
import struct
import warnings
import zlib

import keras
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from rnn_topologies.tasks.data import image_reader
from rnn_topologies.tasks.data.image_reader import read_image
from rnn_topologies.tasks.data.images import to_image_array
from rnn_topologies.tasks.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), "uint8")
COLORS = RNG.integers(0, 256, (5, 7, 3), "uint8")
ALPHA = RNG.integers(0, 256, (5, 7), "uint8")


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def decode(content: bytes) -> np.ndarray:
    return read_image(io.BytesIO(content), "an image")


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., np.newaxis] / 255
    return pixels * share + 255 * (1 - share)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "GIF", "PPM"])
def test_bytes_without_alpha_are_read_as_stored(file_format):
    for pixels in (GREY, COLORS) if file_format != "GIF" else (GREY,):
        read = decode(encode(Image.fromarray(pixels), file_format))
        np.testing.assert_array_equal(read, np.broadcast_to(np.atleast_3d(pixels), read.shape))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "PPM"])
def test_black_and_white_is_0_and_255(file_format):
    read = decode(encode(Image.fromarray(GREY > 99), file_format))
    np.testing.assert_array_equal(read[..., 0], np.where(GREY > 99, 255, 0))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP"])
def test_transparent_colors_are_composited_on_white(file_format):
    lossless = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    content = encode(Image.fromarray(np.dstack([COLORS, ALPHA])), file_format, **lossless)
    np.testing.assert_allclose(decode(content), on_white(COLORS, ALPHA), atol=1)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_transparent_greys_are_composited_on_white(file_format):
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    read = decode(encode(image, file_format))
    np.testing.assert_allclose(read, on_white(np.atleast_3d(GREY), ALPHA), atol=1)


def test_a_black_drawing_on_a_transparent_ground_stays_visible():
    pixels = np.zeros((8, 8, 4), "uint8")
    pixels[3:5, 3:5, 3] = 255
    read = decode(encode(Image.fromarray(pixels), "PNG"))
    assert read[3:5, 3:5].max() == 0
    assert read[:3].min() == 255


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_transparent_color_of_a_palette_is_white(file_format):
    image = Image.fromarray(np.array([[0, 1, 2]], "uint8"), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    read = decode(encode(image, file_format, transparency=1))
    np.testing.assert_array_equal(read[0], [[10, 20, 30], [255, 255, 255], [70, 80, 90]])


def png(depth: int, color_type: int, row: bytes, width: int, transparent: bytes) -> bytes:
    """A PNG file of one row, with chunks that Pillow reads but does not write."""
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    header = width.to_bytes(4) + (1).to_bytes(4) + bytes([depth, color_type, 0, 0, 0])
    for name, content in (
        (b"IHDR", header),
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(b"\0" + row)),
        (b"IEND", b""),
    ):
        PngImagePlugin.putchunk(file, name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(1, 0, b"\x80", 2, b"\0\0"), [255, 255]),
        (png(1, 0, b"\x80", 2, b"\0\1"), [255, 0]),
        (png(2, 0, b"\x60", 2, b"\0\2"), [85, 255]),
        (png(4, 0, b"\x3c", 2, b"\0\x0c"), [51, 255]),
        (png(8, 0, b"\x09\x63", 2, b"\0\x63"), [9, 255]),
        (png(16, 0, b"\x09\x01\x63\x02", 2, b"\x63\x02"), [9, 255]),
        (png(16, 2, b"\x80\0\x80\0\x80\0" + b"\0" * 6, 2, b"\x80\0" * 3), [255, 0]),
    ],
)
def test_the_transparent_color_of_a_png_file_has_the_depth_of_the_file(content, expected):
    np.testing.assert_array_equal(decode(content)[0, :, 0], expected)


DEEP = np.array([[0, 255, 256, 4095, 32768, 65535]], "uint16")
DEEP_BYTES = [0, 0, 1, 15, 128, 255]


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "PNG"), ("I;16B", "TIFF")],
)
def test_16_bit_greys_are_scaled_by_their_depth(mode, file_format):
    values = DEEP.astype(">u2") if mode == "I;16B" else DEEP
    image = Image.frombytes(mode, (6, 1), values.tobytes())
    np.testing.assert_array_equal(decode(encode(image, file_format))[0, :, 0], DEEP_BYTES)


def test_16_bit_greys_and_colors_are_scaled_alike():
    grey = decode(b"P5 6 1 65535\n" + DEEP.astype(">u2").tobytes())
    colors = decode(b"P6 6 1 65535\n" + DEEP.repeat(3).astype(">u2").tobytes())
    np.testing.assert_array_equal(grey[0, :, 0], DEEP_BYTES)
    np.testing.assert_allclose(colors[0, :, 1].astype(int), DEEP_BYTES, atol=1)
    row = DEEP.repeat(3).astype(">u2").tobytes()
    np.testing.assert_array_equal(decode(png(16, 2, row, 6, b"\xee" * 6))[0, :, 2], DEEP_BYTES)


def test_a_12_bit_pgm_file_is_scaled_by_its_maximum():
    values = np.array([0, 16, 2048, 4095], ">u2")
    assert decode(b"P5 4 1 4095\n" + values.tobytes())[0, :, 0].tolist() == [0, 1, 128, 255]


def tiff(content: bytes, size: tuple[int, int], *, bits, photometric=1, sample_format=1) -> bytes:
    """A TIFF file of one channel, also of kinds that Pillow reads but does not write."""
    tags = {256: size[0], 257: size[1], 258: bits, 259: 1, 262: photometric, 273: 8}
    tags |= {277: 1, 278: size[1], 279: len(content), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory


def test_12_bit_tiff_files_are_scaled_by_their_depth():
    content = tiff(b"\xff\xf8\x00", (2, 1), bits=12)  # 4095, 2048
    assert decode(content)[0, :, 0].tolist() == [255, 128]


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_files_whose_zero_is_white_are_inverted_at_every_depth(bits):
    content = tiff(bytes(bits // 8) + b"\xff" * (bits // 8), (2, 1), bits=bits, photometric=0)
    assert decode(content)[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.25, 1.0], [0, 64, 255]),
        ([0.0, 99.6, 255.0], [0, 100, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
        ([0.0, 0.0, 2.0], [0, 0, 2]),
    ],
)
def test_floats_are_read_from_0_to_1_and_from_0_to_255(values, expected):
    content = encode(Image.fromarray(np.array([values], "float32")), "TIFF")
    assert decode(content)[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array([[-0.5, 0.5]], "float32"), "-0.5 to 0.5"),
        (np.array([[0, 1.01]], "float32"), "0 to 1.01"),
        (np.array([[0, 65535]], "float32"), "0 to 65535"),
        (np.array([[0, np.nan]], "float32"), "nan to nan"),
        (np.array([[0, np.inf]], "float32"), "0 to inf"),
        (np.array([[0, 256]], "int32"), "0 to 256"),
        (np.array([[-1, 5]], "int32"), "-1 to 5"),
    ],
)
def test_values_without_a_known_range_are_refused(values, found):
    with pytest.raises(UserError, match=f"values range from {found}.* Scale them to 0 to"):
        decode(encode(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_signed_integers_are_read_if_they_are_bytes(bits):
    def encode_values(*values: int) -> bytes:
        content = np.array(values, f"<i{bits // 8}").tobytes()
        return tiff(content, (len(values), 1), bits=bits, sample_format=2)

    assert decode(encode_values(0, 99))[0, :, 0].tolist() == [0, 99]
    with pytest.raises(UserError, match="values range from -1 to 99"):
        decode(encode_values(-1, 99))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
@pytest.mark.parametrize("file_format", ["TIFF", "JPEG"])
def test_other_color_spaces_are_converted_as_pillow_does(mode, file_format):
    content = encode(Image.fromarray(COLORS).convert(mode), file_format)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    np.testing.assert_array_equal(decode(content), expected)


def test_lab_is_converted_to_srgb():
    flat = np.full((4, 4, 3), (200, 60, 30), "uint8")
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(flat), srgb, lab, outputMode="LAB")
    assert image is not None
    np.testing.assert_allclose(decode(encode(image, "TIFF")).astype(int), flat, atol=3)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("RGB", "PNG"),
        ("RGB", "JPEG"),
        ("RGB", "WEBP"),
        ("RGB", "TIFF"),
        ("L", "PNG"),
        ("I;16", "PNG"),
    ],
)
def test_images_are_turned_upright(orientation, mode, file_format):
    image = Image.fromarray(COLORS).convert("L" if mode != "RGB" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype("uint16") << 8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = encode(image, file_format, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    expected = upright >> 8 if mode == "I;16" else upright
    np.testing.assert_array_equal(decode(content), np.atleast_3d(expected))


@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0MM\0*", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0"],
)
def test_damaged_exif_does_not_make_an_image_unreadable(exif):
    content = encode(Image.fromarray(COLORS), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(content), COLORS)


@pytest.mark.parametrize("file_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_images_in_a_file_the_first_is_read(file_format):
    frames = [Image.fromarray(np.full((4, 4), shade, "uint8")) for shade in (30, 200, 90)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    content = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert (decode(content) == 30).all()


def test_the_suffixes_are_all_that_pillow_registers_for_the_formats():
    registered = Image.registered_extensions()
    assert set(image_reader.SUFFIXES) == {
        suffix for suffix, name in registered.items() if name in image_reader.FORMATS
    }


def test_the_content_decides_and_not_the_suffix(tmp_path):
    path = tmp_path / "photo.JPG"
    path.write_bytes(encode(Image.fromarray(COLORS), "PNG"))
    np.testing.assert_array_equal(read_image(path), COLORS)
    bare = path.rename(tmp_path / "photo")
    np.testing.assert_array_equal(read_image(bare), COLORS)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_images_are_read_as_keras_reads_them(tmp_path, mode):
    path = tmp_path / "image.jpg"
    Image.fromarray(COLORS).convert(mode).save(path)
    color_mode = "rgb" if mode == "RGB" else "grayscale"
    loaded = keras.utils.img_to_array(keras.utils.load_img(path, color_mode=color_mode))
    np.testing.assert_array_equal(read_image(path), loaded)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), "float32"),
        np.zeros((4, 4), "uint8"),
        np.zeros((4, 4, 4), "uint8"),
        np.zeros((1, 4, 4, 3), "uint8"),
    ],
)
def test_arrays_other_than_bytes_of_one_or_three_channels_are_refused(array):
    with pytest.raises(UserError, match=r"image 0 must be a uint8 array .*, got \w+ \("):
        to_image_array(array, "image 0")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP"])
def test_a_truncated_file_is_refused_or_read_in_full(file_format):
    content = encode(Image.fromarray(COLORS), file_format)
    whole = decode(content)
    for length in range(len(content)):
        try:
            pixels = decode(content[:length])
        except UserError:
            continue
        np.testing.assert_array_equal(pixels, whole, err_msg=f"{length} of {len(content)}")


def test_reading_warns_about_nothing(tmp_path):
    path = tmp_path / "bomb.pgm"
    path.write_bytes(b"P5 10000 10000 255\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match="exceed the limit of 50,000,000 pixels"):
            read_image(path)
