"""One-to-one: an image of fixed size in, one class out.

        --view image (default)            --view rows

        class      y                      class             y
                   |                                        |
        state      h                      state      h1 -> h2
                   |                                 |      |
        image      x                      rows       x1     x2

A cell that takes a single step from a zero state is a feed-forward network with gates: nothing
recurs, and the recurrent weights do nothing. It is the degenerate case that the other topologies
generalize. A small convolutional network computes the vector that the cell reads. With
`--view rows` the cell reads the image row by row instead, and with `--view pixels` pixel by pixel:
784 steps for MNIST, a test of long memory.

Data: `digits` (default), 1,797 handwritten digits from scikit-learn (UCI, CC BY 4.0); `mnist`
(LeCun, Cortes and Burges; CC BY-SA 3.0), `fashion_mnist` (Xiao, Rasul and Vollgraf, 2017; MIT),
`cifar10` and any other data set of TensorFlow Datasets with images and classes; your own images.

One example by hand: what the cell reads of a seven from `digits`, in each view.

    image      1 step    the 128 features that the convolutions extract from 8 x 8 pixels
    rows       8 steps   0 0 7 8 13 16 15 1 | 0 0 7 7 4 11 12 0 | 0 0 0 0 8 13 1 0 | ...
    pixels     64 steps  0 | 0 | 7 | 8 | 13 | ...
    class      "7"       7

(These are scikit-learn's shades, 0 to 16. They are stored as 0 to 255, and the model scales them
to -1 ... 1.)

Headline: accuracy, the fraction of test images that are classified correctly. On two cores, expect

    python runner.py --task classification                          0.99 in half a minute
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from . import base, progress
from .errors import UserError

if TYPE_CHECKING:  # most of these modules import keras
    from .baselines.scores import BaselineScores
    from .data.batching import Batches
    from .data.images import ImageResizer
    from .data.source import Source
    from .models.image_classifier import ImageClassifier

ACCURACY = base.Headline("accuracy", True, "fraction of test images classified correctly, 0 to 1")
# The logistic regression baseline trains on a sample of at most this many images, and sees at most
# this many pixels per side: at most 60,000 x 3,072 values.
BASELINE_IMAGES, BASELINE_SIDE = 60_000, 32
SMALLEST_SIZE, LARGEST_SIZE = 4, 64  # height and width of images, in pixels, by default


class Example(NamedTuple):
    """An image of bytes (height, width, channels), and its class."""

    name: str
    image: np.ndarray
    label: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(base.TaskConfig):
    """The settings of an image classification run.

    Raises:
        UserError: a setting is invalid, or two settings contradict each other.
    """

    view: Literal["image", "rows", "pixels"] = base.setting(
        "image", "Read the image in one step, or as a sequence of rows or pixels."
    )
    bidirectional: bool = base.setting(False, "Read rows or pixels in both directions.")
    layers: int = base.setting(1, "Number of recurrent layers.", at_least=1, at_most=100)
    filters: int = base.setting(
        32,
        "Filters of the first convolutional block; each block doubles them, up to 8x.",
        at_least=1,
    )
    feature_size: int = base.setting(128, "Size of the feature vector of an image.", at_least=1)
    dropout: float = base.setting(
        0.2,
        "Dropout rate for the feature vector, between layers and before the output layer.",
        at_least=0,
        below=1,
    )
    image_size: int | None = base.setting(
        None,
        "Resize images to this many pixels per side. Default: their typical size, at most "
        f"{LARGEST_SIZE}.",
        at_least=SMALLEST_SIZE,
    )
    random_translation: int = base.setting(
        0, "Shift training images at random by up to this many pixels.", at_least=0
    )
    horizontal_flip: bool = base.setting(False, "Flip a random half of the training images.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bidirectional and self.view == "image":
            raise UserError(
                "--bidirectional needs a sequence, but with --view image the cell takes a single "
                "step. Add --view rows or --view pixels."
            )


def _read_digits(config: ClassificationConfig) -> "Source":
    from .data.sources import digits

    return digits.read_digits()


def _read_tfds(config: ClassificationConfig) -> "Source":
    from .data.sources import public

    return public.read_public_dataset(config, image=public.IMAGE, label=public.LABEL)


def _read_files(config: ClassificationConfig) -> "Source":
    from .data.files import images

    return images.read_image_classes(config.dataset)


class ClassificationTask(base.Task):
    """Image classification: convolutions, one step of a cell, and a class."""

    topology = base.Topology.ONE_TO_ONE
    summary = "classify an image"
    default_dataset = "digits"
    Config = ClassificationConfig
    config: ClassificationConfig
    datasets: ClassVar[Mapping[str, base.DatasetSpec]] = {
        "digits": base.DatasetSpec(
            usage="digits",
            description="1,797 handwritten digits, 8 x 8 pixels",
            settings={"epochs": 40, "batch_size": 32, "dropout": 0.4, "patience": 10},
            headline=ACCURACY,
            read_source=_read_digits,
        ),
        "mnist": base.DatasetSpec(
            usage="mnist",
            description="70,000 handwritten digits, 28 x 28 pixels",
            settings={"random_translation": 2, "batch_size": 128},
            headline=ACCURACY,
            read_source=_read_tfds,
        ),
        "fashion_mnist": base.DatasetSpec(
            usage="fashion_mnist",
            description="70,000 images of clothing, 28 x 28 pixels",
            settings={
                "epochs": 20,
                "random_translation": 2,
                "horizontal_flip": True,
                "batch_size": 128,
            },
            headline=ACCURACY,
            read_source=_read_tfds,
        ),
        "cifar10": base.DatasetSpec(
            usage="cifar10",
            description="60,000 photos, 32 x 32 pixels",
            settings={
                "epochs": 20,
                "random_translation": 3,
                "horizontal_flip": True,
                "batch_size": 128,
            },
            headline=ACCURACY,
            read_source=_read_tfds,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with images and classes: cmaterdb, kmnist, tf_flowers, ...",
            settings={},
            headline=ACCURACY,
            read_source=_read_tfds,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of images, one subfolder per class, optionally in train/, test/",
            settings={},
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
                range(len(rows)), functools.partial(_make_example, resize, rows, name), CACHE_BYTES
            )
            for name, rows in source.splits.items()
        }
        image_shape = splits["train"][0].image.shape  # all other images must have this shape
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            notes={
                **source.notes,
                "classes": list(source.classes),
                "image_shape": list(image_shape),
            },
        )

    def build_model(self, data: base.Data) -> "ImageClassifier":
        from .models.image_classifier import ImageClassifier

        config = self.config
        return ImageClassifier(
            cell=config.cell,
            image_shape=tuple(data.notes["image_shape"]),
            classes=len(data.notes["classes"]),
            view=config.view,
            units=config.units,
            depth=config.layers,
            bidirectional=config.bidirectional,
            filters=config.filters,
            feature_size=config.feature_size,
            dropout=config.dropout,
        )

    def batches(self, examples: Sequence[Example], data: base.Data, *, training: bool) -> "Batches":
        from .data.batching import Batches
        from .data.images import augment_images

        def collate(
            indices: np.ndarray, random: np.random.Generator
        ) -> tuple[np.ndarray, np.ndarray]:
            batch = [examples[index] for index in indices]
            images = np.stack([example.image for example in batch])
            if training:
                images = augment_images(
                    images,
                    random,
                    random_translation=self.config.random_translation,
                    horizontal_flip=self.config.horizontal_flip,
                )
            return images, np.array([example.label for example in batch], "int32")

        return Batches(
            len(examples),
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model: "ImageClassifier", split: str, data: base.Data) -> base.Evaluation:
        from .metrics.classification import evaluate_classes

        examples = data.splits[split]
        probabilities = self._probabilities(model, examples, data)
        names = [example.name for example in examples]
        labels = [example.label for example in examples]
        return evaluate_classes(probabilities, labels, names, data.notes["classes"])

    def _probabilities(
        self, model: Any, examples: Sequence[Example], data: base.Data
    ) -> np.ndarray:
        """Returns the probability of each class, (examples, classes)."""
        from .metrics.classification import softmax
        from .models.prediction import predict_batches

        batches = self.batches(examples, data, training=False)
        with progress.part(f"classifying {len(examples):,} images") as advance:
            logits = predict_batches(model, batches, advance)
        return softmax(batches.restore_order(logits))

    def baseline(self, data: base.Data) -> "BaselineScores":
        from .baselines.classification import score_baselines
        from .baselines.scores import example_rows
        from .data.source import sample_rows

        train = sample_rows(data.splits["train"], BASELINE_IMAGES)
        test = data.splits["test"]
        return score_baselines(
            [example.label for example in train],
            [example.label for example in test],
            {"logistic regression on pixels": lambda: _predict_from_pixels(train, test)},
            lambda: example_rows({"train": train, "test": test}, ("name",)),
        )

    def predict(
        self, model: "ImageClassifier", raw_inputs: Sequence[Any], data: base.Data
    ) -> list[str]:
        """Returns the class of each image.

        Args:
            raw_inputs: images as arrays of bytes (height, width, channels), or their paths.
        """
        probabilities = self._probabilities(model, self._to_examples(raw_inputs, data), data)
        return [data.notes["classes"][label] for label in probabilities.argmax(-1)]

    def _to_examples(self, raw_inputs: Sequence[Any], data: base.Data) -> list[Example]:
        from .data.images import ImageResizer, image_names

        resize = ImageResizer(data.notes["image_shape"][:2], data.notes["image_shape"])
        named_images = zip(image_names(raw_inputs), raw_inputs, strict=True)
        return [Example(name, resize(image, name), 0) for name, image in named_images]

    def raw_input(self, example: Example) -> np.ndarray:
        return example.image

    def explain(
        self, model: "ImageClassifier", raw_inputs: Sequence[Any], data: base.Data
    ) -> list[dict[str, Any]]:
        from .models import explanations

        examples = self._to_examples(raw_inputs, data)
        probabilities = self._probabilities(model, examples, data)
        classes, explained = data.notes["classes"], []
        for example, row in zip(examples, probabilities, strict=True):
            top = explanations.top_classes(row[np.newaxis], 5)
            explained.append(
                {
                    "output": classes[top[0]],
                    "image": explanations.encode_png(example.image),
                    "classes": [classes[label] for label in top],
                    "probabilities": explanations.round_values([row[top]]),
                }
            )
        return explained


def _make_example(
    resize: "ImageResizer", rows: Sequence[Mapping[str, Any]], split: str, index: int
) -> Example:
    row = rows[index]
    name = row.get("name") or f"{split} {index}"
    return Example(name, resize(row["image"], name), int(row["label"]))


def _predict_from_pixels(train: Sequence[Example], test: Sequence[Example]) -> np.ndarray:
    """Returns the classes that logistic regression on pixels predicts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from .baselines.classification import fit_and_predict

    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100, C=0.1))
    labels = [example.label for example in train]
    return fit_and_predict(regression, _read_pixels(train), labels, _read_pixels(test))


def _read_pixels(examples: Sequence[Example]) -> np.ndarray:
    """Returns pixels (examples, features), at most `BASELINE_SIDE` per side of an image.

    Larger images are subsampled one by one: all of them at full size may not fit into memory.
    """
    first = examples[0].image
    step = -(-max(first.shape[:2]) // BASELINE_SIDE)
    pixels = np.empty((len(examples), first[::step, ::step].size), "float32")
    for row, example in zip(pixels, examples, strict=True):
        row[:] = example.image[::step, ::step].ravel()
    return pixels
