"""Scores of a label for every step, where a segment is a run of one label.

Following Lea et al., 2017, "Temporal convolutional networks for action segmentation and
detection". A background class counts for frame accuracy and macro F1 like any other, and makes no
segments: what happens is scored, not the gaps in between.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

OVERLAPS = (10, 25, 50)  # percent


class Segment(NamedTuple):
    """A run of one label: steps `start` to `end`, the end excluded."""

    label: int
    start: int
    end: int


def segments(labels: Sequence[int], background: int | None = None) -> list[Segment]:
    """Returns the runs of equal labels, those of the background left out."""
    found, start = [], 0
    for label, run in itertools.groupby(labels):
        end = start + len(list(run))
        if label != background:
            found.append(Segment(int(label), start, end))
        start = end
    return found


def edit_score(
    predicted: Sequence[int], labels: Sequence[int], background: int | None = None
) -> float:
    """Returns how alike the orders of segments are, 0 to 100, whatever their lengths.

    100 * (1 - Levenshtein distance / number of segments of the longer sequence)
    """
    ours, true = (
        [segment.label for segment in segments(sequence, background)]
        for sequence in (predicted, labels)
    )
    longest = max(len(ours), len(true))
    return 100.0 * (1 - levenshtein(ours, true) / longest) if longest else 100.0


def levenshtein(one: Sequence, other: Sequence) -> int:
    """Returns how many insertions, deletions and changes turn one sequence into the other."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(other, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right)),
            )
    return row[-1]


def overlaps(
    predicted: Sequence[int], labels: Sequence[int], percent: int, background: int | None = None
) -> tuple[int, int, int]:
    """Returns how many segments are right, wrong and missed.

    A predicted segment is right if it and the true segment of the same label that it overlaps
    most share at least `percent` of the steps that either covers, and no earlier one took it.
    """
    ours, true = segments(predicted, background), segments(labels, background)
    taken = [False] * len(true)
    right = 0
    for segment in ours:
        shares = [_overlap(segment, other) for other in true]
        best = max(range(len(true)), key=shares.__getitem__, default=None)
        if best is not None and shares[best] * 100 >= percent and not taken[best]:
            taken[best] = True
            right += 1
    return right, len(ours) - right, len(true) - right


def _overlap(one: Segment, other: Segment) -> float:
    if one.label != other.label:
        return 0.0
    shared = min(one.end, other.end) - max(one.start, other.start)
    return max(shared, 0) / (max(one.end, other.end) - min(one.start, other.start))


def segment_scores(
    predicted: Sequence[Sequence[int]],
    labels: Sequence[Sequence[int]],
    background: int | None = None,
) -> dict[str, float]:
    """Returns segment F1 at 10, 25 and 50 % overlap over all sequences, and the mean edit score.

    All of them 0 to 100.

    Args:
        predicted, labels: one sequence of labels each clip.
        background: the label that makes no segments, or None.
    """
    pairs = list(zip(predicted, labels, strict=True))
    scores = {}
    for percent in OVERLAPS:
        counts = [overlaps(ours, true, percent, background) for ours, true in pairs]
        right, wrong, missed = map(sum, zip(*counts, strict=True))
        total = 2 * right + wrong + missed
        scores[f"segment_f1_{percent}"] = 200.0 * right / total if total else 100.0
    edits = [edit_score(ours, true, background) for ours, true in pairs]
    scores["edit_score"] = sum(edits) / len(edits)
    return scores
