"""One-to-one: an image of fixed size in, one class out.

        class      y                        y        --view rows: the same image, read
                   |                        |        row by row, is a sequence
        state      h       beside it  h1 -> h2
                   |                  |     |
        image      x                  x1    x2

One step of the recurrent cell from a zero state is a feed-forward net with gates: nothing comes
round again, and the recurrent weights do nothing. It is the degenerate case that the others grow
from. A convolution makes the vector that the cell reads. `--view rows` gives the cell one row of
the image at a time, and `--view pixels` one pixel: 784 steps for MNIST, a test of long memory.

Data: `digits` (default), 1,797 handwritten digits of scikit-learn (UCI, CC BY 4.0); `mnist`
(LeCun, Cortes and Burges; CC BY-SA 3.0), `fashion_mnist` (Xiao, Rasul and Vollgraf, 2017; MIT),
`cifar10` and any other set of TensorFlow Datasets with an image and a class; your own images.

One example by hand: a seven, of `digits`, as the three views give it to the cell.

    image      1 step    the 128 features that the convolution makes of 8 x 8 pixels
    rows       8 steps   0 0 7 8 13 16 15 1 | 0 0 7 7 4 11 12 0 | 0 0 0 0 8 13 1 0 | ...
    pixels     64 steps  0 | 0 | 7 | 8 | 13 | ...
    class      "7"       7

(Shades 0 to 16 as scikit-learn has them; here they are spread over 0 to 255, and the model takes
them to -1 to 1.)

Headline: accuracy, the fraction of test images whose class is right. Expect, on two cores,

    python runner.py --task classification                          0.99 in half a minute
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from . import base
from .errors import UserError

ROWS, SIDE = 60_000, 32  # what logistic regression looks at: images, and pixels a side
ACCURACY = base.Headline("accuracy", True, "fraction of test images whose class is right")


class Example(NamedTuple):
    """An image of bytes (height, width, channels), and its class."""

    name: str
    image: np.ndarray
    label: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationConfig(base.TaskConfig):
    """The settings of an image classification run.

    Raises:
        UserError: the settings do not go together.
    """

    view: Literal["image", "rows", "pixels"] = base.setting(
        "image", "How the image is read: at once, in one step of the cell, or as a sequence."
    )
    bidirectional: bool = base.setting(False, "Whether rows or pixels are read both ways.")
    layers: int = base.setting(1, "Recurrent layers.", at_least=1, at_most=100)
    filters: int = base.setting(
        32, "Features of the first block of the convolution; further blocks double it.", at_least=1
    )
    feature_size: int = base.setting(128, "Width of the vector of an image.", at_least=1)
    dropout: float = base.setting(
        0.2,
        "Fraction dropped of the vector, between layers and before the class.",
        at_least=0,
        below=1,
    )
    image_size: int | None = base.setting(
        None, "Resize images to this many pixels a side.", at_least=4
    )
    random_translation: int = base.setting(
        0, "Move training images by up to this many pixels.", at_least=0
    )
    horizontal_flip: bool = base.setting(False, "Whether half of the training images are mirrored.")

    def __post_init__(self):
        super().__post_init__()
        if self.bidirectional and self.view == "image":
            raise UserError(
                "--bidirectional needs a sequence, and with --view image the cell takes one step: "
                "backwards it is the same step. Add --view rows or --view pixels."
            )


def _digits(config: ClassificationConfig):
    from .data.sources import digits

    return digits.read_digits()


def _public(config: ClassificationConfig):
    from .data.sources import public

    return public.read_public_dataset(config, image=public.IMAGE, label=public.LABEL)


def _files(config: ClassificationConfig):
    from .data.files import images

    return images.read_image_classes(config.dataset)


class ClassificationTask(base.Task):
    """Image classification: a convolution, one step of a cell, and a class."""

    topology = base.Topology.ONE_TO_ONE
    summary = "tell the class of an image"
    default_dataset = "digits"
    Config = ClassificationConfig
    datasets: ClassVar = {
        "digits": base.DatasetSpec(
            usage="digits",
            description="1,797 handwritten digits of 8 x 8 pixels",
            settings={"epochs": 40, "batch_size": 32, "dropout": 0.4, "patience": 10},
            headline=ACCURACY,
            read_source=_digits,
        ),
        "mnist": base.DatasetSpec(
            usage="mnist",
            description="70,000 handwritten digits of 28 x 28 pixels",
            settings={"random_translation": 2, "batch_size": 128},
            headline=ACCURACY,
            read_source=_public,
        ),
        "fashion_mnist": base.DatasetSpec(
            usage="fashion_mnist",
            description="70,000 pictures of clothes of 28 x 28 pixels",
            settings={
                "epochs": 20,
                "random_translation": 2,
                "horizontal_flip": True,
                "batch_size": 128,
            },
            headline=ACCURACY,
            read_source=_public,
        ),
        "cifar10": base.DatasetSpec(
            usage="cifar10",
            description="60,000 photographs of 32 x 32 pixels",
            settings={
                "epochs": 20,
                "random_translation": 3,
                "horizontal_flip": True,
                "batch_size": 128,
            },
            headline=ACCURACY,
            read_source=_public,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with an image and a class: cmaterdb, kmnist, tf_flowers, ...",
            settings={"image_size": 64},
            headline=ACCURACY,
            read_source=_public,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of images, a sub-folder a class, perhaps under train/, test/",
            settings={"image_size": 64},
            headline=ACCURACY,
            read_source=_files,
        ),
    }

    def load_data(self) -> base.Data:
        from .data import images as pixels
        from .data.source import CACHE_BYTES, LazyExamples

        source = self.load_source()
        fit = pixels.ImageResizer(self.config.image_size)
        splits = {
            name: LazyExamples(
                range(len(rows)), functools.partial(_example, fit, rows, name), CACHE_BYTES
            )
            for name, rows in source.splits.items()
        }
        shape = splits["train"][0].image.shape  # which the others have to have, too
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            notes={
                **source.notes,
                "classes": list(source.classes),
                "image_shape": list(shape),
            },
        )

    def build_model(self, data: base.Data):
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

    def batches(self, examples: Sequence[Example], data: base.Data, *, training: bool):
        from .data import batching
        from .data import images as pixels

        def collate(indices, random):
            chosen = [examples[index] for index in indices]
            images = np.stack([example.image for example in chosen])
            if training:
                images = pixels.augment_images(
                    images,
                    random,
                    random_translation=self.config.random_translation,
                    horizontal_flip=self.config.horizontal_flip,
                )
            return images, np.array([example.label for example in chosen], "int32")

        return batching.Batches(
            len(examples),
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model, split: str, data: base.Data) -> base.Evaluation:
        from .metrics import classification

        examples = data.splits[split]
        probabilities = self._probabilities(model, examples, data)
        names = [example.name for example in examples]
        labels = [example.label for example in examples]
        return classification.evaluate_classes(probabilities, labels, names, data.notes["classes"])

    def _probabilities(self, model, examples, data) -> np.ndarray:
        from .metrics.classification import softmax

        grouped = self.batches(examples, data, training=False)
        return softmax(grouped.restore_order(model.predict(grouped, verbose=0)))

    def baseline(self, data: base.Data) -> dict[str, dict[str, float]]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        from .baselines.classification import ignore_convergence_warnings, score_baselines

        train, test = _flat(data.splits["train"]), _flat(data.splits["test"])
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100, C=0.1))
        with ignore_convergence_warnings():
            model.fit(*train)
        return score_baselines(
            train[1], test[1], {"logistic regression on pixels": model.predict(test[0])}
        )

    def predict(self, model, raw_inputs: Sequence, data: base.Data) -> list[str]:
        """Returns the class of each image, an array of bytes or a path."""
        probabilities = self._probabilities(model, self._fitted(raw_inputs, data), data)
        return [data.notes["classes"][label] for label in probabilities.argmax(-1)]

    def _fitted(self, raw_inputs: Sequence, data: base.Data) -> list[Example]:
        from .data import images as pixels

        fit = pixels.ImageResizer(self.config.image_size, data.notes["image_shape"])
        pairs = zip(pixels.image_names(raw_inputs), raw_inputs, strict=True)
        return [Example(name, fit(image, name), 0) for name, image in pairs]

    def raw_input(self, example: Example) -> np.ndarray:
        return example.image

    def explain(self, model, raw_inputs: Sequence, data: base.Data) -> list[dict]:
        from .models import explanations

        examples = self._fitted(raw_inputs, data)
        classes, found = data.notes["classes"], []
        for example, row in zip(examples, self._probabilities(model, examples, data), strict=True):
            shown = explanations.top_classes(row[np.newaxis], 5)
            found.append(
                {
                    "output": classes[shown[0]],
                    "image": explanations.encode_png(example.image),
                    "classes": [classes[index] for index in shown],
                    "probabilities": explanations.round_values([row[shown]]),
                }
            )
        return found


def _example(fit, rows, split: str, index: int) -> Example:
    row = rows[index]
    name = row.get("name") or f"{split} {index}"
    return Example(name, fit(row["image"], name), int(row["label"]))


def _flat(examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels (examples, features) and labels, of the first examples if there are many."""
    chosen = examples[: min(len(examples), ROWS)]
    images = np.stack([example.image for example in chosen])
    step = -(-max(images.shape[1:3]) // SIDE)  # larger images are thinned out
    flat = images[:, ::step, ::step].reshape(len(images), -1).astype("float32")
    return flat, np.array([example.label for example in chosen])
