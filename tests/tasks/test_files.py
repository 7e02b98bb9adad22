"""Files of the user: every format, every error with its location, stable splits."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from rnn_topologies.tasks.data import splits
from rnn_topologies.tasks.data.files import clips, images, texts
from rnn_topologies.tasks.errors import UserError

WORDS = ("one", "two", "red", "blue")


def image(path: pathlib.Path, seed: int, size=(8, 6)) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), "uint8")
    Image.fromarray(pixels).save(path)
    return path


def write(path: pathlib.Path, text: str | bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def image_classes(folder, count=30):
    for number in range(count):
        for seed, label in enumerate(("cat", "dog")):
            image(folder / label / f"{number}.png", 2 * number + seed)
    return folder


def text_classes(folder, count=30):
    for number in range(count):
        for label in ("good", "bad"):
            write(folder / label / f"{number}.txt", f"{label} text number {number}")
    return folder


def text_table(folder, count=60):
    rows = "".join(f'{n},"text, number {n}",{"ab"[n % 2]}\r\n' for n in range(count))
    return write(folder / "texts.csv", "id,text,label\r\n" + rows)


def pairs(folder, count=60):
    rows = "".join(f'source {n}\ttarget "{n}\tmore\n' for n in range(count))
    return write(folder / "pairs.tsv", rows)


def captions(folder, count=40):
    lines = ["image,caption"]
    for number in range(count):
        image(folder / f"{number}.jpg", number)
        lines += [f'{number}.jpg,"a thing, {word}"' for word in WORDS[: 1 + number % 3]]
    write(folder / "captions.csv", "\n".join(lines))
    return folder


def image_clips(folder, count=25):
    lines = ["clip,frame,label"]
    for number in range(count):
        for frame in range(3 + number % 3):
            image(folder / f"clip{number}/f{frame}.png", 10 * number + frame)
            lines.append(f"clip{number},f{frame}.png,{WORDS[frame % 2]}")
    write(folder / "labels.csv", "\n".join(lines))
    return folder


def feature_clips(folder, count=25):
    for number in range(count):
        rows = "".join(f"{t},{t * number},{WORDS[t % 2]}\n" for t in range(4 + number % 3))
        write(folder / f"clip{number}.csv", "x,y,label\n" + rows)
    return folder


FORMS = {
    "image classes": (image_classes, images.read_image_classes),
    "text classes": (text_classes, texts.read_text_files),
    "text table": (text_table, texts.read_text_files),
    "pairs": (pairs, texts.read_text_pairs),
    "captions": (captions, images.read_image_captions),
    "image clips": (image_clips, clips.read_clips),
    "feature clips": (feature_clips, clips.read_clips),
}


def rows_of(source):
    return {
        name: [str(sorted(row.items())) for row in rows] for name, rows in source.splits.items()
    }


@pytest.mark.parametrize("form", FORMS)
def test_every_format_is_read_and_split_reproducibly(tmp_path, form):
    make, read = FORMS[form]
    path = make(tmp_path / "data")
    source = read(str(path))
    assert source.name == path.name
    assert set(source.splits) == {"train", "validation", "test"}
    assert all(len(rows) for rows in source.splits.values())
    again = read(str(path))
    assert rows_of(again) == rows_of(source)
    assert again.sha256 == source.sha256
    assert str(tmp_path) not in str(source.notes)


@pytest.mark.parametrize("form", FORMS)
def test_adding_examples_moves_no_other_to_another_split(tmp_path, form):
    make, read = FORMS[form]
    few = read(str(make(tmp_path / "few/data")))
    many = read(str(make(tmp_path / "many/data", count=70)))
    moved = {"few": "many"}
    assert few.sha256 != many.sha256
    for split, rows in rows_of(few).items():
        for row in rows:
            for before, after in moved.items():
                row = row.replace(f"/{before}/", f"/{after}/")
            assert row in rows_of(many)[split]


def test_the_split_depends_on_the_group_only_and_has_the_expected_fractions():
    rows = [(number // 3, number) for number in range(9000)]
    parts = splits.split_by_group(rows, lambda row: str(row[0]))
    assert len(parts["test"]) / 9000 == pytest.approx(0.1, abs=0.02)
    assert len(parts["validation"]) / 9000 == pytest.approx(0.1, abs=0.02)
    groups = [{row[0] for row in rows_of_split} for rows_of_split in parts.values()]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert splits.split_by_group(rows[:50], lambda row: str(row[0]))["test"] == [
        row for row in parts["test"] if row in rows[:50]
    ]


def test_equal_images_are_never_in_two_splits(tmp_path):
    for number in range(40):
        image(tmp_path / f"a/{number}.png", seed=1)
        image(tmp_path / f"b/{number}.png", seed=2 + number)
    source = images.read_image_classes(str(tmp_path))
    with_a = [n for n, rows in source.splits.items() if any(row["label"] == 0 for row in rows)]
    assert len(with_a) == 1


def test_existing_splits_are_kept_and_a_missing_one_is_cut_from_train(tmp_path):
    text_classes(tmp_path / "train")
    text_classes(tmp_path / "test", count=4)
    source = texts.read_text_files(str(tmp_path))
    assert len(source.splits["test"]) == 8
    assert 0 < len(source.splits["validation"]) < 20
    assert sum(map(len, source.splits.values())) == 68
    assert source.notes["splits"] == {
        "train": "provided",
        "validation": "by hash",
        "test": "provided",
    }


@pytest.mark.parametrize(
    ("make", "read"),
    [(text_classes, texts.read_text_files), (image_classes, images.read_image_classes)],
    ids=["texts", "images"],
)
def test_the_first_training_examples_cover_all_classes(tmp_path, make, read):
    limited = read(str(make(tmp_path / "data"))).limit_train(12)
    labels = [row["label"] for row in limited.splits["train"]]
    assert len(labels) == 12
    assert 2 <= sum(labels) <= 10


def test_one_table_per_split_is_read(tmp_path):
    for name, count in (("train", 20), ("val", 4), ("test", 6)):
        text_table(tmp_path / name, count).rename(tmp_path / f"{name}.csv")
        (tmp_path / name).rmdir()
    source = texts.read_text_files(str(tmp_path))
    assert {name: len(rows) for name, rows in source.splits.items()} == {
        "train": 20,
        "validation": 4,
        "test": 6,
    }


def test_frames_are_ordered_by_number(tmp_path):
    write(tmp_path / "labels.csv", "clip,frame,label\n" + "c,2,a\nc,10,b\nd,2,a\nd,10,b\n")
    for clip in "cd":
        for frame in (10, 2):
            image(tmp_path / clip / f"frame{frame}.png", frame)
    rows = clips._read_image_clips(tmp_path)
    assert [path.name for path in rows[0]["frames"]] == ["frame2.png", "frame10.png"]
    assert rows[0]["labels"] == ["a", "b"]


def test_files_left_by_operating_systems_are_skipped(tmp_path):
    image_classes(tmp_path)
    for name in (".DS_Store", "cat/.DS_Store", "dog/Thumbs.db", "__MACOSX/cat/x"):
        write(tmp_path / name, "litter")
    assert images.read_image_classes(str(tmp_path)).classes == ("cat", "dog")


def truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def append(path, text):
    path.write_bytes(path.read_bytes() + text.encode())


MISTAKES = {
    "a truncated image": (
        *(image_classes, images.read_image_classes, lambda d: truncated(d / "dog/7.png")),
        r"dog/7.png cannot be read as an image",
    ),
    "no image at all": (
        *(image_classes, images.read_image_classes, lambda d: write(d / "cat/notes.doc", "x")),
        r"cat/notes.doc is not an image. Expected .*\.png",
    ),
    "an empty class": (
        *(image_classes, images.read_image_classes, lambda d: (d / "fox").mkdir()),
        r"the class 'fox' is empty",
    ),
    "a single class": (
        *(
            lambda d: image(d / "cat/0.png", 0).parent.parent,
            images.read_image_classes,
            lambda d: None,
        ),
        r"only one class, 'cat'",
    ),
    "a file for a folder": (
        *(lambda d: write(d, "x"), images.read_image_classes, lambda d: None),
        r"data is not a folder",
    ),
    "a class that one split lacks": (
        *(lambda d: text_classes(d / "train").parent, texts.read_text_files),
        lambda d: [text_classes(d / "test", 2), write(d / "train/unsup/0.txt", "x")],
        r"the class 'unsup' of train has no example in test",
    ),
    "text that is not UTF-8": (
        *(text_classes, texts.read_text_files, lambda d: write(d / "bad/3.txt", b"ok\nna\xefve")),
        r"bad/3.txt, line 2: not valid UTF-8 \(byte 0xef\)",
    ),
    "an empty text": (
        *(text_classes, texts.read_text_files, lambda d: write(d / "bad/3.txt", " \n")),
        r"bad/3.txt is empty",
    ),
    "a missing column": (
        *(text_table, texts.read_text_files, lambda d: write(d, "text,class\na,b\n")),
        r"texts.csv, line 1: column 'label' is missing. .*, got text, class",
    ),
    "an empty value": (
        *(text_table, texts.read_text_files, lambda d: append(d, "61,,a\r\n")),
        r"texts.csv, line 62: column 'text' is empty",
    ),
    "a short line": (
        *(text_table, texts.read_text_files, lambda d: append(d, "61,x\r\n")),
        r"texts.csv, line 62: expected 3 values, one for each column, got 2",
    ),
    "an open quotation mark": (
        *(text_table, texts.read_text_files, lambda d: append(d, '61,"x,a\r\n')),
        r"texts.csv, line 62: unexpected end of data",
    ),
    "an empty table": (
        *(text_table, texts.read_text_files, lambda d: write(d, "")),
        r"texts.csv, line 1: column 'text' is missing. .*, got none",
    ),
    "a source without target": (
        *(pairs, texts.read_text_pairs, lambda d: append(d, "alone\n")),
        r"pairs.tsv, line 61: expected a source, a tab and a target",
    ),
    "pairs of another kind": (
        *(text_table, texts.read_text_pairs, lambda d: None),
        r"texts.csv is not a .tsv file",
    ),
    "no captions.csv": (
        *(captions, images.read_image_captions, lambda d: (d / "captions.csv").unlink()),
        r"is not a folder with captions.csv",
    ),
    "a caption of no image": (
        *(captions, images.read_image_captions, lambda d: append(d / "captions.csv", "\nno.jpg,a")),
        r"captions.csv, line 81: there is no image 'no.jpg'",
    ),
    "an image outside of the folder": (
        *(lambda d: captions(d), images.read_image_captions),
        lambda d: [
            image(d.parent / "secret.jpg", 1),
            append(d / "captions.csv", "\n../secret.jpg,a"),
        ],
        r"there is no image '../secret.jpg'",
    ),
    "a frame without a label": (
        *(image_clips, clips.read_clips, lambda d: image(d / "clip3/f9.png", 1)),
        r"clip3/f9.png: the frame has no label in",
    ),
    "a label without a frame": (
        *(image_clips, clips.read_clips, lambda d: append(d / "labels.csv", "\nclip3,f9.png,one")),
        r"labels.csv, line 101: clip 'clip3' has no frame 'f9.png'",
    ),
    "a label of no clip": (
        *(image_clips, clips.read_clips, lambda d: append(d / "labels.csv", "\nclip99,f0.png,one")),
        r"labels.csv, line 101: there is no folder for clip 'clip99'",
    ),
    "a label twice": (
        *(image_clips, clips.read_clips, lambda d: append(d / "labels.csv", "\nclip3,f0.png,one")),
        r"line 101: frame 'f0.png' of clip 'clip3' already has a label in line 14",
    ),
    "a frame that does not decode": (
        *(image_clips, clips.read_clips, lambda d: truncated(d / "clip3/f1.png")),
        r"clip3/f1.png cannot be read as an image",
    ),
    "what is not a number": (
        *(feature_clips, clips.read_clips, lambda d: append(d / "clip4.csv", "1,nan,one\n")),
        r"clip4.csv, line 7: column 'y' must be a finite number, got 'nan'",
    ),
    "clips with other columns": (
        *(
            feature_clips,
            clips.read_clips,
            lambda d: write(d / "clip4.csv", "x,z,label\n1,2,one\n"),
        ),
        r"clip0 has x, y, but clip4 has x, z",
    ),
    "a clip without labels": (
        *(feature_clips, clips.read_clips, lambda d: write(d / "clip4.csv", "x,y\n1,2\n")),
        r"clip4.csv, line 1: column 'label' is missing. .*, got x, y",
    ),
    "a clip without frames": (
        *(feature_clips, clips.read_clips, lambda d: write(d / "clip4.csv", "x,y,label\n")),
        r"clip4.csv: the clip has no frames",
    ),
    "an empty folder": (
        *(lambda d: d.mkdir() or d, clips.read_clips, lambda d: None),
        r"contains neither labels.csv nor .csv files",
    ),
    "splits without train": (
        *(lambda d: text_classes(d / "test").parent, texts.read_text_files, lambda d: None),
        r"has test but no train",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_with_its_file_and_line(tmp_path, mistake):
    make, read, spoil, message = MISTAKES[mistake]
    path = make(tmp_path / "data")
    spoil(path)
    with pytest.raises(UserError, match=message):
        read(str(path))
