"""What a model did with an input, as plain data to be drawn."""

import base64
import io

import keras
import numpy as np

from ..data import vocabulary


def png(image: np.ndarray) -> str:
    """Returns an image of bytes (height, width, channels) as a PNG file, in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def rounded(values) -> list:
    """Returns numbers with four places, as nested lists."""
    return np.round(np.asarray(values, "float64"), 4).tolist()


def leading(probabilities: np.ndarray, count: int) -> list[int]:
    """Returns the classes that are most probable at the last step, the most probable first.

    Args:
        probabilities: (steps, classes).
        count: classes at most.
    """
    return [int(index) for index in probabilities[-1].argsort()[::-1][:count]]


def until_end(tokens) -> list[int]:
    """Returns the tokens up to the end token, and this one with them."""
    tokens = [int(token) for token in tokens if token != vocabulary.PAD]
    return tokens[: tokens.index(vocabulary.END) + 1] if vocabulary.END in tokens else tokens


def attention(model, source: np.ndarray, written: list[int]) -> list | None:
    """Returns where a writing model looked for each token, (tokens, source); None if it cannot.

    Args:
        model: with `encode(source)` and a `decoder`.
        source: one input, without the batch axis.
        written: what it wrote, the end included.
    """
    if model.decoder.attention is None or not written:
        return None
    previous = np.array([[vocabulary.START, *written[:-1]]], "int32")
    start = model.encode(source[np.newaxis])
    _, weights = model.decoder(previous, **start, return_weights=True)
    return rounded(keras.ops.convert_to_numpy(weights)[0])
