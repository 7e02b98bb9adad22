"""Many-to-many, aligned: frames in, a label for every frame out.

        labels     y1    y2    y3    y4     one per frame, at the time of the frame
                    |     |     |     |
        state      h1 -> h2 -> h3 -> h4     recurrent layers remember earlier frames
                    |     |     |     |
        frames     x1    x2    x3    x4     each an image, or a vector of features

Input and output have the same length and advance in lockstep. By default the label of a frame does
not depend on later frames, so the model can run on a live stream. `--bidirectional` gives that up:
a label may then depend on the whole clip.

Data: `moving_shapes` (default), rendered clips, see `tasks/data/sources/moving_shapes.py`;
`gesture_phase` (Madeo, Lima and Peres, 2013; CC BY 4.0) and `utkinect` (Xia, Chen and Aggarwal,
2012; for research), joint positions of people in front of a Kinect; any data set of TensorFlow
Datasets with videos and classes, such as `ucf101`; your own clips.

One example by hand: five frames of a shape that moves to the right and stops. Another clip in the
batch has seven frames, so two steps are padding.

    frames     24 x 24 bytes each   x1      x2      x3      x4      x5      0     0
    labels                          still   right   right   still   still
    targets                         0       2       2       0       0       0     0
    weights                         1       1       1       1       1       0     0

The first frame has no predecessor and is `still`.

Headline: frame accuracy, the fraction of test frames that are labeled correctly; for the two data
sets of joints macro F1, since most of their frames belong to one class. Background (`utkinect`:
frames outside all actions) counts in both like any class, but forms no segments in the segment F1
and the edit score. On two cores, expect

    python runner.py --task video_labeling                          0.96 in 2 minutes
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from . import base, progress
from .data.scaling import Scaler
from .errors import UserError

if TYPE_CHECKING:  # most of these modules import keras
    from .baselines.scores import BaselineScores
    from .data.batching import BucketedBatches
    from .data.images import ImageResizer
    from .data.source import Source
    from .metrics.bootstrap import ScoreParts
    from .models.frame_labeler import FrameLabeler

ACCURACY = base.Headline(
    "frame_accuracy", True, "fraction of test frames labeled correctly, 0 to 1"
)
MACRO_F1 = base.Headline("macro_f1", True, "F1 of test frames, averaged over classes, 0 to 1")
SMALLEST_SIZE, LARGEST_SIZE = 8, 32  # height and width of frames, in pixels, by default
BACKGROUND = "background"  # the class of frames that belong to no segment
JOINT_SETTINGS = {  # for a few long recordings of joints: an epoch is only a few steps
    "epochs": 40,
    "patience": 15,
    "chunk_length": 100,
    "delta_features": True,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "dropout": 0.3,
}


class Clip(NamedTuple):
    """Frames (time, height, width, channels) or (time, features), and their labels (time,).

    `describe_value(frame, feature)` returns the origin of a value, for error messages.
    """

    name: str
    frames: np.ndarray
    labels: np.ndarray
    describe_value: Callable[[int, int], str] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoLabelingConfig(base.TaskConfig):
    """The settings of a video labeling run.

    Raises:
        UserError: a setting is invalid.
    """

    bidirectional: bool = base.setting(False, "Let labels depend on later frames, too.")
    layers: int = base.setting(1, "Number of recurrent layers.", at_least=1, at_most=100)
    filters: int = base.setting(
        16,
        "Filters of the first convolutional block; each block doubles them, up to 8x.",
        at_least=1,
    )
    feature_size: int = base.setting(64, "Size of the feature vector of a frame.", at_least=1)
    dropout: float = base.setting(
        0.0,
        "Dropout rate for the feature vectors, between layers and before the output layer.",
        at_least=0,
        below=1,
    )
    delta_features: bool = base.setting(
        False, "Append the change since the previous frame to frames that are feature vectors."
    )
    image_size: int | None = base.setting(
        None,
        "Resize frames that are images to this many pixels per side. Default: their typical size, "
        f"at most {LARGEST_SIZE}.",
        at_least=SMALLEST_SIZE,
    )
    chunk_length: int | None = base.setting(
        None, "Split training clips into half-overlapping chunks of this many frames.", at_least=2
    )


def _read_moving_shapes(config: VideoLabelingConfig) -> "Source":
    from .data.sources import moving_shapes

    return moving_shapes.read_moving_shapes()


def _read_gesture_phase(config: VideoLabelingConfig) -> "Source":
    from .data import store
    from .data.sources.gesture_phase import gesture_phase_dataset_builder as builder

    return store.load_source(builder.Builder, config)


def _read_utkinect(config: VideoLabelingConfig) -> "Source":
    from .data import store
    from .data.sources.utkinect import utkinect_dataset_builder as builder

    return store.load_source(builder.Builder, config)


def _read_tfds(config: VideoLabelingConfig) -> "Source":
    from .data.sources import public

    return public.read_public_dataset(config, frames=public.VIDEO, labels=public.LABEL)


def _read_files(config: VideoLabelingConfig) -> "Source":
    from .data.files import clips

    return clips.read_clips(config.dataset)


class VideoLabelingTask(base.Task):
    """Video labeling: a vector for every frame, recurrent layers, a class for every frame."""

    topology = base.Topology.MANY_TO_MANY_ALIGNED
    summary = "label every frame of a clip"
    accuracy_name = "frame_accuracy"
    default_dataset = "moving_shapes"
    preprocessors: ClassVar[Mapping[str, Callable[[str], Any]]] = {"scaler": Scaler.from_json}
    Config = VideoLabelingConfig
    config: VideoLabelingConfig
    datasets: ClassVar[Mapping[str, base.DatasetSpec]] = {
        "moving_shapes": base.DatasetSpec(
            usage="moving_shapes",
            description="rendered clips of a moving shape, ten labels; one needs a long memory",
            settings={"epochs": 16, "batch_size": 16, "learning_rate": 3e-3},
            headline=ACCURACY,
            read_source=_read_moving_shapes,
        ),
        "gesture_phase": base.DatasetSpec(
            usage="gesture_phase",
            description="7 Kinect recordings of people telling stories; five gesture phases",
            settings=JOINT_SETTINGS,
            headline=MACRO_F1,
            read_source=_read_gesture_phase,
        ),
        "utkinect": base.DatasetSpec(
            usage="utkinect",
            description="20 Kinect recordings of 10 people; ten actions and background",
            settings=JOINT_SETTINGS,
            headline=MACRO_F1,
            read_source=_read_utkinect,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with videos and classes; every frame gets the class: ucf101, ...",
            settings={"batch_size": 8, "chunk_length": 50},
            headline=ACCURACY,
            read_source=_read_tfds,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of clips (folders of images) and labels.csv with columns "
            "clip,frame,label; or one .csv or .tsv per clip with columns of numbers and label",
            settings={"batch_size": 8},
            headline=ACCURACY,
            read_source=_read_files,
        ),
    }

    def load_data(self) -> base.Data:
        from .data.images import ImageResizer
        from .data.source import CACHE_BYTES, LazyExamples

        source = self.load_source()
        resize = ImageResizer.for_source(
            source, self.config.image_size, least=SMALLEST_SIZE, most=LARGEST_SIZE
        )
        splits = {
            name: LazyExamples(
                range(len(rows)), functools.partial(self._make_clip, resize, rows), CACHE_BYTES
            )
            for name, rows in source.splits.items()
        }
        first_frames = splits["train"][0].frames
        scaler = Scaler()
        if first_frames.ndim == 2:
            scaler = Scaler.fit([clip.frames for clip in splits["train"]])
            for clip in itertools.chain(*splits.values()):
                scaler(clip.frames, clip.describe_value)  # reports values out of range
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors={"scaler": scaler},
            notes={
                **source.notes,
                "classes": list(source.classes),
                "frame_shape": list(first_frames.shape[1:]),
                "frames": {
                    name: sum(len(clip.labels) for clip in clips) for name, clips in splits.items()
                },
            },
        )

    def _make_clip(
        self, resize: "ImageResizer", rows: Sequence[Mapping[str, Any]], index: int
    ) -> Clip:
        row = rows[index]
        name = row.get("name") or f"clip {index}"
        labels = np.broadcast_to(np.asarray(row["labels"], "int32"), len(row["frames"]))
        describe_value = row["table"].describe_value if "table" in row else None
        return Clip(name, self._prepare_frames(resize, row["frames"], name), labels, describe_value)

    def _prepare_frames(self, resize: "ImageResizer", frames: Any, name: str) -> np.ndarray:
        """Returns the frames as the model reads them, before scaling.

        Args:
            resize: converts images to the same shape.
            frames: an array (time, features); or images: an array, or a list of arrays, paths or
                file contents.
            name: name of the clip, for error messages.
        """
        if isinstance(frames, np.ndarray) and frames.ndim == 2:
            if frames.dtype != "float32":
                frames = frames.astype("float64")  # differences of bytes would wrap around
            if not self.config.delta_features:
                return frames
            deltas = np.diff(frames, axis=0, prepend=frames[:1])
            return np.concatenate([frames, deltas], axis=1)
        return np.stack([resize(frame, f"{name}, frame {n}") for n, frame in enumerate(frames, 1)])

    def build_model(self, data: base.Data) -> "FrameLabeler":
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

    def batches(
        self, examples: Sequence[Clip], data: base.Data, *, training: bool
    ) -> "BucketedBatches":
        from .data.batching import BucketedBatches

        scaler = data.preprocessors["scaler"]
        dtype = "uint8" if len(data.notes["frame_shape"]) == 3 else "float32"
        chunks = _find_chunks(examples, self.config.chunk_length if training else None)

        def collate(
            indices: np.ndarray, pad: Callable[..., np.ndarray], random: np.random.Generator
        ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
            batch = []
            for chunk in (chunks[index] for index in indices):
                clip = examples[chunk.clip]
                frames = scaler(clip.frames[chunk.start : chunk.end])
                batch.append((frames, clip.labels[chunk.start : chunk.end]))
            frames = pad([frames for frames, _ in batch], dtype=dtype)
            targets = pad([labels for _, labels in batch])
            weights = pad([np.ones(len(labels)) for _, labels in batch], dtype="float32")
            return {"frames": frames, "mask": weights}, targets, weights

        return BucketedBatches(
            [chunk.end - chunk.start for chunk in chunks],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model: "FrameLabeler", split: str, data: base.Data) -> base.Evaluation:
        from .metrics.classification import class_scores, confusion_table

        clips, classes = data.splits[split], data.notes["classes"]
        probabilities = self._probabilities(model, clips, data)
        predicted = [rows.argmax(-1) for rows in probabilities]
        labels = [clip.labels for clip in clips]
        flat_predicted, flat_labels = np.concatenate(predicted), np.concatenate(labels)
        metrics = self._scores(predicted, labels, classes)
        frame_scores = class_scores(np.concatenate(probabilities), flat_labels)
        metrics["cross_entropy"] = frame_scores["log_loss"]
        examples = [
            {
                "source": f"{clip.name}, {len(clip.labels)} frames",
                "output": format_labels(clip_predicted, classes),
                "target": format_labels(clip.labels, classes),
                "right": bool((clip_predicted == clip.labels).all()),
                "labels": clip.labels.tolist(),
                "predicted": clip_predicted.tolist(),
            }
            for clip, clip_predicted in zip(clips, predicted, strict=True)
        ]
        tables = {"confusion": confusion_table(flat_predicted, flat_labels, classes)}
        return base.Evaluation(metrics, examples, tables=tables)

    def _probabilities(
        self, model: Any, clips: Sequence[Clip], data: base.Data
    ) -> list[np.ndarray]:
        """Returns probabilities (time, classes) for each clip."""
        from .metrics.classification import softmax

        batches = self.batches(clips, data, training=False)
        outputs = []
        with progress.part(f"labeling {len(clips):,} clips") as advance:
            for index in range(len(batches)):
                advance(index, len(batches))
                # Not `model.predict`, which cannot join batches of different lengths.
                outputs += list(softmax(model.predict_on_batch(batches[index][0])))
        padded = batches.restore_order(outputs)
        return [rows[: len(clip.frames)] for rows, clip in zip(padded, clips, strict=True)]

    def _scores(
        self,
        predicted: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        classes: Sequence[str],
    ) -> dict[str, float]:
        from .metrics.classification import label_scores
        from .metrics.segments import segment_scores

        background = classes.index(BACKGROUND) if BACKGROUND in classes else None
        frame_scores = label_scores(np.concatenate(predicted), np.concatenate(labels))
        return {
            "frame_accuracy": frame_scores["accuracy"],
            "macro_f1": frame_scores["macro_f1"],
            **segment_scores(predicted, labels, background),
        }

    def baseline(self, data: base.Data) -> "BaselineScores":
        from .baselines.frames import WINDOW_REACH, FrameBoosting, majority_frame_labels
        from .baselines.scores import BaselineScores, example_rows

        train, test = data.splits["train"], data.splits["test"]
        train_labels, test_labels = ([clip.labels for clip in clips] for clips in (train, test))
        classes = data.notes["classes"]
        before = [-reach for reach in reversed(WINDOW_REACH)]
        after = list(WINDOW_REACH) if self.config.bidirectional else []
        window = [*before, 0, *after]

        def boost(offsets: Sequence[int]) -> list[np.ndarray]:
            boosting = FrameBoosting(offsets).fit(_frames(train), train_labels)
            return boosting.predict(_frames(test))

        outputs = {
            "majority class": lambda: majority_frame_labels(train_labels, test_labels),
            "gradient boosting on one frame": lambda: boost([0]),
            f"gradient boosting on frames {window[0]} to {window[-1]:+d}": lambda: boost(window),
        }
        return BaselineScores(
            outputs,
            lambda predicted: self._scores(predicted, test_labels, classes),
            lambda: example_rows({"train": train, "test": test}, ("name",), classes=classes),
        )

    def score_parts(self, examples: Sequence[Mapping[str, Any]], data: base.Data) -> "ScoreParts":
        from .metrics.bootstrap import macro_f1_parts, mean_parts

        labels = [example["labels"] for example in examples]
        predicted = [example["predicted"] for example in examples]
        if self.dataset_spec.headline is MACRO_F1:
            return macro_f1_parts(labels, predicted, len(data.notes["classes"]))
        correct = [
            sum(label == guess for label, guess in zip(*clip, strict=True))
            for clip in zip(labels, predicted, strict=True)
        ]
        return mean_parts(correct, [len(clip_labels) for clip_labels in labels])

    def predict(
        self, model: "FrameLabeler", raw_inputs: Sequence[Any], data: base.Data
    ) -> list[list[str]]:
        """Returns a label for every frame of each clip.

        Args:
            raw_inputs: clips. Each is an array (time, features), a `FeatureTable`, a uint8 array
                (time, height, width, channels), or a list of image paths.
        """
        classes = data.notes["classes"]
        return [
            [classes[label] for label in rows.argmax(-1)]
            for rows in self._probabilities(model, self._to_clips(raw_inputs, data), data)
        ]

    def _to_clips(self, raw_inputs: Sequence[Any], data: base.Data) -> list[Clip]:
        from .data.files.feature_tables import FeatureTable
        from .data.images import ImageResizer

        frame_shape = data.notes["frame_shape"]
        image_shape = frame_shape if len(frame_shape) == 3 else None
        resize = ImageResizer(image_shape and image_shape[:2], image_shape)
        clips = []
        for number, raw_frames in enumerate(raw_inputs):
            table = raw_frames if isinstance(raw_frames, FeatureTable) else None
            if table is not None:
                raw_frames = table.select_columns(data.notes.get("columns") or table.columns)
            frames = self._prepare_frames(resize, raw_frames, f"clip {number}")
            if list(frames.shape[1:]) != list(frame_shape):
                raise UserError(
                    f"The frames of clip {number} have the shape {frames.shape[1:]}, but the "
                    f"model was trained on frames of the shape {tuple(frame_shape)}."
                )
            data.preprocessors["scaler"](frames, table and table.describe_value)
            clips.append(Clip("", frames, np.zeros(len(frames), "int32")))
        return clips

    def read_input(self, argument: str) -> Any:
        """Returns the clip at a path: a folder of images, or a .csv file."""
        from .data.files.clips import read_clip

        return read_clip(argument)

    def raw_input(self, example: Clip) -> np.ndarray:
        if example.frames.ndim == 2 and self.config.delta_features:
            return example.frames[:, : example.frames.shape[1] // 2]
        return example.frames

    def explain(
        self, model: "FrameLabeler", raw_inputs: Sequence[Any], data: base.Data
    ) -> list[dict[str, Any]]:
        from .models import explanations

        classes, clips = data.notes["classes"], self._to_clips(raw_inputs, data)
        explained = []
        for clip, rows in zip(clips, self._probabilities(model, clips, data), strict=True):
            explanation = {
                "output": [classes[label] for label in rows.argmax(-1)],
                "steps": [str(number) for number in range(1, len(rows) + 1)],
                "classes": classes,
                "probabilities": explanations.round_values(rows),
            }
            if clip.frames.ndim == 4:
                strip = np.concatenate(list(clip.frames), axis=1)
                explanation["image"] = explanations.encode_png(strip)
            explained.append(explanation)
        return explained


def _frames(clips: Sequence[Clip]) -> Sequence[np.ndarray]:
    """Returns the frames of each clip, read one clip at a time."""
    from .data.source import LazyExamples

    return LazyExamples(range(len(clips)), lambda index: clips[index].frames)


class Chunk(NamedTuple):
    """Frames `start` to `end`, exclusive, of the clip with the index `clip`."""

    clip: int
    start: int
    end: int


def _find_chunks(clips: Sequence[Clip], chunk_length: int | None) -> list[Chunk]:
    """Returns half-overlapping chunks that cover all clips, or whole clips without a length."""
    chunks = []
    for index, clip in enumerate(clips):
        length = len(clip.labels)
        if chunk_length is None or length <= chunk_length:
            chunks.append(Chunk(index, 0, length))
            continue
        starts = range(0, length - chunk_length, chunk_length // 2)
        chunks += [Chunk(index, start, start + chunk_length) for start in starts]
        chunks.append(Chunk(index, length - chunk_length, length))
    return chunks


def format_labels(labels: Sequence[int] | np.ndarray, classes: Sequence[str]) -> str:
    """Returns labels as readable text, run by run.

    Example:
        >>> format_labels([0, 0, 1, 0], ["still", "left"])
        'still 2, left 1, still 1'
    """
    runs = ((label, len(list(run))) for label, run in itertools.groupby(labels))
    return ", ".join(f"{classes[label]} {length}" for label, length in runs)
