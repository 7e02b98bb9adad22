"""Features of any scale reach the model, and errors name those that cannot."""

import functools
import pathlib

import numpy as np
import pytest

from rnn_topologies.tasks import video_labeling
from rnn_topologies.tasks.baselines.frames import FrameBoosting
from rnn_topologies.tasks.data.files import clips
from rnn_topologies.tasks.data.scaling import Scaler
from rnn_topologies.tasks.errors import UserError

NOISE = np.clip(np.random.default_rng(0).normal(size=(200, 1)), -2, 2)
SCALES = {
    "tiny": lambda x: x * 1e-25,
    "huge": lambda x: x * 1e30,
    "far from zero": lambda x: 1e8 + 4 * x,
    "negative": lambda x: -1e8 - 4 * x,
    "squares underflow": lambda x: x * 1e-300,
    "denormal": lambda x: x * 1e-312,
    "squares overflow": lambda x: x * 1e300,
    "integers beyond 2**53": lambda x: 2.0**53 + np.round(1e6 * x) * 2,
}


def write_clips(folder: pathlib.Path, value=lambda n, up: 1.0 + up, count=30) -> pathlib.Path:
    """Writes clips with a column x that depends on the label, and a column y that does not."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        labels = np.random.default_rng(number).integers(0, 2, 6)
        rows = [f"{value(n, up)},{n % 3},{('down', 'up')[up]}" for n, up in enumerate(labels)]
        (folder / f"clip{number}.csv").write_text("\n".join(["x,y,label", *rows]))
    return folder


def load(folder, **settings):
    task = video_labeling.VideoLabelingTask({"dataset": str(folder), **settings})
    return task, task.load_data()


@pytest.mark.parametrize("scale", SCALES)
def test_features_of_any_scale_are_standardized(scale):
    frames = SCALES[scale](NOISE)
    scaler = Scaler.fit([frames[:150], frames[150:]])
    for fitted in (scaler, Scaler.from_json(scaler.to_json())):
        scaled = fitted(frames)
        assert scaled.dtype == "float32"
        assert scaled.mean() == pytest.approx(0, abs=1e-2)
        assert scaled.std() == pytest.approx(1, abs=1e-4)
        assert abs(np.corrcoef(scaled[:, 0], NOISE[:, 0])[0, 1]) > 0.9999


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-40, 1e30, -1e8, 0.1 + 0.2])
def test_a_constant_feature_is_zero_and_stays_small(value):
    frames = np.full((100, 1), value)
    frames[::3] = np.nextafter(value, 1)  # a rounding error
    scaler = Scaler.fit([frames])
    np.testing.assert_allclose(scaler(frames), 0, atol=1e-6 * max(1, abs(value)))
    assert np.abs(scaler(frames + 1)).max() <= 1 + 1e-6 * max(1, abs(value))


def test_features_of_mixed_scales_do_not_disturb_each_other():
    frames = np.concatenate([make(NOISE) for make in SCALES.values()], axis=1)
    scaled = Scaler.fit([frames])(frames)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("delta_features", [False, True])
@pytest.mark.parametrize("scale", ["tiny", "huge", "far from zero"])
def test_clips_of_any_scale_are_read_alike_for_training_and_prediction(
    tmp_path, scale, delta_features
):
    folder = write_clips(tmp_path / "data", lambda n, up: float(SCALES[scale](2.0 * up - 1)))
    task, data = load(folder, delta_features=delta_features)
    (inputs, labels, _) = task.batches(data.splits["train"][:1], data, training=False)[0]
    (clip,) = data.splits["train"][:1]
    x = inputs["frames"][0, : len(clip.labels), 0]
    np.testing.assert_array_equal(np.sign(x), np.where(labels[0, : len(x)] == 1, 1, -1))
    assert 0.5 < np.abs(x).min() <= np.abs(x).max() < 2
    (again,) = task._to_clips([task.read_input(str(folder / f"{clip.name}.csv"))], data)
    np.testing.assert_array_equal(again.frames, clip.frames)


def test_the_boosting_baseline_tells_large_numbers_apart():
    frames = [1e8 + np.arange(40.0).reshape(-1, 1) % 2 for _ in range(4)]
    labels = [np.arange(40) % 2 for _ in frames]
    boosting = FrameBoosting([0]).fit(frames, labels)
    np.testing.assert_array_equal(np.concatenate(boosting.predict(frames)), np.concatenate(labels))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nan", "must be a finite number, got 'nan'"),
        ("-inf", "must be a finite number, got '-inf'"),
        ("1e39", r"must be a finite number of at most 3.4e\+38, got '1e39'"),
        ("1e999", "must be a finite number, got '1e999'"),
        ("", "is empty"),
        ("fast", "must be a finite number, got 'fast'"),
        ("1_000", "must be a finite number, got '1_000'"),
        ('"1,5"', "must be a finite number, got '1,5'. Write a decimal point"),
        ("True", "must be a finite number, got 'True'"),
    ],
)
def test_a_bad_value_is_named_with_its_line_and_column(tmp_path, value, message):
    folder = write_clips(tmp_path / "data")
    path = folder / "clip4.csv"
    path.write_text(f"x,y,label\n1,2,up\n\n1,{value},down\n")
    for read in (clips.read_clips, lambda name: clips.read_clip(f"{name}/clip4.csv")):
        with pytest.raises(UserError, match=f"clip4.csv, line 4: column 'y' {message}"):
            read(str(folder))


@pytest.mark.parametrize("delta_features", [False, True])
def test_a_value_far_from_the_training_data_is_named(tmp_path, delta_features):
    folder = tmp_path / "data"
    write_clips(folder / "train", lambda n, up: 1e-20 * (1 + up))
    write_clips(folder / "test", lambda n, up: 1e-20 * (1 + up), count=4)
    task, data = load(folder, delta_features=delta_features)
    path = folder / "test/clip2.csv"
    path.write_text("x,y,label\n1e-20,2,up\n1e30,2,down\n")
    message = "clip2.csv, line 3: column 'x' is 1e\\+30, but must be a number in the range"
    with pytest.raises(UserError, match=message):
        load(folder)
    with pytest.raises(UserError, match=message):
        task._to_clips([task.read_input(str(path))], data)
    with pytest.raises(UserError, match="Frame 1, feature 2 is nan"):
        task._to_clips([np.array([[1e-20, np.nan]])], data)


def test_integers_that_floats_cannot_tell_apart_are_refused(tmp_path):
    value = functools.partial(lambda base, n, up: base + int(up), 2**53)
    with pytest.raises(UserError, match="column 'x' has integers from 9007199254740992 to"):
        clips.read_clips(str(write_clips(tmp_path / "ids", value)))
    nanoseconds = functools.partial(lambda base, n, up: base + n * 10**9, 1_700_000_000 * 10**9)
    clips.read_clips(str(write_clips(tmp_path / "times", nanoseconds)))


def test_columns_are_matched_by_name_in_prediction(tmp_path):
    folder = write_clips(tmp_path / "data")
    task, data = load(folder)
    (tmp_path / "other.csv").write_text("y;label;x\n5;up;7\n")
    (clip,) = task._to_clips([task.read_input(str(tmp_path / "other.csv"))], data)
    np.testing.assert_array_equal(clip.frames, [[7, 5]])
    (tmp_path / "other.csv").write_text("x,z\n5,7\n")
    with pytest.raises(UserError, match="other.csv, line 1: expected the columns x, y, got x, z"):
        task._to_clips([task.read_input(str(tmp_path / "other.csv"))], data)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("x,z,x,label", "column 'x' is duplicated"),
        (",x,y,label", "column 1 has no name. Name it, or remove it if it contains row numbers"),
        ("x,y,Label,label", "column 'Label' must be a finite number, got 'one'"),
    ],
)
def test_ambiguous_columns_are_refused(tmp_path, header, message):
    folder = write_clips(tmp_path / "data")
    row = ",".join(["1"] * (header.count(",") - 1) + ["one", "up"])
    (folder / "clip4.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(UserError, match=message):
        clips.read_clips(str(folder))


@pytest.mark.parametrize("step", [1, -2, 0.04])
def test_a_warning_names_columns_that_number_the_frames(tmp_path, step):
    for clip in range(6):
        rows = "".join(f"{clip + n * step!r},{n * n},5,{'ab'[n % 2]}\n" for n in range(4))
        (tmp_path / f"clip{clip}.csv").write_text(f"t,x,constant,label\n{rows}")
    source = clips.read_clips(str(tmp_path))
    for read in (source, source.select_fold(2, 1)):
        (warning,) = read.notes["warnings"]
        assert warning.startswith("column 't' changes by a constant step from frame to frame")


def test_a_split_of_clips_may_be_a_file(tmp_path):
    write_clips(tmp_path, count=3)
    for number, name in enumerate(("Train.csv", "val.csv", "TEST.csv")):
        (tmp_path / f"clip{number}.csv").rename(tmp_path / name)
    source = clips.read_clips(str(tmp_path))
    assert {split: [row["name"] for row in rows] for split, rows in source.splits.items()} == {
        "train": ["Train"],
        "validation": ["val"],
        "test": ["TEST"],
    }
    (tmp_path / "test2.csv").write_text("x,y,label\n1,2,up\n")
    with pytest.raises(UserError, match=r"has test more than once: TEST.csv, test2.csv"):
        clips.read_clips(str(tmp_path))


def test_clips_of_features_may_be_separated_by_tabs(tmp_path):
    folder = write_clips(tmp_path / "data")
    expected = clips.read_clips(str(folder))
    for path in sorted(folder.iterdir())[::2]:
        path.with_suffix(".TSV").write_text(path.read_text().replace(",", "\t"))
        path.unlink()
    assert clips.read_clips(str(folder)).sha256 == expected.sha256


def test_differences_of_bytes_do_not_wrap_around(tmp_path):
    task, data = load(write_clips(tmp_path / "data"), delta_features=True)
    (clip,) = task._to_clips([np.array([[3, 1], [1, 2]], "uint8")], data)
    np.testing.assert_array_equal(clip.frames, [[3, 1, 0, 0], [1, 2, -2, 1]])


@pytest.mark.parametrize(
    "text",
    ['{"mean": [0], "deviation": [0]}', '{"mean": [NaN], "deviation": [1]}'],
)
def test_a_scaler_that_divides_by_zero_is_refused(text):
    with pytest.raises(UserError, match="finite means and positive deviations"):
        Scaler.from_json(text)
