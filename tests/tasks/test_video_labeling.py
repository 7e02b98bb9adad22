import pathlib

import keras
import numpy as np
import pytest

from rnn_topologies.tasks import video_labeling
from rnn_topologies.tasks.data.scaling import Scaler
from rnn_topologies.tasks.data.sources import moving_shapes
from rnn_topologies.tasks.data.sources.gesture_phase import (
    gesture_phase_dataset_builder as gestures,
)
from rnn_topologies.tasks.data.sources.utkinect import utkinect_dataset_builder as utkinect
from rnn_topologies.tasks.errors import UserError

from ..support import training

CLASSES = moving_shapes.CLASSES


@pytest.fixture
def make(monkeypatch):
    """Returns a function that builds (task, data, untrained model) on few clips."""
    clips = {name: rows[:20] for name, rows in moving_shapes.generate_clips().items()}
    monkeypatch.setattr(moving_shapes, "generate_clips", lambda: clips)

    def built(**settings):
        keras.utils.set_random_seed(0)
        small = {"units": 8, "feature_size": 6, "batch_size": 8}
        task = video_labeling.VideoLabelingTask({**small, **settings})
        data = task.load_data()
        return task, data, task.build_model(data)

    return built


def features(folder, count=12):
    """Writes clips of feature vectors whose label says whether x grows."""
    random = np.random.default_rng(0)
    for number in range(count):
        x = np.cumsum(random.choice([-1, 1], 30))
        rows = [
            f"{v},{n % 5},{'up' if d > 0 else 'down'}"
            for n, (v, d) in enumerate(zip(x, np.diff(x, prepend=0), strict=True))
        ]
        (folder / f"c{number}.csv").write_text("x,y,label\n" + "\n".join(rows))
    return str(folder)


@pytest.mark.parametrize(
    ("cell", "bidirectional", "eager"), training.cells_and_settings([False, True], True)
)
def test_every_cell_learns(make, cell, bidirectional, eager):
    small = {"limit": 4, "chunk_length": 8} if eager else {}
    task, data, model = make(
        cell=cell,
        bidirectional=bidirectional,
        layers=training.depth(cell),
        dropout=0.1,
        **small,
    )
    with training.execution(eager=eager):
        losses = training.losses(task, data, model, epochs=3 if eager else 2)
    assert losses[-1] < losses[0]


def logits(model, frames):
    frames = frames[np.newaxis]
    return keras.ops.convert_to_numpy(model({"frames": frames, "mask": np.ones(frames.shape[:2])}))[
        0
    ]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_only_a_bidirectional_model_looks_ahead(make, bidirectional):
    _, data, model = make(bidirectional=bidirectional)
    frames = np.array(data.splits["train"][0].frames)
    before = logits(model, frames)
    frames[10] = 255 - frames[10]
    after = logits(model, frames)
    assert np.abs(after[10:] - before[10:]).max() > 1e-3
    if bidirectional:
        assert np.abs(after[:10] - before[:10]).max() > 1e-4
    else:
        np.testing.assert_allclose(after[:10], before[:10], atol=1e-6)


def test_padding_and_the_other_clips_of_a_batch_change_nothing(make):
    task, data, model = make()
    clips = data.splits["test"]
    together = task._probabilities(model, clips, data)
    for clip, rows in zip(clips, together, strict=True):
        assert rows.shape == (len(clip.labels), len(CLASSES))
        single = task._probabilities(model, [clip], data)[0]
        np.testing.assert_allclose(rows, single, atol=1e-5)


def test_scores_ignore_padding(make):
    task, data, model = make()
    model.compile("adam", task.loss(), weighted_metrics=task.metrics())
    clips = data.splits["test"]
    forced = model.evaluate(task.batches(clips, data, training=False), verbose=0, return_dict=True)
    evaluation = task.evaluate(model, "test", data)
    assert forced["frame_accuracy"] == pytest.approx(evaluation.metrics["frame_accuracy"], abs=1e-5)
    assert forced["cross_entropy"] == pytest.approx(evaluation.metrics["cross_entropy"], rel=1e-4)
    right = [
        guess == label
        for row in evaluation.examples
        for guess, label in zip(row["predicted"], row["labels"], strict=True)
    ]
    assert evaluation.metrics["frame_accuracy"] == pytest.approx(np.mean(right))
    assert len(right) == sum(len(clip.labels) for clip in clips)
    assert {"segment_f1_10", "segment_f1_25", "segment_f1_50", "edit_score", "macro_f1"} <= set(
        evaluation.metrics
    )


