"""Feature vectors brought to mean 0 and standard deviation 1."""

import json
from collections.abc import Sequence

import numpy as np

from ..errors import UserError


class Scaler:
    """Takes a mean off and divides by a deviation, feature by feature.

    Args:
        mean, deviation: (features,); empty, and nothing is changed.
    """

    def __init__(self, mean=(), deviation=()):
        self.mean, self.deviation = np.asarray(mean, "float32"), np.asarray(deviation, "float32")

    @classmethod
    def fit(cls, clips: Sequence[np.ndarray]) -> "Scaler":
        """Returns the scaler of the frames of all clips, each (time, features)."""
        frames = np.concatenate(clips)
        deviation = frames.std(axis=0)
        return cls(frames.mean(axis=0), np.where(deviation > 0, deviation, 1.0))

    def __call__(self, clip: np.ndarray) -> np.ndarray:
        if not self.mean.size:
            return clip
        return ((clip - self.mean) / self.deviation).astype("float32")

    def to_json(self) -> str:
        return json.dumps({"mean": self.mean.tolist(), "deviation": self.deviation.tolist()})

    @classmethod
    def from_json(cls, text: str) -> "Scaler":
        """Reads what `to_json` wrote.

        Raises:
            UserError: it is not a scaler.
        """
        try:
            fields = json.loads(text)
            scaler = cls(fields["mean"], fields["deviation"])
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"This is not a scaler: {error}") from error
        if scaler.mean.ndim != 1 or scaler.mean.shape != scaler.deviation.shape:
            raise UserError("This is not a scaler: means and deviations differ in number.")
        return scaler
