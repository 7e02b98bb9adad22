"""One-to-many: an image in, a sentence about it out.

        caption    <start> y1 -> y2 -> y3       decoder: reads the words so far,
                      |     |     |     |       predicts the next one
                     y1    y2    y3   <end>
                      |     |     |     |
                      '-----'--.--'-----'  attention: a weighted sum over all positions
                               |
        image                  x           convolutions: one vector per position

The image sets the initial state of the decoder. From there on, each word follows from the words
before it and, through attention, from the image, until the decoder generates `<end>`.

Data: `scenes` (default), rendered images, see `tasks/data/sources/scenes/`; `flickr8k` (Hodosh,
Young and Hockenmaier, 2013; captions CC BY-SA 3.0, images for research only); any data set of
TensorFlow Datasets with images and captions, such as `coco_captions`; your own images.

One example by hand, with words as tokens (0 is padding, 1 the start, 2 the end, 3 a rare word):

    image      48 x 48 pixels: a large red cross in the middle, a small blue circle below it
    caption    "a large red cross is above a small blue circle"
    previous   what the decoder reads       1 4 12 16 8 5 33 4 14 18 9
    following  what it should predict       4 12 16 8 5 33 4 14 18 9 2

In training the decoder reads the true caption, shifted by one step (teacher forcing), and one
encoding of an image serves several captions. At test time the decoder reads its own words instead.
All scores are of these free-running captions, except cross entropy, perplexity and token accuracy,
which are teacher-forced.

Headline: for `scenes` exact meaning, the fraction of test images whose caption mentions everything
in the scene, mentions nothing else and says nothing false (the caption is parsed and compared with
the scene); otherwise BLEU-4. Metrics under `unseen/` are of scenes that contain a pair of colour
and shape that never occurs in training. On two cores, expect

    python runner.py --task image_captioning                        0.91 to 0.98 in 4 minutes
    python runner.py --task image_captioning --dataset flickr8k     BLEU-4 8.7 in 49 minutes
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np

from . import base
from .data.checks import unknown_warnings
from .data.splits import SPLITS
from .data.token_units import TokenSetting, choose_token_unit
from .data.vocabulary import (
    END,
    PAD,
    START,
    Vocabulary,
    build_vocabulary,
    describe_vocabulary,
    unknown_shares,
)
from .errors import UserError

if TYPE_CHECKING:  # most of these modules import keras
    from .baselines.scores import BaselineScores
    from .data.batching import BucketedBatches
    from .data.images import ImageResizer
    from .data.source import Source
    from .metrics.bootstrap import ScoreParts
    from .models.image_captioner import ImageCaptioner

BLEU = base.Headline("bleu_4", True, "sacreBLEU of 1- to 4-grams, lowercased, 0 to 100")
SMALLEST_SIZE, LARGEST_SIZE = 16, 112  # height and width of images, in pixels, by default
PHOTO_SETTINGS = {
    "epochs": 20,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "filters": 24,
    "units": 256,
    "embedding_size": 128,
    "layers": 2,
    "attention": "additive",
    "captions_per_image": 2,
    "vocabulary_size": 4000,
    "horizontal_flip": True,
    "random_translation": 8,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "beam_size": 5,
}
THUMBNAIL_SIDE = 16  # pixels per side at which the baseline compares images


class Example(NamedTuple):
    """An image of bytes (height, width, channels), its captions, and their tokens.

    `is_right` tells whether a caption is true and complete; None if that cannot be checked.
    """

    name: str
    image: np.ndarray
    captions: list[str]
    tokens: list[list[int]]
    is_right: Callable[[str], bool] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCaptioningConfig(base.TaskConfig):
    """The settings of an image captioning run.

    Raises:
        UserError: a setting is invalid.
    """

    bidirectional: bool = base.setting(False, "Not supported: the decoder is autoregressive.")
    encoder: str | None = base.setting(
        None,
        "Pretrained model of keras.applications that encodes the image. "
        "Default: convolutions trained from scratch.",
    )
    attention: Literal["none", "dot", "additive"] = base.setting(
        "dot", "Attention of the decoder to the image."
    )
    layers: int = base.setting(
        1, "Number of recurrent layers of the decoder.", at_least=1, at_most=100
    )
    embedding_size: int = base.setting(64, "Size of the token embeddings.", at_least=1)
    filters: int = base.setting(
        16,
        "Filters of the first convolutional block; each block doubles them, up to 8x.",
        at_least=1,
    )
    feature_size: int = base.setting(256, "Size of the feature vector of an image.", at_least=1)
    dropout: float = base.setting(
        0.0,
        "Dropout rate for the feature vector, embeddings, between layers and for the readout.",
        at_least=0,
        below=1,
    )
    tokens: TokenSetting = base.setting(
        "auto",
        "What captions are split into; auto chooses words or characters to suit them.",
    )
    vocabulary_size: int = base.setting(
        10_000, "Maximum size of a vocabulary of words or byte pairs.", at_least=1
    )
    captions_per_image: int | None = base.setting(
        None,
        "Captions per image in a training step, drawn again every epoch. Default: all.",
        at_least=1,
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
    beam_size: int = base.setting(1, "Beams of the beam search; 1 decodes greedily.", at_least=1)
    length_penalty: float = base.setting(
        1.0, "Exponent of the length penalty of the beam search; 0 turns it off.", at_least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bidirectional:
            raise UserError(
                "--bidirectional is not supported in image_captioning: the decoder is "
                "autoregressive, so it cannot read the words that follow."
            )


def _read_scenes(config: ImageCaptioningConfig) -> "Source":
    from .data.sources import scenes

    return scenes.read_scenes()


def _read_flickr8k(config: ImageCaptioningConfig) -> "Source":
    from .data import store
    from .data.sources.flickr8k import flickr8k_dataset_builder as builder

    return store.load_source(builder.Builder, config)


def _read_tfds(config: ImageCaptioningConfig) -> "Source":
    from .data.sources import public

    return public.read_public_dataset(config, image=public.IMAGE, captions=public.CAPTIONS)


def _read_files(config: ImageCaptioningConfig) -> "Source":
    from .data.files import images

    return images.read_image_captions(config.dataset)


class ImageCaptioningTask(base.Task):
    """Image captioning: convolutions, and a decoder that attends to their feature map."""

    topology = base.Topology.ONE_TO_MANY
    summary = "describe an image in a sentence"
    accuracy_name = "token_accuracy"
    default_dataset = "scenes"
    preprocessors: ClassVar[Mapping[str, Callable[[str], Any]]] = {"caption": Vocabulary.from_json}
    Config = ImageCaptioningConfig
    config: ImageCaptioningConfig
    datasets: ClassVar[Mapping[str, base.DatasetSpec]] = {
        "scenes": base.DatasetSpec(
            usage="scenes",
            description="rendered coloured shapes, five captions each; tests unseen combinations",
            settings={
                "attention": "additive",
                "layers": 2,
                "captions_per_image": 1,
                "epochs": 6,
                "batch_size": 32,
                "learning_rate": 4e-3,
                "tokens": "words",
            },
            headline=base.Headline(
                "exact_meaning", True, "fraction of test captions that are true and complete"
            ),
            read_source=_read_scenes,
        ),
        "flickr8k": base.DatasetSpec(
            usage="flickr8k",
            description="8,000 photos, five captions each",
            settings={**PHOTO_SETTINGS, "image_size": LARGEST_SIZE, "tokens": "words"},
            headline=BLEU,
            read_source=_read_flickr8k,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with images and captions: coco_captions, ...",
            settings=PHOTO_SETTINGS,
            headline=BLEU,
            read_source=_read_tfds,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of images and captions.csv with columns image,caption",
            settings=PHOTO_SETTINGS,
            headline=BLEU,
            read_source=_read_files,
        ),
    }

    def load_data(self) -> base.Data:
        from .data.images import ImageResizer
        from .data.source import CACHE_BYTES, LazyExamples

        source, config = _merge_images(self.load_source()), self.config
        captions = {
            name: [caption for row in rows for caption in row["captions"]]
            for name, rows in source.splits.items()
        }
        unit, reason = choose_token_unit(config.tokens, captions["train"])
        vocabulary = build_vocabulary(unit, captions["train"], config.vocabulary_size)
        tokens = {name: vocabulary.encode(texts) for name, texts in captions.items()}
        unknown = unknown_shares(vocabulary, tokens)
        source = source.warn(unknown_warnings(unknown, unit))
        # Pretrained encoders were trained on large images.
        least = LARGEST_SIZE if config.encoder else SMALLEST_SIZE
        resize = ImageResizer.for_source(source, config.image_size, least=least, most=LARGEST_SIZE)
        make_example = functools.partial(_make_example, resize, vocabulary)
        splits = {
            name: LazyExamples(
                range(len(rows)), functools.partial(make_example, rows, name), CACHE_BYTES
            )
            for name, rows in source.splits.items()
        }
        image_shape = splits["train"][0].image.shape  # all other images must have this shape
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors={"caption": vocabulary},
            notes={
                **source.notes,
                "image_shape": list(image_shape),
                "longest_caption": _longest_caption(source.all_rows("train"), vocabulary),
                "tokens": unit,
                "tokens_chosen": reason,
                "vocabulary": describe_vocabulary(vocabulary),
                "unknown_tokens": unknown,
            },
        )

    def build_model(self, data: base.Data) -> "ImageCaptioner":
        from .models.image_captioner import ImageCaptioner

        config = self.config
        return ImageCaptioner(
            cell=config.cell,
            image_shape=tuple(data.notes["image_shape"]),
            vocabulary_size=len(data.preprocessors["caption"]),
            units=config.units,
            depth=config.layers,
            attention=config.attention,
            embedding_size=config.embedding_size,
            filters=config.filters,
            feature_size=config.feature_size,
            pretrained=config.encoder,
            download=bool(data.splits),  # without splits, a saved model is being rebuilt
            dropout=config.dropout,
        )

    def batches(
        self, examples: Sequence[Example], data: base.Data, *, training: bool
    ) -> "BucketedBatches":
        from .data.batching import BucketedBatches
        from .data.images import augment_images

        caption_count = max(len(example.tokens) for example in examples)
        if training and self.config.captions_per_image:
            caption_count = min(caption_count, self.config.captions_per_image)

        def collate(
            indices: np.ndarray, pad: Callable[..., np.ndarray], random: np.random.Generator
        ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
            batch = [examples[index] for index in indices]
            images = np.stack([example.image for example in batch])
            if training:
                images = augment_images(
                    images,
                    random,
                    random_translation=self.config.random_translation,
                    horizontal_flip=self.config.horizontal_flip,
                )
            captions = [example.tokens for example in batch]
            longest = 1 + max(len(tokens) for group in captions for tokens in group)
            if training:
                captions = [_draw_captions(group, caption_count, random) for group in captions]
            previous, following = [], []
            for group in captions:
                missing = [[]] * (caption_count - len(group))
                previous += [[START, *tokens] for tokens in group] + missing
                following += [[*tokens, END] for tokens in group] + missing
            shape = (len(batch), caption_count, -1)
            previous, following = (
                pad(rows, PAD, min_length=longest).reshape(shape) for rows in (previous, following)
            )
            weights = (following != PAD).astype("float32")
            return {"image": images, "previous": previous}, following, weights

        return BucketedBatches(
            [max(map(len, example.tokens)) for example in examples],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model: "ImageCaptioner", split: str, data: base.Data) -> base.Evaluation:
        from .metrics.captions import caption_signatures
        from .models.encoder_decoder import evaluate_teacher_forced

        batches = self.batches(data.splits[split], data, training=False)
        teacher_forced = evaluate_teacher_forced(model, batches)
        metrics, examples = self._evaluate_captions(model, split, data)
        metrics |= teacher_forced
        for extra_split in set(data.splits) - set(SPLITS):
            extra_metrics, extra_examples = self._evaluate_captions(model, extra_split, data)
            metrics |= {f"{extra_split}/{name}": value for name, value in extra_metrics.items()}
            examples += extra_examples
        references = [example.captions for example in data.splits[split]]
        return base.Evaluation(metrics, examples, caption_signatures(references))

    def _evaluate_captions(
        self, model: "ImageCaptioner", split: str, data: base.Data
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Returns the metrics and rows of free-running captions for a split."""
        examples = data.splits[split]
        beams = self._generate(
            model, data, len(examples), lambda index: examples[index].image, self.config.beam_size
        )
        outputs = [data.preprocessors["caption"].decode(tokens)[0] for tokens in beams]
        rows = [
            {
                "source": example.name,
                "output": output,
                "target": example.captions[0],
                "right": _is_right(output, example),
                "references": example.captions,
                "split": split,
            }
            for example, output in zip(examples, outputs, strict=True)
        ]
        return self._scores(outputs, examples), rows

    def _scores(self, outputs: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        from .metrics.captions import caption_scores

        metrics = caption_scores(outputs, [example.captions for example in examples])
        if examples[0].is_right is not None:
            right = [_is_right(*pair) for pair in zip(outputs, examples, strict=True)]
            metrics["exact_meaning"] = sum(right) / len(right)
        return metrics

    def _generate(
        self,
        model: "ImageCaptioner",
        data: base.Data,
        count: int,
        get_image: Callable[[int], np.ndarray],
        beam_size: int,
    ) -> list[np.ndarray]:
        """Returns tokens (beam_size, time) for each of `count` images, the best beam first."""
        from .data.batching import Batches
        from .models.encoder_decoder import generate

        batches = Batches(
            count,
            lambda indices, _: (np.stack([get_image(index) for index in indices]),),
            batch_size=self.config.batch_size,
        )
        return generate(
            model,
            batches,
            longest=data.notes["longest_caption"],
            beam_size=beam_size,
            length_penalty=self.config.length_penalty,
        )

    def baseline(self, data: base.Data) -> "BaselineScores":
        from .baselines.scores import BaselineScores, example_rows

        train, test = data.splits["train"], data.splits["test"]
        outputs = {
            "most frequent caption": lambda: [_most_frequent_caption(train)] * len(test),
            "caption of the nearest image": lambda: _nearest_captions(train, test),
        }
        return BaselineScores(
            outputs,
            lambda captions: self._scores(captions, test),
            lambda: example_rows(
                {"train": train, "test": test},
                ("name", "tokens"),
                checks_meaning=test[0].is_right is not None,
            ),
        )

    def score_parts(self, examples: Sequence[Mapping[str, Any]], data: base.Data) -> "ScoreParts":
        from .metrics.bootstrap import bleu_parts
        from .metrics.captions import caption_bleu, normalize_caption

        if self.dataset_spec.headline is not BLEU:
            return super().score_parts(examples, data)
        outputs = [normalize_caption(example["output"]) for example in examples]
        references = [
            [normalize_caption(caption) for caption in example["references"]]
            for example in examples
        ]
        return bleu_parts(caption_bleu(4), outputs, references)

    def predict(
        self, model: "ImageCaptioner", raw_inputs: Sequence[Any], data: base.Data
    ) -> list[str]:
        """Returns a caption for each image.

        Args:
            raw_inputs: images as arrays of bytes (height, width, channels), or their paths.
        """
        best = self.n_best(model, raw_inputs, data, beam_size=self.config.beam_size)
        return [captions[0] for captions in best]

    def n_best(
        self, model: "ImageCaptioner", raw_inputs: Sequence[Any], data: base.Data, *, beam_size: int
    ) -> list[list[str]]:
        """Returns `beam_size` captions for each image, the best first."""
        images = self._load_images(raw_inputs, data)
        beams = self._generate(model, data, len(images), images.__getitem__, beam_size)
        return [data.preprocessors["caption"].decode(tokens) for tokens in beams]

    def _load_images(self, raw_inputs: Sequence[Any], data: base.Data) -> list[np.ndarray]:
        from .data.images import ImageResizer, image_names

        resize = ImageResizer(data.notes["image_shape"][:2], data.notes["image_shape"])
        named_images = zip(image_names(raw_inputs), raw_inputs, strict=True)
        return [resize(image, name) for name, image in named_images]

    def raw_input(self, example: Example) -> np.ndarray:
        return example.image

    def explain(
        self, model: "ImageCaptioner", raw_inputs: Sequence[Any], data: base.Data
    ) -> list[dict[str, Any]]:
        from .models import explanations

        vocabulary, images = data.preprocessors["caption"], self._load_images(raw_inputs, data)
        beam_size = self.config.beam_size
        beams = self._generate(model, data, len(images), images.__getitem__, beam_size)
        explained = []
        for image, tokens in zip(images, beams, strict=True):
            best = explanations.cut_after_end(tokens[0])
            explanation = {
                "output": vocabulary.decode([best])[0],
                "image": explanations.encode_png(image),
                "written": vocabulary.token_texts(best),
            }
            weights = explanations.attention_weights(model, image, best)
            if weights is not None:
                grid = list(model.position_embedding.grid)
                explanation |= {"attention": weights, "grid": grid}
            explained.append(explanation)
        return explained


def _longest_caption(rows: Sequence[Mapping[str, Any]], vocabulary: Vocabulary) -> int:
    """Returns the number of tokens of the longest caption."""
    return max(len(tokens) for row in rows for tokens in vocabulary.encode(row["captions"]))


def _merge_images(source: "Source") -> "Source":
    """Returns a source with duplicate test images merged, each with all its captions."""
    merged: dict[str, dict[str, Any]] = {}
    test = source.splits["test"]
    if not all(
        "key" in row for row in test[:1]
    ):  # only the user's files have a hash of their content
        return source
    for row in test:
        first = merged.setdefault(row["key"], {**row, "captions": []})
        first["captions"] += [c for c in row["captions"] if c not in first["captions"]]
    splits = {**source.splits, "test": list(merged.values())}
    return dataclasses.replace(source, splits=splits)


def _make_example(
    resize: "ImageResizer",
    vocabulary: Vocabulary,
    rows: Sequence[Mapping[str, Any]],
    split: str,
    index: int,
) -> Example:
    row = rows[index]
    name, captions = row.get("name") or f"{split} {index}", list(row["captions"])
    image, tokens = resize(row["image"], name), vocabulary.encode(captions)
    return Example(name, image, captions, tokens, row.get("is_right"))


def _draw_captions(
    captions: list[list[int]], count: int, random: np.random.Generator
) -> list[list[int]]:
    """Returns at most `count` of the captions, drawn without replacement."""
    chosen = random.permutation(len(captions))[:count]
    return [captions[index] for index in chosen]


def _is_right(output: str, example: Example) -> bool:
    """Whether a caption is true and complete or, if that cannot be checked, one of the references.

    The comparison with the references ignores case and punctuation.
    """
    from .metrics.captions import caption_words

    if example.is_right is not None:
        return example.is_right(output)
    return caption_words(output) in map(caption_words, example.captions)


def _most_frequent_caption(train: Sequence[Example]) -> str:
    counts = collections.Counter(caption for example in train for caption in example.captions)
    return counts.most_common(1)[0][0]


def _nearest_captions(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """Returns, for each test image, the first caption of the nearest training image.

    Images are resized to 16 x 16 pixels and compared by Euclidean distance. Memory is bounded: a
    thumbnail takes 3 kB, and scikit-learn computes distances in blocks.
    """
    from sklearn.neighbors import NearestNeighbors

    train_pixels, test_pixels = (
        np.stack([_thumbnail(example.image) for example in split]) for split in (train, test)
    )
    neighbors = NearestNeighbors(n_neighbors=1).fit(train_pixels)
    nearest = neighbors.kneighbors(test_pixels, return_distance=False)
    return [train[int(index)].captions[0] for index in nearest[:, 0]]


def _thumbnail(image: np.ndarray) -> np.ndarray:
    from .data.images import ImageResizer

    return ImageResizer(THUMBNAIL_SIDE)(image, "").astype("float32").ravel()