def test_a_clip_is_labelled_frame_by_frame(make):
    task, data, model = make()
    clip = data.splits["test"][0]
    (predicted,) = task.predict(model, [clip.frames], data)
    (rows,) = task._probabilities(model, [clip], data)
    assert predicted == [CLASSES[label] for label in rows.argmax(-1)]


def measure_shape(clip):
    """Returns the centre, brightness and area of the shape in each frame, from its pixels."""
    frames = clip["frames"][..., 0].astype(float) / 255
    y, x = np.mgrid[0 : moving_shapes.SIZE, 0 : moving_shapes.SIZE] + 0.5
    bright = np.where(frames > 0.12, frames, 0)
    total = bright.sum((1, 2))
    centre = np.stack([(bright * x).sum((1, 2)) / total, (bright * y).sum((1, 2)) / total], 1)
    light = np.array([np.median(frame[frame > 0.6 * frame.max()]) for frame in frames])
    return centre, light, total / light


def test_the_frames_so_far_decide_the_label():
    """A rule that compares each frame with the last one, and counts bounces, labels them."""
    right = count = 0
    for clip in moving_shapes.generate_clips()["test"][:60]:
        centre, light, area = measure_shape(clip)
        last, bounces, bounced = "still", 0, False
        for t, label in enumerate(clip["labels"]):
            name = "still"
            if t:
                dx, dy = centre[t] - centre[t - 1]
                grown, lit = np.log(area[t] / area[t - 1]), np.log(light[t] / light[t - 1])
                if max(abs(dx), abs(dy)) > 0.5:
                    across = abs(dx) > abs(dy)
                    name = (
                        ("right" if dx > 0 else "left") if across else ("down" if dy > 0 else "up")
                    )
                elif abs(lit) > 0.04:
                    name = "brightening" if lit > 0 else "fading"
                elif abs(grown) > 0.05:
                    name = "growing" if grown > 0 else "shrinking"
            if name == moving_shapes.OPPOSITE.get(last):
                bounces, bounced = bounces + 1, bounces + 1 == 2
            elif name != last:
                bounced = False
            last = name
            predicted = "second bounce" if bounced and name in moving_shapes.DIRECTIONS else name
            right += predicted == CLASSES[label]
            count += 1
    assert right / count > 0.97


def test_every_event_occurs_and_no_frame_alone_shows_it():
    clips = moving_shapes.generate_clips()["train"]
    share = np.bincount(np.concatenate([clip["labels"] for clip in clips]), minlength=len(CLASSES))
    assert share.min() / share.sum() > 0.03
    assert len({len(clip["labels"]) for clip in clips}) > 20
    assert all(CLASSES[clip["labels"][0]] == "still" for clip in clips)


def test_the_clips_are_the_same_every_time():
    first, second = (moving_shapes.generate_clip(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_features_are_scaled_by_the_training_split_and_deltas_look_back(tmp_path):
    settings = {"dataset": features(tmp_path), "delta_features": True, "units": 4}
    task = video_labeling.VideoLabelingTask(settings)
    data = task.load_data()
    assert data.notes["frame_shape"] == [4]
    clip = data.splits["train"][0]
    np.testing.assert_array_equal(clip.frames[1:, 2:], np.diff(clip.frames[:, :2], axis=0))
    assert (clip.frames[0, 2:] == 0).all()
    scaled = data.preprocessors["scaler"](np.concatenate([c.frames for c in data.splits["train"]]))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0), 1, atol=1e-5)
    again = Scaler.from_json(data.preprocessors["scaler"].to_json())
    np.testing.assert_array_equal(again(clip.frames), data.preprocessors["scaler"](clip.frames))
    raw = [clip.frames[:, :2]]
    assert len(task.predict(task.build_model(data), raw, data)[0]) == len(clip.labels)


def test_a_window_of_frames_sees_what_one_frame_does_not(tmp_path):
    task = video_labeling.VideoLabelingTask({"dataset": features(tmp_path, 60)})
    baselines = task.baseline(task.load_data())
    window = baselines["gradient boosting on frames -8 to +0"]
    assert window["frame_accuracy"] > 0.95
    assert baselines["gradient boosting on one frame"]["frame_accuracy"] < 0.75
    assert set(window) >= {"macro_f1", "segment_f1_50", "edit_score"}
    both = video_labeling.VideoLabelingTask({"dataset": str(tmp_path), "bidirectional": True})
    assert "gradient boosting on frames -8 to +8" in both.baseline(both.load_data())


