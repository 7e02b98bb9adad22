"""One-to-many: an image in, a sentence about it out.

        caption    <start> y1 -> y2 -> y3       decoder: reads what it wrote,
                      |     |     |     |       writes what comes next
                     y1    y2    y3   <end>
                      |     |     |     |
                      '-----'--.--'-----'  attention: a weighted look at every place
                               |
        image                  x           convolution: a vector for each place

The image is seen once. It sets the decoder's first state, and from there on a word follows from
the words before: so many as the decoder finds right, until it writes `<end>`.

Data: `scenes` (default), rendered pictures, see `tasks/datasets/scenes/`; `flickr8k` (Hodosh, Young
and Hockenmaier, 2013; captions CC BY-SA 3.0, images for research only); any set of TensorFlow
Datasets with images and captions, such as `coco_captions`; your own images.

One example by hand, by words (0 pads, 1 starts, 2 ends, 3 is for rare words):

    image      48 x 48 pixels: a large red cross in the middle, a small blue circle below it
    caption    "a large red cross is above a small blue circle"
    previous   what the decoder reads     1 4 14 9 11 7 27 4 19 8 12
    following  what it shall answer       4 14 9 11 7 27 4 19 8 12 2

In training the decoder reads the true caption, one step late (teacher forcing), and all captions
of an image in one step. When it is tested, it reads its own words instead. Every score here is of
such free writing; only the loss and the perplexity are teacher-forced, and say so.

Headline: for scenes exact meaning, the fraction of test images whose caption names all that is
there, and nothing else, and says nothing false (it is parsed and compared with the scene);
otherwise BLEU-4. `unseen/` marks figures of scenes with pairs of colour and shape that never come
together in training. Expect, on two cores,

    python runner.py --task image_captioning                        0.91 to 0.98 in 3 minutes
    python runner.py --task image_captioning --dataset flickr8k     BLEU-4 8.7 in 25 minutes
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from . import base
from .data import vocabulary as text
from .data.splits import SPLITS
from .errors import UserError

BLEU = base.Headline("bleu_4", True, "sacreBLEU of 1- to 4-grams, lowercased, 0 to 100")
PHOTOGRAPHS = {
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
    "image_size": 112,
    "horizontal_flip": True,
    "random_translation": 8,
    "dropout": 0.3,
    "label_smoothing": 0.1,
    "beam_size": 5,
}
SIDE = 16  # pixels a side by which images are compared for the nearest


class Example(NamedTuple):
    """An image of bytes (height, width, channels), its captions, and their tokens."""

    name: str
    image: np.ndarray
    captions: list[str]
    tokens: list[list[int]]
    is_right: Callable[[str], bool] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCaptioningConfig(base.TaskConfig):
    """The settings of an image captioning run.

    Raises:
        UserError: the settings do not go together.
    """

    bidirectional: bool = base.setting(False, "Not here: a decoder knows no later words.")
    encoder: str | None = base.setting(
        None, "Model of keras.applications to see with, pretrained. Default: trained from scratch."
    )
    attention: Literal["none", "dot", "additive"] = base.setting(
        "dot", "How the decoder looks back at the image."
    )
    layers: int = base.setting(1, "Recurrent layers of the decoder.", at_least=1, at_most=100)
    embedding_size: int = base.setting(64, "Width of a token's vector.", at_least=1)
    filters: int = base.setting(
        16, "Features of the first block of the convolution; further blocks double it.", at_least=1
    )
    feature_size: int = base.setting(256, "Width of the vector of an image.", at_least=1)
    dropout: float = base.setting(
        0.0,
        "Fraction dropped of the image's vector, embeddings, between layers, of the readout.",
        at_least=0,
        below=1,
    )
    tokens: text.TokenUnit = base.setting("words", "What captions are cut into.")
    vocabulary_size: int = base.setting(
        10_000, "Largest vocabulary of words or byte pairs.", at_least=1
    )
    captions_per_image: int | None = base.setting(
        None,
        "Captions of an image to learn in a step, drawn anew each time. Default: all.",
        at_least=1,
    )
    image_size: int | None = base.setting(
        None, "Resize images to this many pixels a side.", at_least=16
    )
    random_translation: int = base.setting(
        0, "Move training images by up to this many pixels.", at_least=0
    )
    horizontal_flip: bool = base.setting(False, "Whether half of the training images are mirrored.")
    beam_size: int = base.setting(1, "Hypotheses of the beam search; 1 is greedy.", at_least=1)
    length_penalty: float = base.setting(
        1.0, "Exponent of the beam search's length penalty; 0 is none.", at_least=0
    )

    def __post_init__(self):
        super().__post_init__()
        if self.bidirectional:
            raise UserError(
                "--bidirectional cannot be had in image_captioning: the recurrence writes, and a "
                "decoder that is to write the next word cannot have read the words after it."
            )


def _scenes(config: ImageCaptioningConfig):
    from .data.sources import scenes

    return scenes.read_scenes()


def _flickr8k(config: ImageCaptioningConfig):
    from .data import store
    from .data.sources.flickr8k import flickr8k_dataset_builder as builder

    return store.load_source(builder.Builder, config)


def _public(config: ImageCaptioningConfig):
    from .data.sources import public

    return public.read_public_dataset(config, image=public.IMAGE, captions=public.CAPTIONS)


def _files(config: ImageCaptioningConfig):
    from .data.files import images

    return images.read_image_captions(config.dataset)


class ImageCaptioningTask(base.Task):
    """Image captioning: a convolution, and a decoder that looks at it."""

    topology = base.Topology.ONE_TO_MANY
    summary = "say what an image shows"
    accuracy_name = "token_accuracy"
    default_dataset = "scenes"
    preprocessors: ClassVar = {"caption": text.Vocabulary.from_json}
    Config = ImageCaptioningConfig
    datasets: ClassVar = {
        "scenes": base.DatasetSpec(
            usage="scenes",
            description="rendered pictures of coloured shapes, five captions each; unseen combinations",
            settings={
                "attention": "additive",
                "layers": 2,
                "captions_per_image": 1,
                "epochs": 6,
                "batch_size": 32,
                "learning_rate": 4e-3,
            },
            headline=base.Headline(
                "exact_meaning", True, "fraction of test captions that are true and complete"
            ),
            read_source=_scenes,
        ),
        "flickr8k": base.DatasetSpec(
            usage="flickr8k",
            description="8,000 photographs with five captions each",
            settings=PHOTOGRAPHS,
            headline=BLEU,
            read_source=_flickr8k,
        ),
        base.TFDS: base.DatasetSpec(
            usage="NAME of a TFDS set",
            description="any with an image and captions: coco_captions, ...",
            settings=PHOTOGRAPHS,
            headline=BLEU,
            read_source=_public,
        ),
        base.FILES: base.DatasetSpec(
            usage="PATH",
            description="a folder of images and captions.csv with image,caption",
            settings=PHOTOGRAPHS,
            headline=BLEU,
            read_source=_files,
        ),
    }

    def load_data(self) -> base.Data:
        from .data import images as pixels
        from .data.source import CACHE_BYTES, LazyExamples

        source, config = self.load_source(), self.config
        captions = [caption for row in source.splits["train"] for caption in row["captions"]]
        vocabulary = text.build_vocabulary(config.tokens, captions, config.vocabulary_size)
        read = functools.partial(_example, pixels.ImageResizer(config.image_size), vocabulary)
        splits = {
            name: LazyExamples(range(len(rows)), functools.partial(read, rows, name), CACHE_BYTES)
            for name, rows in source.splits.items()
        }
        shape = splits["train"][0].image.shape  # which the others have to have, too
        return base.Data(
            name=source.name,
            sha256=source.sha256,
            splits=splits,
            preprocessors={"caption": vocabulary},
            notes={
                **source.notes,
                "image_shape": list(shape),
                "longest_caption": max(map(len, vocabulary.encode(captions))),
                "vocabulary": text.describe_vocabulary(vocabulary),
            },
        )

    def build_model(self, data: base.Data):
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
            download=bool(data.splits),  # rebuilt from a run's folder, its own weights follow
            dropout=config.dropout,
        )

    def batches(self, examples: Sequence[Example], data: base.Data, *, training: bool):
        from .data import batching
        from .data import images as pixels

        most = max(len(example.tokens) for example in examples)
        if training and self.config.captions_per_image:
            most = min(most, self.config.captions_per_image)

        def collate(indices, pad, random):
            chosen = [examples[index] for index in indices]
            images = np.stack([example.image for example in chosen])
            if training:
                images = pixels.augment_images(
                    images,
                    random,
                    random_translation=self.config.random_translation,
                    horizontal_flip=self.config.horizontal_flip,
                )
            captions = [example.tokens for example in chosen]
            longest = 1 + max(len(tokens) for several in captions for tokens in several)
            if training:
                captions = [_drawn(tokens, most, random) for tokens in captions]
            previous, following = [], []
            for several in captions:
                missing = [[]] * (most - len(several))
                previous += [[text.START, *tokens] for tokens in several] + missing
                following += [[*tokens, text.END] for tokens in several] + missing
            shape = (len(chosen), most, -1)
            previous, following = (
                pad(rows, text.PAD, min_length=longest).reshape(shape)
                for rows in (previous, following)
            )
            weights = (following != text.PAD).astype("float32")
            return {"image": images, "previous": previous}, following, weights

        return batching.BucketedBatches(
            [max(map(len, example.tokens)) for example in examples],
            collate,
            batch_size=self.config.batch_size,
            seed=self.config.seed if training else None,
        )

    def evaluate(self, model, split: str, data: base.Data) -> base.Evaluation:
        from .metrics import captions as caption_scores

        forced = model.evaluate(
            self.batches(data.splits[split], data, training=False), verbose=0, return_dict=True
        )
        metrics, examples = self._written(model, split, data)
        metrics["cross_entropy"] = forced["cross_entropy"]
        metrics["perplexity"] = math.exp(min(forced["cross_entropy"], 700))
        metrics["token_accuracy"] = forced["token_accuracy"]
        for other in set(data.splits) - set(SPLITS):
            apart, more = self._written(model, other, data)
            metrics |= {f"{other}/{name}": value for name, value in apart.items()}
            examples += more
        references = [example.captions for example in data.splits[split]]
        return base.Evaluation(metrics, examples, caption_scores.caption_signatures(references))

    def _written(self, model, split: str, data: base.Data) -> tuple[dict, list[dict]]:
        """Returns the scores and the examples of freely written captions of a split."""
        examples = data.splits[split]
        best = self._write(
            model, data, len(examples), lambda index: examples[index].image, self.config.beam_size
        )
        outputs = [data.preprocessors["caption"].decode(beams)[0] for beams in best]
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
        from .metrics import captions as caption_scores

        metrics = caption_scores.caption_scores(outputs, [e.captions for e in examples])
        if examples[0].is_right is not None:
            right = [_is_right(output, e) for output, e in zip(outputs, examples, strict=True)]
            metrics["exact_meaning"] = sum(right) / len(right)
        return metrics

    def _write(self, model, data: base.Data, count: int, image: Callable, beam_size: int) -> list:
        """Returns (beam_size, time) tokens for each image; `image(index)` is one of them."""
        from .data import batching
        from .models import compilation
        from .models.encoder_decoder import Generator

        generator = Generator(
            model,
            max_length=math.ceil(1.1 * data.notes["longest_caption"]) + 1,
            beam_size=beam_size,
            length_penalty=self.config.length_penalty,
        )
        generator.compile(jit_compile=compilation.jit_compile())
        images = batching.Batches(
            count,
            lambda indices, _: (np.stack([image(index) for index in indices]),),
            batch_size=self.config.batch_size,
        )
        return images.restore_order(generator.predict(images, verbose=0))

    def baseline(self, data: base.Data) -> dict[str, dict[str, float]]:
        train, test = data.splits["train"], data.splits["test"]
        counts = collections.Counter(caption for example in train for caption in example.captions)
        frequent = counts.most_common(1)[0][0]
        return {
            "most frequent caption": self._scores([frequent] * len(test), test),
            "caption of the nearest image": self._scores(_nearest(train, test), test),
        }

    def score_parts(self, examples, data: base.Data):
        from .metrics import bootstrap
        from .metrics import captions as caption_scores

        if self.dataset_spec.headline is not BLEU:
            return super().score_parts(examples, data)
        outputs = [caption_scores.normalize_caption(example["output"]) for example in examples]
        references = [
            [caption_scores.normalize_caption(c) for c in e["references"]] for e in examples
        ]
        return bootstrap.bleu_parts(caption_scores.caption_bleu(4), outputs, references)

    def predict(self, model, raw_inputs: Sequence, data: base.Data) -> list[str]:
        """Returns a caption of each image, an array of bytes or a path."""
        best = self.n_best(model, raw_inputs, data, beam_size=self.config.beam_size)
        return [captions[0] for captions in best]

    def n_best(
        self, model, raw_inputs: Sequence, data: base.Data, *, beam_size: int
    ) -> list[list[str]]:
        """Returns `beam_size` captions of each image, best first."""
        images = self._fitted(raw_inputs, data)
        written = self._write(model, data, len(images), images.__getitem__, beam_size)
        return [data.preprocessors["caption"].decode(beams) for beams in written]

    def _fitted(self, raw_inputs: Sequence, data: base.Data) -> list[np.ndarray]:
        from .data import images as pixels

        fit = pixels.ImageResizer(self.config.image_size, data.notes["image_shape"])
        pairs = zip(raw_inputs, pixels.image_names(raw_inputs), strict=True)
        return [fit(image, name) for image, name in pairs]

    def raw_input(self, example: Example) -> np.ndarray:
        return example.image

    def explain(self, model, raw_inputs: Sequence, data: base.Data) -> list[dict]:
        from .models import explanations

        vocabulary, images = data.preprocessors["caption"], self._fitted(raw_inputs, data)
        found = []
        beam_size = self.config.beam_size
        written = self._write(model, data, len(images), images.__getitem__, beam_size)
        for image, beams in zip(images, written, strict=True):
            best = explanations.cut_after_end(beams[0])
            one = {
                "output": vocabulary.decode([best])[0],
                "image": explanations.encode_png(image),
                "written": vocabulary.token_texts(best),
            }
            weights = explanations.attention_weights(model, image, best)
            if weights is not None:
                one |= {"attention": weights, "grid": list(model.position_embedding.grid)}
            found.append(one)
        return found


def _example(fit, vocabulary, rows, split: str, index: int) -> Example:
    row = rows[index]
    name, captions = row.get("name") or f"{split} {index}", list(row["captions"])
    return Example(
        name, fit(row["image"], name), captions, vocabulary.encode(captions), row.get("is_right")
    )


def _drawn(captions: list, count: int, random: np.random.Generator) -> list:
    """Returns so many of the captions at most, drawn without putting back."""
    chosen = random.permutation(len(captions))[:count]
    return [captions[index] for index in chosen]


def _is_right(output: str, example: Example) -> bool:
    """Whether a caption is true and complete or, where nobody can tell, one of the references."""
    from .metrics.captions import caption_words

    if example.is_right is not None:
        return example.is_right(output)
    return caption_words(output) in map(caption_words, example.captions)


def _nearest(train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """Returns for each test image the first caption of the training image nearest by its pixels.

    Images are thinned out to 16 pixels a side; the distance is Euclid's.
    """
    from sklearn.neighbors import NearestNeighbors

    known, asked = (np.stack([_thinned(e.image) for e in split]) for split in (train, test))
    found = NearestNeighbors(n_neighbors=1).fit(known).kneighbors(asked, return_distance=False)
    return [train[int(index)].captions[0] for index in found[:, 0]]


def _thinned(image: np.ndarray) -> np.ndarray:
    from .data.images import ImageResizer

    return ImageResizer(SIDE)(image, "").astype("float32").ravel()
