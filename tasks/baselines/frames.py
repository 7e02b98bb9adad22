"""Classical baselines that label every frame of a clip."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

COMPONENTS = 24  # principal components per image
WINDOW_REACH = (1, 2, 4, 8)  # distances, in frames, of the neighbours that a window contains
MAX_FRAMES = 20_000  # training frames: more take minutes and change little


def majority_frame_labels(
    train: Sequence[np.ndarray], test: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Returns the most frequent training label for every frame.

    Args:
        train: labels (time,) of each training clip.
        test: labels of each test clip; only their lengths are used.
    """
    majority = np.bincount(np.concatenate(train)).argmax()
    return [np.full(len(labels), majority) for labels in test]


class FrameBoosting:
    """Gradient boosting on the features of a frame or of a window of frames around it.

    Images are first reduced to their principal components. Clips are read one at a time: only one
    clip and the frames that the model is fitted to, at most `MAX_FRAMES`, are in memory.

    Args:
        offsets: frames of the window relative to the labelled frame; (0,) is that frame alone.
        seed: seed for sampling training frames, for the reduction and for the boosting.
    """

    def __init__(self, offsets: Sequence[int], seed: int = 0):
        self.offsets, self.seed = tuple(offsets), seed
        self.reduction: Any = None
        self.model: Any = None

    def fit(self, clips: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> "FrameBoosting":
        """Fits the model and returns it.

        Args:
            clips: (time, features) or (time, height, width, channels) of each clip.
            labels: (time,) of each clip.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        random = np.random.default_rng(self.seed)
        targets = np.concatenate(labels)
        if clips[0].ndim > 2:
            chosen = random.permutation(len(targets))[:MAX_FRAMES]
            self._fit_reduction(_take_frames(clips, labels, chosen, np.asarray))
        chosen = random.permutation(len(targets))[:MAX_FRAMES]
        rows = _take_frames(clips, labels, chosen, self._windows)
        # scikit-learn has no type hints: pyright takes them from the defaults.
        self.model = HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=15,
            early_stopping=False,  # pyright: ignore[reportArgumentType]
            random_state=self.seed,
        ).fit(rows, targets[chosen])
        return self

    def predict(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the labels (time,) of each clip."""
        return [self.model.predict(self._windows(clip)) for clip in clips]

    def _fit_reduction(self, frames: np.ndarray) -> None:
        from sklearn.decomposition import PCA

        flat = frames.reshape(len(frames), -1).astype("float32")
        count = min(COMPONENTS, *flat.shape)
        self.reduction = PCA(count, random_state=self.seed).fit(flat)

    def _windows(self, clip: np.ndarray) -> np.ndarray:
        """Returns (time, features): each frame joined with the frames at the offsets from it."""
        flat = clip.reshape(len(clip), -1)
        if self.reduction is not None:
            flat = self.reduction.transform(flat.astype("float32"))
        times = np.arange(len(flat))
        # Beyond its ends, a clip is padded with its first and last frame.
        indices = [np.clip(times + offset, 0, len(flat) - 1) for offset in self.offsets]
        return np.concatenate([flat[index] for index in indices], axis=1)


def _take_frames(
    clips: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
    chosen: np.ndarray,
    transform: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Returns the chosen frames, with only one clip in memory at a time.

    Args:
        clips: the frames of each clip.
        labels: the labels of each clip; only their lengths are used.
        chosen: positions among the frames of all clips, in the order to return.
        transform: `(clip) -> rows`, one row per frame.
    """
    lengths = [len(clip_labels) for clip_labels in labels]
    clip_of = np.repeat(np.arange(len(lengths)), lengths)[chosen]
    frame_of = np.concatenate([np.arange(length) for length in lengths])[chosen]
    frames = np.empty(0)
    for index in np.unique(clip_of):
        here = clip_of == index
        rows = transform(clips[index])[frame_of[here]]
        if not frames.size:
            frames = np.empty((len(chosen), *rows.shape[1:]), rows.dtype)
        frames[here] = rows
    return frames
