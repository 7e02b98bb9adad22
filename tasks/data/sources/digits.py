"""`digits`: handwritten digits of 8 x 8 pixels, as scikit-learn holds them.

1,797 digits by 13 people, 16 shades of grey (Alpaydin and Kaynak, 1998, "Optical recognition of
handwritten digits", UCI machine learning repository, CC BY 4.0). There is no official split; by a
hash of the image, so that no image is in two.
"""

import functools

import numpy as np

from .. import splits
from ..source import Source, content_hash

SHARES = {"test": 0.2, "validation": 0.1}


@functools.cache
def digits() -> list[dict]:
    """Returns `{"image", "label"}`, images (8, 8, 1) of bytes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype("uint8")[..., np.newaxis]
    return [
        {"image": image, "label": int(label)}
        for image, label in zip(images, found.target, strict=True)
    ]


def read(config) -> Source:
    """Returns the digits in splits."""
    rows = splits.by_group(digits(), lambda row: row["image"].tobytes().hex(), SHARES)
    return Source(
        name="digits (scikit-learn)",
        sha256=content_hash(rows),
        splits=rows,
        classes=[str(digit) for digit in range(10)],
        notes={"split": "by a hash of the image, 70, 10 and 20 percent"},
    )
