"""Scores of per-step labels by segments, where a segment is a run of steps with the same label.

Following Lea et al., 2017, "Temporal convolutional networks for action segmentation and
detection". A background class counts for frame accuracy and macro F1 like any other class, but
forms no segments: the actions are scored, not the gaps between them.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .. import progress

FrameLabels: TypeAlias = Sequence[int] | np.ndarray  # of one clip
OVERLAPS = (10, 25, 50)  # percent


class Segment(NamedTuple):
    """A run of one label from step `start` to step `end`, which is excluded."""

    label: int
    start: int
    end: int


def find_segments(labels: FrameLabels, background: int | None = None) -> list[Segment]:
    """Returns the runs of equal labels, without those of the background."""
    segments, start = [], 0
    for label, run in itertools.groupby(labels):
        end = start + len(list(run))
        if label != background:
            segments.append(Segment(int(label), start, end))
        start = end
    return segments


def edit_score(predicted: FrameLabels, labels: FrameLabels, background: int | None = None) -> float:
    """Returns how similar two sequences of segments are, 0 to 100, regardless of their durations.

    100 * (1 - Levenshtein distance / number of segments of the longer sequence)
    """
    ours, truth = (
        [segment.label for segment in find_segments(sequence, background)]
        for sequence in (predicted, labels)
    )
    longest = max(len(ours), len(truth))
    return 100.0 * (1 - levenshtein_distance(ours, truth) / longest) if longest else 100.0


def levenshtein_distance(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Returns the least number of insertions, deletions and substitutions between two sequences."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(second, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right)),
            )
    return row[-1]


def match_segments(
    predicted: FrameLabels, labels: FrameLabels, percent: int, background: int | None = None
) -> tuple[int, int, int]:
    """Returns the number of true positive, false positive and false negative segments.

    Each predicted segment is compared with the true segment of the same label that has the highest
    intersection over union (IoU) with it. It is a true positive if the IoU is at least `percent`
    and no earlier segment has matched that true segment.
    """
    ours, truth = find_segments(predicted, background), find_segments(labels, background)
    matched = [False] * len(truth)
    true_positives = 0
    for segment in ours:
        ious = [_iou(segment, other) for other in truth]
        best = max(range(len(truth)), key=ious.__getitem__, default=None)
        if best is not None and ious[best] * 100 >= percent and not matched[best]:
            matched[best] = True
            true_positives += 1
    return true_positives, len(ours) - true_positives, len(truth) - true_positives


def _iou(first: Segment, second: Segment) -> float:
    """Returns the intersection over union of two segments, 0 if their labels differ."""
    if first.label != second.label:
        return 0.0
    intersection = min(first.end, second.end) - max(first.start, second.start)
    return max(intersection, 0) / (max(first.end, second.end) - min(first.start, second.start))


def segment_scores(
    predicted: Sequence[FrameLabels],
    labels: Sequence[FrameLabels],
    background: int | None = None,
) -> dict[str, float]:
    """Returns segment F1 at 10, 25 and 50 % overlap over all clips, and the mean edit score.

    All scores are 0 to 100.

    Args:
        predicted, labels: one sequence of labels per clip.
        background: the label that forms no segments, or None.
    """
    pairs = list(zip(predicted, labels, strict=True))
    scores = {}
    for percent in OVERLAPS:
        with progress.part(f"segment_f1_{percent}"):
            counts = [match_segments(ours, truth, percent, background) for ours, truth in pairs]
        true_positives, false_positives, false_negatives = map(sum, zip(*counts, strict=True))
        total = 2 * true_positives + false_positives + false_negatives
        scores[f"segment_f1_{percent}"] = 200.0 * true_positives / total if total else 100.0
    with progress.part("edit_score"):
        edit_scores = [edit_score(ours, truth, background) for ours, truth in pairs]
    scores["edit_score"] = sum(edit_scores) / len(edit_scores)
    return scores
