"""Standardization of feature vectors to zero mean and unit variance."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import UserError

# Squares of scaled features must fit into float32, or the gradients overflow.
LARGEST = float(np.sqrt(np.finfo("float32").max))
# A feature whose relative variation is at most this varies only by rounding errors.
CONSTANT = 8 * float(np.finfo("float64").eps)


class Scaler:
    """Subtracts the mean of each feature and divides by its standard deviation.

    It computes in float64 and casts to float32 at the end, so that features near 1e-25 or 1e30, or
    near 1e8 with small changes, are scaled as precisely as those near 1.

    Args:
        mean, deviation: (features,). Empty arrays make a scaler that changes nothing.
    """

    def __init__(self, mean: npt.ArrayLike = (), deviation: npt.ArrayLike = ()):
        self.mean, self.deviation = np.asarray(mean, "float64"), np.asarray(deviation, "float64")

    @classmethod
    def fit(cls, clips: Sequence[np.ndarray]) -> "Scaler":
        """Returns a scaler fitted to the frames of all clips, each (time, features).

        Features that are constant get a deviation of 1.
        """
        frames = np.concatenate(clips).astype("float64")
        low, high = frames.min(axis=0), frames.max(axis=0)
        peak = np.maximum(np.abs(low), np.abs(high))
        is_constant = high / 2 - low / 2 <= CONSTANT / 2 * peak
        # Divided by the peak, squares neither overflow nor underflow.
        frames /= np.where(peak > 0, peak, 1.0)
        mean, deviation = frames.mean(axis=0) * peak, frames.std(axis=0) * peak
        is_constant |= deviation == 0
        return cls(np.where(is_constant, low, mean), np.where(is_constant, 1.0, deviation))

    def __call__(
        self, clip: np.ndarray, describe: Callable[[int, int], str] | None = None
    ) -> np.ndarray:
        """Returns the clip (time, features), standardized, as float32.

        Args:
            clip: the frames.
            describe: `(frame, feature) -> str`, the name of a value in the error message, both
                counted from 0.

        Raises:
            UserError: a value is NaN, or so far from the training data that it overflows float32.
        """
        if not self.mean.size:
            return clip
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (np.asarray(clip, "float64") - self.mean) / self.deviation
        wrong = ~(np.abs(scaled) <= LARGEST)  # also where it is not a number
        if wrong.any():
            frame, feature = map(int, np.argwhere(wrong)[0])
            name = (describe or _describe_value)(frame, feature)
            raise UserError(
                f"{name} is {clip[frame][feature]:g}, but must be a number in the range of the "
                f"training data, which has mean {self.mean[feature]:g} and standard deviation "
                f"{self.deviation[feature]:g}. Correct it, or remove the frame."
            )
        return scaled.astype("float32")

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
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise UserError(
                "This is not a scaler: expected a JSON object with the lists of numbers mean and "
                "deviation."
            ) from error
        if scaler.mean.ndim != 1 or scaler.mean.shape != scaler.deviation.shape:
            raise UserError(
                "This is not a scaler: expected one mean and one deviation per feature, got "
                f"shapes {scaler.mean.shape} and {scaler.deviation.shape}."
            )
        is_finite = np.isfinite(scaler.mean) & np.isfinite(scaler.deviation)
        if not (is_finite & (scaler.deviation > 0)).all():
            raise UserError(
                "This is not a scaler: expected finite means and positive deviations, got "
                f"{scaler.mean.tolist()} and {scaler.deviation.tolist()}."
            )
        return scaler


def _describe_value(frame: int, feature: int) -> str:
    return f"Frame {frame + 1}, feature {feature + 1}"
