"""Classical opponents of a recurrent network that labels every frame."""

from collections.abc import Sequence

import numpy as np

COMPONENTS = 24  # principal components of an image
REACH = (1, 2, 4, 8)  # how far from the frame the window looks, in frames
ROWS = 20_000  # training frames, at most: more take minutes and change little


def majority(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns the most frequent training label for every frame.

    Args:
        train: labels (time,) of each training clip.
        test: labels of each test clip, of which the lengths alone are used.
    """
    most = np.bincount(np.concatenate(train)).argmax()
    return [np.full(len(labels), most) for labels in test]


class FrameBoosting:
    """Gradient boosting on the features of a frame and, with a window, of frames near it.

    Images are first turned into their principal components.

    Args:
        offsets: frames of the window, relative to the one that is labelled; (0,) sees one frame.
        seed: of the choice of training frames.
    """

    def __init__(self, offsets: Sequence[int], seed: int = 0):
        self.offsets, self.seed = tuple(offsets), seed
        self.reduction = None

    def fit(self, clips: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> "FrameBoosting":
        from sklearn.ensemble import HistGradientBoostingClassifier

        random = np.random.default_rng(self.seed)
        if clips[0].ndim > 2:
            self._fit_reduction(np.concatenate(clips), random)
        rows = np.concatenate([self._windows(clip) for clip in clips])
        targets = np.concatenate(labels)
        chosen = random.permutation(len(rows))[:ROWS]
        self.model = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=self.seed
        ).fit(rows[chosen], targets[chosen])
        return self

    def predict(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns the label of every frame of each clip."""
        ends = np.cumsum([len(clip) for clip in clips])[:-1]
        rows = np.concatenate([self._windows(clip) for clip in clips])
        return np.split(self.model.predict(rows), ends)

    def _fit_reduction(self, frames, random):
        from sklearn.decomposition import PCA

        chosen = frames[random.permutation(len(frames))[:ROWS]]
        flat = chosen.reshape(len(chosen), -1).astype("float32")
        count = min(COMPONENTS, *flat.shape)
        self.reduction = PCA(count, random_state=self.seed).fit(flat)

    def _windows(self, clip):
        """Returns (time, features): each frame with the frames at the offsets from it."""
        flat = clip.reshape(len(clip), -1).astype("float32")
        if self.reduction is not None:
            flat = self.reduction.transform(flat)
        times = np.arange(len(flat))
        # Beyond its ends a clip goes on with its first or last frame.
        looks = [np.clip(times + offset, 0, len(flat) - 1) for offset in self.offsets]
        return np.concatenate([flat[look] for look in looks], axis=1)
