"""How a model arrived at an output, as plain data to plot: helpers for `Task.explain`."""

import base64
import io
from typing import Any

import keras
import numpy as np

from ..data import vocabulary
from .encoder_decoder import GenerativeModel


def encode_png(image: np.ndarray) -> str:
    """Returns an image of bytes (height, width, channels) as a PNG file, in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def round_values(values: Any) -> list:
    """Returns numbers rounded to four decimal places, as nested lists."""
    return np.round(np.asarray(values, "float64"), 4).tolist()


def top_classes(probabilities: np.ndarray, count: int) -> list[int]:
    """Returns the most probable classes at the last step, the most probable first.

    Args:
        probabilities: (steps, classes).
        count: maximum number of classes.
    """
    return [int(index) for index in probabilities[-1].argsort()[::-1][:count]]


def cut_after_end(tokens: np.ndarray) -> list[int]:
    """Returns the tokens up to and including the end token, without padding."""
    kept = [int(token) for token in tokens if token != vocabulary.PAD]
    return kept[: kept.index(vocabulary.END) + 1] if vocabulary.END in kept else kept


def attention_weights(
    model: GenerativeModel, source: np.ndarray, written: list[int]
) -> list[list[float]] | None:
    """Returns the attention of each generated token, (tokens, source), or None without attention.

    Args:
        model: the trained model.
        source: one input, without the batch axis.
        written: the tokens that the model generated, including the end token.
    """
    if model.decoder.attention is None or not written:
        return None
    previous = np.array([[vocabulary.START, *written[:-1]]], "int32")
    encoded = model.encode(source[np.newaxis])
    _, weights = model.decoder(previous, **encoded, return_weights=True)
    return round_values(keras.ops.convert_to_numpy(weights))[0]
