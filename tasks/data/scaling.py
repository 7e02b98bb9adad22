"""Standardization of feature vectors to zero mean and unit variance."""

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import UserError


class Scaler:
    """Subtracts the mean of each feature and divides by its standard deviation.

    Args:
        mean, deviation: (features,). Empty arrays make a scaler that changes nothing.
    """

    def __init__(self, mean: npt.ArrayLike = (), deviation: npt.ArrayLike = ()):
        self.mean, self.deviation = np.asarray(mean, "float32"), np.asarray(deviation, "float32")

    @classmethod
    def fit(cls, clips: Sequence[np.ndarray]) -> "Scaler":
        """Returns a scaler fitted to the frames of all clips, each (time, features)."""
        frames = np.concatenate(clips)
        deviation = frames.std(axis=0)
        return cls(frames.mean(axis=0), np.where(deviation > 0, deviation, 1.0))

    def __call__(self, clip: np.ndarray) -> np.ndarray:
        """Returns the clip (time, features), standardized."""
        if not self.mean.size:
            return clip
        return ((clip - self.mean) / self.deviation).astype("float32")

    def to_json(self) -> str:
        """Returns the scaler as JSON, for `from_json`."""
        return json.dumps({"mean": self.mean.tolist(), "deviation": self.deviation.tolist()})

    @classmethod
    def from_json(cls, text: str) -> "Scaler":
        """Returns the scaler that `to_json` wrote.

        Raises:
            UserError: the text is not a valid scaler.
        """
        try:
            fields = json.loads(text)
            scaler = cls(fields["mean"], fields["deviation"])
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                "This is not a scaler: expected a JSON object with the lists of numbers mean and "
                "deviation."
            ) from error
        if scaler.mean.ndim != 1 or scaler.mean.shape != scaler.deviation.shape:
            raise UserError(
                "This is not a scaler: expected one mean and one deviation per feature, got "
                f"shapes {scaler.mean.shape} and {scaler.deviation.shape}."
            )
        return scaler