def test_chunks_cover_every_frame_and_overlap_by_half():
    clips = [video_labeling.Clip("a", None, np.zeros(n)) for n in (25, 10, 4)]
    assert video_labeling._find_chunks(clips, 10) == [
        *((0, 0, 10), (0, 5, 15), (0, 10, 20), (0, 15, 25), (1, 0, 10), (2, 0, 4))
    ]
    assert video_labeling._find_chunks(clips, None) == [(0, 0, 25), (1, 0, 10), (2, 0, 4)]


def test_labels_are_summarised_as_runs():
    assert (
        video_labeling.format_labels([0, 0, 1, 0], ["still", "left"]) == "still 2, left 1, still 1"
    )


@pytest.mark.parametrize("text", ["[]", "{}", '{"mean": [1], "deviation": []}', "x"])
def test_what_is_not_a_scaler_is_refused(text):
    with pytest.raises(UserError, match="not a scaler"):
        Scaler.from_json(text)


def test_utkinect_labels_frames_by_their_numbers_and_drops_repeated_rows():
    actions = utkinect.read_actions("s01_e01\nwalk: 2 4 \ncarry: NaN NaN\ns01_e02\nthrow: 1 1\n")
    assert actions == {"s01_e01": [("walk", 2, 4)], "s01_e02": [("throw", 1, 1)]}
    rows = ["1 " + "1 " * 60, "3 " + "2 " * 60, "3 " + "9 " * 60, "5 " + "3 " * 60]
    numbers, frames = utkinect.read_joints("\n".join(rows))
    assert numbers.tolist() == [1, 3, 5]
    np.testing.assert_array_equal(frames[:, 0], [1, 2, 3])
    assert (frames[:, 3:] == 0).all()  # all joints are at the hip
    assert utkinect.label_frames(numbers, actions["s01_e01"]) == [
        "background",
        "walk",
        "background",
    ]
    with pytest.raises(UserError, match="line 2: expected a recording .*, got 'dance: 1 2'"):
        utkinect.read_actions("s01_e01\ndance: 1 2\n")


@pytest.mark.parametrize(
    ("dataset", "counts", "frames", "width"),
    [("gesture_phase", (4, 1, 2), 9901, 18), ("utkinect", (8, 2, 10), 15318, 60)],
)
def test_the_original_recordings_are_read_completely(
    tmp_path, manual_dir, dataset, counts, frames, width
):
    settings = {"dataset": dataset, "data_dir": str(tmp_path), "manual_dir": str(manual_dir)}
    data = video_labeling.VideoLabelingTask({**settings, "delta_features": False}).load_data()
    assert tuple(len(data.splits[name]) for name in ("train", "validation", "test")) == counts
    assert sum(data.notes["frames"].values()) == frames
    assert data.notes["frame_shape"] == [width]
    names = [{clip.name for clip in clips} for clips in data.splits.values()]
    assert sum(map(len, names)) == len(set().union(*names))
    assert all(np.isfinite(clip.frames).all() for clip in data.splits["test"])


@pytest.mark.parametrize("dataset", ["gesture_phase", "utkinect", "flickr8k"])
def test_without_the_originals_the_error_says_how_to_get_them(tmp_path, dataset):
    from rnn_topologies import tasks

    task = tasks.get_task("image_captioning" if dataset == "flickr8k" else "video_labeling")
    settings = {"dataset": dataset, "data_dir": str(tmp_path / "data")}
    with pytest.raises(
        UserError, match=rf"{dataset} cannot be downloaded automatically.*--manual-dir"
    ):
        task(settings).load_data()
    with pytest.raises(UserError, match=rf" is neither in .* nor in .*{dataset}\."):
        task({**settings, "manual_dir": str(pathlib.Path(__file__).parent)}).load_data()
    remaining = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert remaining == [f".{dataset}.lock"]


def test_gesture_positions_are_relative_to_the_spine():
    import pandas as pd

    columns = {f"{joint}{axis}": [1.0] for joint in gestures.JOINTS for axis in "xyz"}
    columns |= {"sx": [3.0], "sy": [4.0], "sz": [5.0]}
    features = gestures.joint_features(pd.DataFrame(columns))[0]
    np.testing.assert_array_equal(features[:3], [-2, -3, -4])
    np.testing.assert_array_equal(features[-3:], [3, 4, 5])
