"""Users' folders: common layouts are understood, ambiguous ones rejected in one line."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from rnn_topologies import tasks
from rnn_topologies.tasks.data.files import class_folders, clips, images, layout, texts
from rnn_topologies.tasks.data.images import to_image_array
from rnn_topologies.tasks.errors import UserError


def image(path: pathlib.Path, shade: int = 0) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), shade, "uint8")).save(path)
    return path


def fill(folder: pathlib.Path, names: str) -> pathlib.Path:
    """Writes an image of a different shade for each name."""
    for shade, name in enumerate(names.split()):
        image(folder / name, shade)
    return folder


def class_images(folder: pathlib.Path, count: int = 3) -> pathlib.Path:
    return fill(
        folder, " ".join(f"{label}/{n}.png" for label in ("cat", "dog") for n in range(count))
    )


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("training_set", "dev_set", "test_set"),
        ("TRN", "EVAL", "TST"),
        ("Training Data", "validation-data", "testing.data"),
        ("images/train", "images/val", "images/test"),
        ("train/images", "val/images", "test/images"),
        ("seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"),
    ],
)
def test_splits_are_found_at_common_layouts(tmp_path, train, validation, test):
    for count, name in ((5, train), (2, validation), (3, test)):
        class_images(tmp_path / name, count)
    source = images.read_image_classes(str(tmp_path))
    assert source.classes == ("cat", "dog")
    sizes = {split: len(rows) for split, rows in source.splits.items()}
    assert sizes == {"train": 10, "validation": 4, "test": 6}
    assert set(source.notes["splits"].values()) == {"provided"}


REFUSED = {
    "unknown names of splits": (
        "part1/cat/0.png part1/dog/0.png part2/cat/0.png part2/dog/0.png",
        r"part1 and part2 contain the same folders, cat, dog",
    ),
    "splits that share some classes": (
        "a/cat/0.png a/dog/0.png a/fox/0.png b/cat/0.png b/dog/0.png c/9.png",
        r"a and b contain the same folders, cat, dog",
    ),
    "an unknown name next to splits": (
        "train/cat/0.png train/dog/0.png val/cat/1.png val/dog/1.png hold/cat/2.png hold/dog/2.png",
        "hold contains the same folders as train, .* Name it validation or test, or move it away",
    ),
    "splits with one class": ("a/cat/0.png b/cat/0.png", "contain the same folders, cat"),
    "splits with a folder of images": (
        "a/images/cat/0.png a/images/dog/0.png b/images/cat/0.png b/images/dog/0.png",
        "a and b contain the same folders, cat, dog",
    ),
    "splits below the classes": (
        "cat/train/0.png cat/test/0.png dog/train/0.png dog/test/0.png",
        r"cat contains test, train. Move the classes into the splits: test/cat instead of cat/test",
    ),
    "classes one level down": (
        "animals/cat/0.png animals/dog/0.png",
        r"only one class, 'animals', which contains folders. .* use the path .*animals",
    ),
    "one class": ("cat/0.png cat/1.png", "only one class, 'cat'"),
    "images without classes": ("0.png 1.png", "no classes"),
    "a class only in test": (
        "train/cat/0.png train/dog/0.png test/cat/1.png test/dog/1.png test/fox/1.png",
        "the class 'fox' of test has no example in train",
    ),
    "classes that differ in case": (
        "train/cat/0.png train/dog/0.png test/Cat/1.png test/dog/1.png",
        "the class 'Cat' of test has no example in train",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_layouts_are_refused(tmp_path, case):
    names, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        images.read_image_classes(str(fill(tmp_path, names)))


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("cat/0.png dog/a/0.png dog/b/c/0.png", {"cat": 1, "dog": 2}),
        ("cat/images/0.png dog/images/0.png", {"cat": 1, "dog": 1}),
        ("cat/2020/0.png dog/2020/0.png dog/2021/0.png", {"cat": 1, "dog": 2}),
        ("A/0.png a/0.png b/0.png", {"A": 1, "a": 1, "b": 1}),
        ("-a/-0.png 🐱,\"'/0.png [red]/0.png", {"-a": 1, "[red]": 1, "🐱,\"'": 1}),
        ("cat/0.png dog/0.png @eaDir/x.png .git/x.png __MACOSX/y.png", {"cat": 1, "dog": 1}),
        (
            "cat/0.png cat/.ipynb_checkpoints/0.png dog/0.png dog/Thumbs.db.png",
            {"cat": 1, "dog": 2},
        ),
        ("Dataset/cat/0.png Dataset/dog/0.png", {"cat": 1, "dog": 1}),
    ],
)
def test_other_layouts_are_read(tmp_path, names, classes):
    files = class_folders.list_class_files(fill(tmp_path, names))
    assert {name: len(paths) for name, paths in files.items()} == classes


def test_names_that_are_not_utf8_are_escaped(tmp_path):
    path = tmp_path / "caf\udce9"
    for number in range(30):
        image(path / f"cat/{number}.png", number)
        image(path / f"gr\udcfcn/{number}.png", 100 + number)
        image(path / f"z\n{'y' * 200}/\udcff{number}.png", 200 + number)
    source = images.read_image_classes(str(path))
    assert source.name == "caf\\xe9"
    assert source.classes == ("cat", "gr\\xfcn", f"z\n{'y' * 200}")
    names = [row["name"] for rows in source.splits.values() for row in rows]
    assert "gr\\xfcn/3.png" in names
    assert json.loads(json.dumps([source.name, source.classes, names]).encode())
    task = tasks.get_task("classification")({"dataset": str(path)})
    assert task.dataset == "files/caf\\xe9"


def test_names_of_texts_and_clips_that_are_not_utf8_are_escaped(tmp_path):
    for number in range(30):
        for label in ("gr\udcfcn", "red"):
            path = tmp_path / f"texts/{label}/\udcff{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{label!a} {number}")
        (tmp_path / "clips").mkdir(exist_ok=True)
        rows = "".join(f"{frame},{number},{'ab'[frame % 2]}\n" for frame in range(4))
        (tmp_path / f"clips/\udcff{number}.csv").write_text("x,y,label\n" + rows)
    assert texts.read_text_files(str(tmp_path / "texts")).classes == ("gr\\xfcn", "red")
    source = clips.read_clips(str(tmp_path / "clips"))
    names = [row["name"] for rows in source.splits.values() for row in rows]
    assert "\\xff7" in names


@pytest.mark.parametrize(
    "names", [("Cat", "cat"), ("caf\u00e9", "cafe\u0301"), ("cat", "cat "), ("a cat", "a  cat")]
)
def test_classes_that_differ_in_spelling_only_are_refused(tmp_path, names):
    for name in names:
        image(tmp_path / name / "0.png")
    with pytest.raises(UserError, match="differ only in spelling"):
        images.read_image_classes(str(tmp_path))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_impossible_names_are_reported_as_missing(tmp_path, name):
    message = "no such file or folder|Unknown data set|neither a folder|cannot be read|no image"
    (tmp_path / "captions.csv").write_text(f"image,caption\n{'x' * 300}.png,a\n")
    for read in (
        images.read_image_classes,
        images.read_image_captions,
        clips.read_clip,
        lambda dataset: tasks.get_task("classification")({"dataset": dataset}),
        lambda dataset: tasks.get_task("classification")({"dataset": f"./{dataset}"}),
        lambda path: to_image_array(path, "image"),
        lambda _: images.read_image_captions(str(tmp_path)),
    ):
        with pytest.raises(UserError, match=message):
            read(name)


def test_images_that_are_all_dark_are_reported(tmp_path):
    for name, shade in (("dark", 15), ("bright", 200)):
        fill(tmp_path / name, "cat/0.png dog/0.png")
        image(tmp_path / name / "dog/1.png", shade)
    dark, bright = (
        images.read_image_classes(str(tmp_path / name)).notes.get("warnings", [])
        for name in ("dark", "bright")
    )
    assert any("the brightest pixel of all images is 15 of 255" in text for text in dark)
    assert not any("brightest" in text for text in bright)


def test_files_of_several_images_are_reported(tmp_path):
    fill(tmp_path, "cat/0.png dog/0.png cat/1.gif")
    pages = [Image.new("L", (4, 4), shade) for shade in (90, 30)]
    for suffix in ("gif", "tiff", "webp"):
        pages[0].save(tmp_path / f"dog/1.{suffix}", save_all=True, append_images=pages[1:])
    source = images.read_image_classes(str(tmp_path))
    for part in (source, source.select_fold(2, 1)):
        warnings = part.notes["warnings"]
        assert any("3 of 6 image files are animations" in text for text in warnings)


def test_texts_are_checked_alike(tmp_path):
    for name in ("a/good/1.txt", "a/bad/1.txt", "b/good/1.txt", "b/bad/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    with pytest.raises(UserError, match="a and b contain the same folders, bad, good"):
        texts.read_text_files(str(tmp_path))


def test_linked_folders_and_files_are_read(tmp_path):
    elsewhere = class_images(tmp_path / "elsewhere")
    data = tmp_path / "data"
    data.mkdir()
    (data / "cat").symlink_to(elsewhere / "cat", target_is_directory=True)
    (data / "dog").mkdir()
    (data / "dog/0.png").symlink_to(elsewhere / "dog/0.png")
    files = class_folders.list_class_files(data)
    assert {name: len(paths) for name, paths in files.items()} == {"cat": 3, "dog": 1}


@pytest.mark.parametrize("folder", ["images", "Images", "."])
def test_captions_of_images_behind_a_link_are_read(tmp_path, folder):
    elsewhere = tmp_path / "elsewhere"
    table = ["image,caption"]
    data = tmp_path / "data"
    data.mkdir()
    for number in range(40):
        path = image(elsewhere / f"{number}.png", number)
        table.append(f"{path.name},a thing")
        if folder == ".":
            (data / path.name).symlink_to(path)
    if folder != ".":
        (data / folder).symlink_to(elsewhere, target_is_directory=True)
    (data / "captions.csv").write_text("\n".join(table))
    assert sum(map(len, images.read_image_captions(str(data)).splits.values())) == 40


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing", "link is a broken link"),
        (".", "link is a link to a folder that contains it"),
        ("link", "link cannot be read: Too many levels"),
    ],
)
def test_broken_and_circular_links_are_refused(tmp_path, target, message):
    class_images(tmp_path)
    (tmp_path / "dog/link").symlink_to(target)
    with pytest.raises(UserError, match=message):
        images.read_image_classes(str(tmp_path))


def test_every_suffix_and_case_is_read_in_training(tmp_path):
    for number, suffix in enumerate(
        ("ppm", "PGM", "pbm", "jfif", "JPE", "webp", "bmp", "TIF", "gif")
    ):
        pixels = np.full((4, 4), 255 * (number % 2), "uint8")
        for label in ("a", "b"):
            path = tmp_path / label / f"{number}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).convert("1" if suffix == "pbm" else "L").save(path)
    rows = [
        row for split in images.read_image_classes(str(tmp_path)).splits.values() for row in split
    ]
    assert len(rows) == 18


@pytest.mark.parametrize("name", ["clip0.mp4", "clip0.AVI", "clip0.gif"])
@pytest.mark.parametrize("has_table", [True, False])
def test_videos_are_refused_with_a_way_to_extract_their_frames(tmp_path, name, has_table):
    (tmp_path / name).write_bytes(b"video")
    if has_table:
        (tmp_path / "labels.csv").write_text("clip,frame,label\nclip0,1,a\nclip0,2,b\n")
    message = rf"{name} is a video. Extract its frames .* ffmpeg -i .*{name} .*clip0/%05d.png"
    with pytest.raises(UserError, match=message):
        clips.read_clips(str(tmp_path))
    with pytest.raises(UserError, match=message):
        clips.read_clip(str(tmp_path / name))


@pytest.mark.parametrize("labels", ["clip,frame,label\nclip0,1,a\n", ""])
def test_videos_in_folders_are_refused_alike(tmp_path, labels):
    (tmp_path / "clip0").mkdir()
    (tmp_path / "clip0/a.mp4").write_bytes(b"video")
    if labels:
        (tmp_path / "labels.csv").write_text(labels)
    with pytest.raises(UserError, match="a.mp4 is a video"):
        clips.read_clips(str(tmp_path))
    with pytest.raises(UserError, match="a.mp4 is a video"):
        clips.read_clip(str(tmp_path / "clip0"))


def test_the_working_directory_is_a_data_set_with_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(class_images(tmp_path / "pets", 30))
    assert tasks.get_task("classification")({"dataset": "."}).dataset == "files/pets"
    assert images.read_image_classes(".").name == "pets"


def test_a_clip_has_the_same_frames_in_training_and_in_predict(tmp_path):
    fill(tmp_path, "clip/1.ppm clip/2.jpe clip/10.png")
    (tmp_path / "labels.csv").write_text("clip,frame,label\nclip,1,a\nclip,2,b\nclip,10,a\n")
    (trained,) = clips._read_image_clips(tmp_path)
    assert clips.read_clip(str(tmp_path / "clip")) == trained["frames"]


def test_split_names_below_classes_are_told_from_others():
    assert layout.find_split_names(["train", "Test_Set", "bus", "my_val"]) == ["Test_Set", "train"]
