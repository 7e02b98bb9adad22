"""The default size of images, which no single image determines."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from rnn_topologies import tasks
from rnn_topologies.tasks.base import Data, Task
from rnn_topologies.tasks.data.images import ImageResizer
from rnn_topologies.tasks.data.source import Source
from rnn_topologies.tasks.errors import UserError

SMALL = {"units": 4, "feature_size": 4, "filters": 2}


def save(path: pathlib.Path, shape: tuple[int, ...], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, "uint8")
    Image.fromarray(pixels).save(path)


def classification(folder: pathlib.Path, shapes: list[tuple[int, ...]]) -> Task:
    for number in range(60):
        save(folder / f"{number % 2}/{number}.png", shapes[number % len(shapes)], number)
    return tasks.get_task("classification")({**SMALL, "dataset": str(folder)})


def image_captioning(folder: pathlib.Path, shapes: list[tuple[int, ...]]) -> Task:
    for number in range(60):
        save(folder / f"{number}.png", shapes[number % len(shapes)], number)
    rows = "".join(f"{number}.png,a thing\n" for number in range(60))
    (folder / "captions.csv").write_text("image,caption\n" + rows)
    return tasks.get_task("image_captioning")({**SMALL, "dataset": str(folder), "tokens": "words"})


def video_labeling(folder: pathlib.Path, shapes: list[tuple[int, ...]]) -> Task:
    rows = ["clip,frame,label"]
    for clip in range(25):
        for frame in range(4):
            save(folder / f"{clip}/{frame}.png", shapes[frame % len(shapes)], 4 * clip + frame)
            rows.append(f"{clip},{frame},{frame % 2}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return tasks.get_task("video_labeling")({**SMALL, "dataset": str(folder)})


def shape_of(data: Data) -> tuple[int, ...]:
    return tuple(data.notes.get("image_shape") or data.notes["frame_shape"])


@pytest.mark.parametrize("make", [classification, image_captioning, video_labeling])
@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(24, 24)], (24, 24, 1)),
        ([(30, 20, 3)], (30, 20, 3)),
        ([(24, 24), (24, 24), (24, 24), (31, 17)], (24, 24, 1)),
        ([(24, 24, 3), (24, 24)], (24, 24, 3)),
        ([(24, 24), (24, 24, 3)], (24, 24, 3)),
    ],
    ids=["equal", "not square", "one of another size", "colours first", "grey first"],
)
def test_small_images_keep_their_typical_size(tmp_path, make, shapes, expected):
    task = make(tmp_path, shapes)
    data = task.load_data()
    assert shape_of(data) == expected
    assert task.config.image_size is None
    height, width, channels = expected
    colors = "greyscale" if channels == 1 else "colour"
    assert f"images: {width} x {height} pixels, {colors}" in task.describe_data(data)


@pytest.mark.parametrize(
    ("make", "smallest", "largest"),
    [(classification, 4, 64), (image_captioning, 16, 112), (video_labeling, 8, 32)],
)
def test_large_and_tiny_images_get_the_size_of_the_task(tmp_path, make, smallest, largest):
    for name, shape, side in (("large", (120, 40), largest), ("tiny", (1, 1), smallest)):
        task = make(tmp_path / name, [shape])
        assert shape_of(task.load_data()) == (side, side, 1)


@pytest.mark.parametrize("make", [classification, image_captioning, video_labeling])
def test_images_of_any_size_are_resized_for_a_trained_model(tmp_path, make):
    task = make(tmp_path, [(24, 18)])
    data = task.load_data()
    model = task.build_model(data)
    save(tmp_path / "large.png", (90, 50, 3), 0)
    path = str(tmp_path / "large.png")
    clip = [path, path] if make is video_labeling else path
    assert len(task.predict(model, [clip], data)) == 1


def test_a_pretrained_encoder_gets_large_images(tmp_path):
    image_captioning(tmp_path, [(24, 18)])
    settings = {"dataset": str(tmp_path), "encoder": "MobileNetV2"}
    assert shape_of(tasks.get_task("image_captioning")(settings).load_data()) == (112, 112, 1)
    settings["image_size"] = 48
    assert shape_of(tasks.get_task("image_captioning")(settings).load_data()) == (48, 48, 1)


def test_a_chosen_size_is_used_for_small_images(tmp_path):
    classification(tmp_path, [(24, 24)])
    task = tasks.get_task("classification")({"dataset": str(tmp_path), "image_size": 48})
    assert shape_of(task.load_data()) == (48, 48, 1)


def test_built_in_images_keep_their_size():
    assert shape_of(tasks.get_task("classification")({"limit": 8}).load_data()) == (8, 8, 1)


def test_public_images_without_a_declared_size_get_the_largest_one():
    source = Source("flowers", "", {}, image_shape=(None, None, 3))
    resize = ImageResizer.for_source(source, None, least=4, most=64)
    assert resize(np.zeros((20, 30, 1), "uint8"), "a").shape == (64, 64, 3)


def test_colours_become_grey_as_in_pillow():
    colors = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")
    grey = ImageResizer(None, (5, 7, 1))(colors, "a")
    np.testing.assert_array_equal(grey[..., 0], np.asarray(Image.fromarray(colors).convert("L")))


def test_a_damaged_image_is_named_by_its_path(tmp_path):
    task = classification(tmp_path, [(24, 24)])
    data = task.load_data()
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(UserError, match=f"{tmp_path}/bad.png cannot be read as an image"):
        task.predict(None, [str(tmp_path / "bad.png")], data)
