"""`digits`: the handwritten digits of 8 x 8 pixels that come with scikit-learn.

1,797 digits by 13 people, 16 shades of grey (Alpaydin and Kaynak, 1998, "Optical recognition of
handwritten digits", UCI machine learning repository, CC BY 4.0). There is no official split; we
split by a hash of the image, so that no image is in two splits.
"""

import functools
from typing import Any

import numpy as np

from .. import splits
from ..source import Source, content_hash

FRACTIONS = {"test": 0.2, "validation": 0.1}


@functools.cache
def load_digit_examples() -> list[dict[str, Any]]:
    """Returns `{"image", "label"}` for each digit, with uint8 images (8, 8, 1)."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype("uint8")[..., np.newaxis]
    return [
        {"image": image, "label": int(label)}
        for image, label in zip(images, bunch.target, strict=True)
    ]


def read_digits() -> Source:
    """Returns the digits in splits."""
    rows = splits.split_by_group(
        load_digit_examples(), lambda row: row["image"].tobytes().hex(), FRACTIONS
    )
    return Source(
        name="digits (scikit-learn)",
        sha256=content_hash(rows),
        splits=rows,
        classes=[str(digit) for digit in range(10)],
        notes={"split": "70/10/20 percent, by a hash of the image"},
    )
