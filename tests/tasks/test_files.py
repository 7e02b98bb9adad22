"""Files of the user: every format, every error with its location, stable splits."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from rnn_topologies.tasks import image_captioning, text_classification
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


def table(path, rows):
    """Writes a table of (text, label)."""
    return write(path, "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))


def labels_of(source, split):
    return [source.classes[row["label"]] for row in source.splits[split]]


def warnings_of(source):
    return "\n".join(source.notes.get("warnings", ()))


def test_every_split_gets_its_share_of_every_class(tmp_path):
    rows = [(f"text {n}", "rare" if n % 10 == 0 else "common") for n in range(400)]
    source = texts.read_text_files(str(table(tmp_path / "t.csv", rows)))
    for split in ("validation", "test"):
        labels = labels_of(source, split)
        assert labels.count("rare") in (3, 4, 5)
        assert labels.count("common") == pytest.approx(36, abs=4)
    assert warnings_of(source) == ""


@pytest.mark.parametrize("count", [3, 4, 7, 10, 20])
def test_no_split_is_empty_and_none_lacks_a_class_if_that_can_be(tmp_path, count):
    rows = [(f"{label} {n}", label) for label in "abc" for n in range(count)]
    source = texts.read_text_files(str(table(tmp_path / "t.csv", rows)))
    for split in source.splits:
        assert set(labels_of(source, split)) == set("abc")


def test_a_class_with_one_example_is_trained_on(tmp_path):
    rows = [(f"{label} {n}", label) for label in "ab" for n in range(40)] + [("only", "c")]
    source = texts.read_text_files(str(table(tmp_path / "t.csv", rows)))
    assert "c" in labels_of(source, "train")
    assert "no test example of class 'c'" in warnings_of(source)


def test_three_examples_fill_three_splits(tmp_path):
    path = write(tmp_path / "p.tsv", "a b\tA\nc d\tB\ne f\tC\n")
    assert [len(rows) for rows in texts.read_text_pairs(str(path)).splits.values()] == [1, 1, 1]


def test_inserting_an_example_moves_few_others():
    keys = [[f"key {n}"] for n in range(500)]

    def assigned(keys):
        groups = splits.Groups(keys, [()] * len(keys))
        parts = groups.split(splits.SPLIT_FRACTIONS)
        return {keys[row][0]: split for split, rows in parts.items() for row in rows}

    before, after = assigned(keys), assigned([["new"], *keys])
    assert sum(before[key] != after[key] for key in before) < 50


def test_texts_that_differ_in_case_and_spaces_stay_together(tmp_path):
    rows = [(text.format(n), "ab"[n % 2]) for n in range(60) for text in ("Text {}", "text  {} ")]
    source = texts.read_text_files(str(table(tmp_path / "t.csv", rows)))
    numbers = [{row["text"].split()[1] for row in part} for part in source.splits.values()]
    assert sum(map(len, numbers)) == len(set().union(*numbers))


def test_clips_of_one_source_stay_together(tmp_path):
    feature_clips(tmp_path, count=40)
    for number in range(40):
        name = f"session{number // 4}__{number}.csv"
        (tmp_path / f"clip{number}.csv").rename(tmp_path / name)
    parts = clips.read_clips(str(tmp_path)).splits.values()
    sources = [{row["name"].partition("__")[0] for row in part} for part in parts]
    assert sum(map(len, sources)) == 10


def test_clips_with_the_same_frames_stay_together(tmp_path):
    feature_clips(tmp_path, count=20)
    for number in range(20):
        write(tmp_path / f"copy{number}.csv", (tmp_path / f"clip{number}.csv").read_bytes())
    source = clips.read_clips(str(tmp_path))
    numbers = [
        {row["name"].lstrip("clipoy") for row in part} for part in source.splits.values()
    ]  # fmt: skip
    assert sum(map(len, numbers)) == 20
    assert "20 of 40 examples are duplicates within their split" in warnings_of(source)


def test_a_rare_label_of_frames_is_in_every_split(tmp_path):
    for number in range(12):
        rare = "rare" if number % 4 == 0 else "one"
        write(tmp_path / f"c{number}.csv", f"x,label\n{number},one\n{number}.5,{rare}\n2,two\n")
    source = clips.read_clips(str(tmp_path))
    rare = source.classes.index("rare")
    for split in source.splits:
        assert any(rare in row["labels"] for row in source.splits[split]), split


def test_each_example_is_tested_in_one_fold_and_groups_stay_together(tmp_path):
    rows = [(f"text {n // 2}", "abc"[n % 3 == 0]) for n in range(90)]
    source = texts.read_text_files(str(table(tmp_path / "t.csv", rows)))
    tested, hashes = [], {source.sha256}
    for number in range(1, 6):
        fold = source.select_fold(5, number)
        parts = {split: [row["text"] for row in part] for split, part in fold.splits.items()}
        assert sum(map(len, parts.values())) == 90
        assert sum(len(set(part)) for part in parts.values()) == 45
        assert all(parts.values())
        assert len(set(labels_of(fold, "test"))) == 2
        assert fold.notes["splits"]["test"] == f"fold {number} of 5"
        assert fold.notes["content_sha256"] == source.sha256
        hashes.add(fold.sha256)
        tested += parts["test"]
    assert sorted(tested) == sorted(text for text, _ in rows)
    assert len(hashes) == 6


def test_folds_of_a_class_differ_by_at_most_one_group():
    labels = [("a",) if n % 4 else ("b",) for n in range(83)]
    folds = splits.Groups([[str(n)] for n in range(83)], labels).fold(10)
    for label in "ab":
        counts = [sum(labels[group] == (label,) for group in fold) for fold in folds]
        assert max(counts) - min(counts) <= 1


def test_folds_are_refused_where_they_make_no_sense(tmp_path):
    text_classes(tmp_path / "own/train")
    text_classes(tmp_path / "own/test", count=4)
    with pytest.raises(UserError, match="own already has a test split"):
        texts.read_text_files(str(tmp_path / "own")).select_fold(3, 1)
    path = table(tmp_path / "t.csv", [(f"text {n}", "ab"[n % 2]) for n in range(8)])
    few = texts.read_text_files(str(path))
    with pytest.raises(UserError, match="--folds 9 needs at least 9 examples .*t.csv has 8"):
        few.select_fold(9, 1)


def test_duplicates_and_contradictions_are_reported(tmp_path):
    rows = [(f"text {n}", "ab"[n % 2]) for n in range(60)]
    text_path = table(tmp_path / "t.csv", [*rows, *rows[:3], ("text 10", "b")])
    found = warnings_of(texts.read_text_files(str(text_path)))
    assert "3 of 64 examples are duplicates within their split (train" in found
    assert "1 of 60 different texts occur with several labels" in found
    for split, part in (("train", rows[:40]), ("valid", rows[40:50]), ("test", rows[38:])):
        table(tmp_path / f"own/{split}.csv", part)
    found = warnings_of(texts.read_text_files(str(tmp_path / "own")))
    assert "2 of 22 test texts also occur in train" in found
    assert "validation texts" not in found


def test_repeated_images_and_pairs_are_reported(tmp_path):
    image_classes(tmp_path / "images")
    for number in range(5):
        image(tmp_path / f"images/cat/copy{number}.png", 2 * number)
    found = warnings_of(images.read_image_classes(str(tmp_path / "images")))
    assert "5 of 65 examples are duplicates within their split" in found
    path = write(tmp_path / "p.tsv", "".join(f"source {n % 40}\ttarget {n}\n" for n in range(80)))
    assert warnings_of(texts.read_text_pairs(str(path))) == ""  # several translations, no copies


def test_a_test_split_with_a_single_class_is_reported(tmp_path):
    for number in range(30):
        label = "two" if number < 3 else "one"
        write(tmp_path / f"train/c{number}.csv", f"x,label\n{number},one\n{number}.5,{label}\n")
    for number in range(3):
        write(tmp_path / f"test/t{number}.csv", f"x,label\n9{number},one\n8{number},one\n")
    found = warnings_of(clips.read_clips(str(tmp_path)))
    assert "all test examples are of class 'one'" in found
    for number in range(30):
        write(tmp_path / f"train/c{number}.csv", f"x,label\n{number},one\n{number}.5,one\n")
    write(tmp_path / "test/t0.csv", "x,label\n9,one\n7,two\n")
    found = warnings_of(clips.read_clips(str(tmp_path)))
    assert "no training example of class 'two'" in found


def test_rows_of_a_table_with_the_same_group_stay_together(tmp_path):
    rows = "".join(f"text {n},{'ab'[n % 2]},author {n // 6}\n" for n in range(120))
    path = write(tmp_path / "t.csv", "text,label,Group\n" + rows)
    source = texts.read_text_files(str(path))
    authors = [
        {int(row["text"].split()[1]) // 6 for row in part} for part in source.splits.values()
    ]
    assert sum(map(len, authors)) == 20
    assert source.notes["columns"]["group"] == "3 (Group)"
    ungrouped = write(tmp_path / "u.csv", path.read_text("utf-8").replace("Group", "author"))
    assert texts.read_text_files(str(ungrouped)).sha256 != source.sha256


def test_a_sample_that_lacks_a_class_is_reported(tmp_path):
    rows = [(f"text {n}", "abcdefgh"[n % 8]) for n in range(400)]
    path = table(tmp_path / "t.csv", rows)
    task = text_classification.TextClassificationTask({"dataset": str(path), "limit": 4})
    found = task.load_source().notes["warnings"]
    assert any(warning.startswith("no training example of classes ") for warning in found)


def test_a_test_image_with_two_names_is_one_with_all_captions(tmp_path):
    captions(tmp_path, count=30)
    lines = (tmp_path / "captions.csv").read_text("utf-8").splitlines()
    for number in range(30):
        write(tmp_path / f"copy{number}.jpg", (tmp_path / f"{number}.jpg").read_bytes())
        lines.append(f"copy{number}.jpg,a copy")
    write(tmp_path / "captions.csv", "\n".join(lines))
    data = image_captioning.ImageCaptioningTask({"dataset": str(tmp_path)}).load_data()
    test = data.splits["test"]
    assert all(example.captions[-1] == "a copy" for example in test)
    assert not any(example.name.startswith("copy") for example in test)


def test_every_fold_has_the_warnings_of_all_folds_together(tmp_path):
    rows = [(f"text {n // 3}", "ab"[n % 2]) for n in range(60)]
    source = texts.read_text_files(str(table(tmp_path / "t.csv", rows)))
    expected = [
        "20 of 60 examples are duplicates",
        "20 of 20 different texts occur with several labels",
        "all folds together have only 20 groups of examples that belong together, fewer than 30: "
        "scores vary a lot by chance.",
    ]
    for number in (1, 2, 3):
        assert source.select_fold(3, number).notes["warnings"] == expected


def test_provided_splits_that_share_a_group_are_kept_and_reported(tmp_path):
    for split, numbers in (("train", range(30)), ("test", range(20, 32))):
        rows = "".join(f"{split} {n},{'ab'[n % 2]},author {n}\n" for n in numbers)
        write(tmp_path / f"{split}.csv", "text,label,group\n" + rows)
    source = texts.read_text_files(str(tmp_path))
    assert len(source.splits["test"]) == 12
    assert re.search(r"\d+ of 12 groups in test also have examples in train", warnings_of(source))
    assert "groups in validation" not in warnings_of(source)
