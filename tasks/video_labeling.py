"""Many-to-many, aligned: frames in, a label for every frame out.

        labels     y1    y2    y3    y4     one for each frame, at the time of the frame
                    |     |     |     |
        state      h1 -> h2 -> h3 -> h4     recurrent layers carry what was seen
                    |     |     |     |
        frames     x1    x2    x3    x4     each an image, or a vector of features

Input and output are equally long and step in time. Read forwards alone, the label of a frame
depends on no frame after it: such a model can run live. `--bidirectional` gives that up and
lets a label depend on the whole clip.

Data: `moving_shapes` (default), rendered clips, see `tasks/data/sources/moving_shapes.py`;
`gesture_phase` (Madeo, Lima and Peres, 2013; CC BY 4.0) and `utkinect` (Xia, Chen and Aggarwal,
2012; for research), joints of people before a Kinect; any set of TensorFlow Datasets with videos
and a class, such as `ucf101`; your own clips.

One example by hand: five frames of a shape that moves to the right, stands, and is gone; of
another clip in the batch there are seven frames, so that two steps are padding.

    frames     24 x 24 bytes each   x1      x2      x3      x4      x5      0     0
    labels                          still   right   right   still   still
    targets                         0       2       2       0       0       0     0
    weights                         1       1       1       1       1       0     0

The first frame has none before it, and is `still`.

Headline: frame accuracy, the fraction of test frames whose label is right; for the two sets of
joints macro F1, since most of their frames are one class. Background (`utkinect`: frames in
which none of the actions goes on) counts for both like any class, and makes no segments for the
segment F1 and edit score. Expect, on two cores,

    python runner.py --task video_labeling                          0.96 in 2 minutes
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from . import base
from .data.scaling import Scaler
from .errors import UserError

ACCURACY = base.Headline("frame_accuracy", True, "fraction of test frames labelled right")
MACRO_F1 = base.Headline("macro_f1", True, "mean over classes of the F1 of test frames")
BACKGROUND = "background"
RECORDINGS = {  # settings for a few long recordings of joints: an epoch is a few steps
    "epochs": 40,
    "patience": 15,
    "chunk_length": 100,
    "delta_features": True,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "dropout": 0.3,
}


class Clip(NamedTuple):
    """Frames (time, height, width, channels) or (time, features), and the label of each."""

    name: str
    frames: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoLabelingConfig(base.TaskConfig):
    """The settings of a video labelling run."""

    bidirectional: bool = base.setting(False, "Whether a label may depend on the frames after it.")
    layers: int = base.setting(1, "Recurrent layers.", at_least=1, at_most=100)
    filters: int = base.setting(
        16, "Features of the first block of the convolution; further blocks double it.", at_least=1
    )
    feature_size: int = base.setting(64, "Width of a frame's vector.", at_least=1)
    dropout: float = base.setting(
        0.0,
        "Fraction dropped of frames' vectors, between layers and before the class.",
        at_least=0,
        below=1,
    )
    delta_features: bool = base.setting(
        False, "Whether to add what changed since the frame before to a vector of features."
    )
    image_size: int | None = base.setting(
        None, "Resize frames that are images to this many pixels a side.", at_least=8
    )
    chunk_length: int | None = base.setting(
        None, "Cut training clips into pieces of so many frames, half overlapping.", at_least=2
    )


def _moving_shapes(config: VideoLabelingConfig):
    from .data.sources import moving_shapes

    return moving_shapes.read_moving_shapes()


def _gesture_phase(config: VideoLabelingConfig):
    from .data import store
    from .data.sources.gesture_phase import gesture_phase_dataset_builder as builder

    return store.load_source(builder.Builder, config)


def _utkinect(config: VideoLabelingConfig):
    from .data import store
    from .data.sources.utkinect import utkinect_dataset_builder as builder

    return store.load_source(builder.Builder, config)


def _public(config: VideoLabelingConfig):
    from .data.sources import public

    return public.read_public_dataset(config, frames=public.VIDEO, labels=public.LABEL)


def _files(config: VideoLabelingConfig):
    from .data.files import clips

    return clips.read_clips(config.dataset)


class VideoLabelingTask(base.Task):
    """Video labelling: a vector of each frame, a recurrence, a class for each frame."""

    topology = base.Topology.MANY_TO_MANY_ALIGNED
    summary = "label every frame of a clip"
    accuracy_name = "frame_accuracy"
    default_dataset = "moving_shapes"
    preprocessors: ClassVar = {"scaler": Scaler.from_json}
    Config = VideoLabelingConfig
    datasets: ClassVar = {
        "moving_shapes": base.DatasetSpec(
            usage="moving_shapes",
            description="rendered clips: what does the shape do? ten answers, one needs a long memory",
            settings={"epochs": 16, "batch_size": 16, "learning_rate": 3e-3},
            headline=ACCURACY,
            read_source=_moving_shapes,
        ),
        "gesture_phase": base.DatasetSpec(
            usage="gesture_phase",
            description="7 Kinect recordings of people who tell stories; five phases of gestures",
            settings=RECORDINGS,
            headline=MACRO_F1,
            read_source=_gesture_phase,
        ),
        "utkinect": base.DatasetSpec(
            usage="utkinect",
            description="20 Kinect recordings of 10 people; ten actions and background",
            settings=RECORDINGS,
            headline=MACRO_F1,
            read_source=_utkinect,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with a video and a class, which is then that of every frame: ucf101, ...",
            settings={"batch_size": 8, "image_size": 32, "chunk_length": 50},
            headline=ACCURACY,
            read_source=_public,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of clips (folders of images) and labels.csv with clip,frame,label; or "
            "one .csv a clip with columns of numbers and label",
            settings={"batch_size": 8, "image_size": 32},
            headline=ACCURACY,
            read_source=_files,
        ),
    }

    def load_data(self) -> base.Data:
        from .data import images
        from .data.source import CACHE_BYTES, LazyExamples

        source = self.load_source()
        fit = images.ImageResizer(self.config.image_size)
        splits = {
            name: LazyExamples(
                range(len(rows)), functools.partial(self._clip, fit, rows), CACHE_BYTES
            )
            for name, rows in source.splits.items()
        }
        frames = splits["train"][0].frames
        scaler = Scaler()
        if frames.ndim == 2:
            scaler = Scaler.fit([clip.frames for clip in splits["train"]])
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors={"scaler": scaler},
            notes={
                **source.notes,
                "classes": list(source.classes),
                "frame_shape": list(frames.shape[1:]),
                "frames": {
                    name: sum(len(clip.labels) for clip in clips) for name, clips in splits.items()
                },
            },
        )

    def _clip(self, fit, rows, index: int) -> Clip:
        row = rows[index]
        name = row.get("name") or f"clip {index}"
        labels = np.broadcast_to(np.asarray(row["labels"], "int32"), len(row["frames"]))
        return Clip(name, self._prepared(fit, row["frames"], name), labels)

    def _prepared(self, fit, frames, name: str) -> np.ndarray:
        """Returns the frames as the model takes them, before scaling.

        Args:
            fit: brings images to one shape.
            frames: (time, features), or images: one array, or a list of arrays, paths or bytes.
            name: of the clip.
        """
        if isinstance(frames, np.ndarray) and frames.ndim == 2:
            if not self.config.delta_features:
                return frames
            changes = np.diff(frames, axis=0, prepend=frames[:1])
            return np.concatenate([frames, changes], axis=1)
        return np.stack([fit(frame, f"{name}, frame {n}") for n, frame in enumerate(frames, 1)])

    def build_model(self, data: base.Data):
        from .models.frame_labeler import FrameLabeler

        config = self.config
        return FrameLabeler(
            cell=config.cell,
            frame_shape=tuple(data.notes["frame_shape"]),
            classes=len(data.notes["classes"]),
            units=config.units,
            depth=config.layers,
            bidirectional=config.bidirectional,
            filters=config.filters,
            feature_size=config.feature_size,
            dropout=config.dropout,
        )

    def batches(self, examples: Sequence[Clip], data: base.Data, *, training: bool):
        from .data import batching

        scaler = data.preprocessors["scaler"]
        dtype = "uint8" if len(data.notes["frame_shape"]) == 3 else "float32"
        places = _pieces(examples, self.config.chunk_length if training else None)

        def collate(indices, pad, _):
            chosen = []
            for clip, start, end in (places[index] for index in indices):
                _, frames, labels = examples[clip]
                chosen.append((scaler(frames[start:end]), labels[start:end]))
            frames = pad([frames for frames, _ in chosen], dtype=dtype)
            targets = pad([labels for _, labels in chosen])
            weights = pad([np.ones(len(labels)) for _, labels in chosen], dtype="float32")
            return {"frames": frames, "mask": weights}, targets, weights

        return batching.BucketedBatches(
            [end - start for _, start, end in places],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model, split: str, data: base.Data) -> base.Evaluation:
        from .metrics import classification

        clips, classes = data.splits[split], data.notes["classes"]
        probabilities = self._probabilities(model, clips, data)
        predicted = [rows.argmax(-1) for rows in probabilities]
        labels = [clip.labels for clip in clips]
        flat, truth = np.concatenate(predicted), np.concatenate(labels)
        metrics = self._scores(predicted, labels, classes)
        metrics["cross_entropy"] = classification.class_scores(
            np.concatenate(probabilities), truth
        )["log_loss"]
        examples = [
            {
                "source": f"{clip.name}, {len(clip.labels)} frames",
                "output": said(guess, classes),
                "target": said(clip.labels, classes),
                "right": bool((guess == clip.labels).all()),
                "labels": clip.labels.tolist(),
                "predicted": guess.tolist(),
            }
            for clip, guess in zip(clips, predicted, strict=True)
        ]
        tables = {"confusion": classification.confusion_table(flat, truth, classes)}
        return base.Evaluation(metrics, examples, tables=tables)

    def _probabilities(self, model, clips, data) -> list[np.ndarray]:
        """Returns (time, classes) of each clip."""
        from .metrics.classification import softmax

        grouped = self.batches(clips, data, training=False)
        found = []
        for index in range(len(grouped)):
            # Not `model.predict`, which cannot join batches of different lengths.
            found += list(softmax(model.predict_on_batch(grouped[index][0])))
        restored = grouped.restore_order(found)
        return [rows[: len(clip.frames)] for rows, clip in zip(restored, clips, strict=True)]

    def _scores(self, predicted, labels, classes) -> dict[str, float]:
        from .metrics import classification, segments

        background = classes.index(BACKGROUND) if BACKGROUND in classes else None
        flat = classification.label_scores(np.concatenate(predicted), np.concatenate(labels))
        return {
            "frame_accuracy": flat["accuracy"],
            "macro_f1": flat["macro_f1"],
            **segments.segment_scores(predicted, labels, background),
        }

    def baseline(self, data: base.Data) -> dict[str, dict[str, float]]:
        from .baselines import frames as frame_baselines

        train, test = data.splits["train"], data.splits["test"]
        labels = [clip.labels for clip in train]
        frames, asked = [clip.frames for clip in train], [clip.frames for clip in test]
        before = [-reach for reach in reversed(frame_baselines.WINDOW_REACH)]
        after = list(frame_baselines.WINDOW_REACH) if self.config.bidirectional else []
        window = [*before, 0, *after]
        guesses = {
            "majority class": frame_baselines.majority_frame_labels(
                labels, [clip.labels for clip in test]
            )
        }
        for name, offsets in {
            "gradient boosting on one frame": [0],
            f"gradient boosting on frames {window[0]} to {window[-1]:+d}": window,
        }.items():
            boosting = frame_baselines.FrameBoosting(offsets, self.config.seed)
            guesses[name] = boosting.fit(frames, labels).predict(asked)
        truth = [clip.labels for clip in test]
        return {
            name: self._scores(guess, truth, data.notes["classes"])
            for name, guess in guesses.items()
        }

    def score_parts(self, examples, data: base.Data):
        from .metrics import bootstrap

        labels, predicted = ([e[name] for e in examples] for name in ("labels", "predicted"))
        if self.dataset_spec.headline is MACRO_F1:
            return bootstrap.macro_f1_parts(labels, predicted, len(data.notes["classes"]))
        right = [
            sum(a == b for a, b in zip(*pair, strict=True))
            for pair in zip(labels, predicted, strict=True)
        ]
        return bootstrap.mean_parts(right, [len(clip) for clip in labels])

    def predict(self, model, raw_inputs: Sequence[np.ndarray], data: base.Data) -> list[list[str]]:
        """Returns the label of every frame of each clip.

        Args:
            raw_inputs: clips, each (time, features), or images of bytes (time, height, width,
                channels), or a list of paths of images.
        """
        classes = data.notes["classes"]
        return [
            [classes[label] for label in rows.argmax(-1)]
            for rows in self._probabilities(model, self._fitted(raw_inputs, data), data)
        ]

    def _fitted(self, raw_inputs: Sequence, data: base.Data) -> list[Clip]:
        from .data import images

        shape = data.notes["frame_shape"]
        fit = images.ImageResizer(self.config.image_size, shape if len(shape) == 3 else None)
        clips = []
        for number, frames in enumerate(raw_inputs):
            prepared = self._prepared(fit, frames, f"clip {number}")
            if list(prepared.shape[1:]) != list(shape):
                raise UserError(
                    f"The frames of clip {number} have the shape {prepared.shape[1:]}, those that "
                    f"the model was trained on {tuple(shape)}."
                )
            clips.append(Clip("", prepared, np.zeros(len(frames), "int32")))
        return clips

    def read_input(self, argument: str):
        """Returns the clip in a folder of images, or in a .csv file."""
        from .data.files import clips

        return clips.read_clip(argument)

    def raw_input(self, example: Clip) -> np.ndarray:
        if example.frames.ndim == 2 and self.config.delta_features:
            return example.frames[:, : example.frames.shape[1] // 2]
        return example.frames

    def explain(self, model, raw_inputs: Sequence, data: base.Data) -> list[dict]:
        from .models import explanations

        classes, clips = data.notes["classes"], self._fitted(raw_inputs, data)
        found = []
        for clip, rows in zip(clips, self._probabilities(model, clips, data), strict=True):
            one = {
                "output": [classes[label] for label in rows.argmax(-1)],
                "steps": [str(number) for number in range(1, len(rows) + 1)],
                "classes": classes,
                "probabilities": explanations.round_values(rows),
            }
            if clip.frames.ndim == 4:
                one["image"] = explanations.encode_png(np.concatenate(list(clip.frames), axis=1))
            found.append(one)
        return found


def _pieces(clips: Sequence[Clip], size: int | None) -> list[tuple[int, int, int]]:
    """Returns (clip, start, end) of every clip or, with a size, of half overlapping pieces."""
    places = []
    for number, clip in enumerate(clips):
        length = len(clip.labels)
        if size is None or length <= size:
            places.append((number, 0, length))
            continue
        starts = range(0, length - size, size // 2)
        places += [(number, start, start + size) for start in starts]
        places.append((number, length - size, length))
    return places


def said(labels: Sequence[int], classes: Sequence[str]) -> str:
    """Returns labels to be read: `still 3, left 12`."""
    runs = ((label, len(list(run))) for label, run in itertools.groupby(labels))
    return ", ".join(f"{classes[label]} {length}" for label, length in runs)
