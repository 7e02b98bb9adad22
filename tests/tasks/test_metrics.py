import itertools
import math

import numpy as np
import pytest

from rnn_topologies.tasks.baselines.classification import score_baselines
from rnn_topologies.tasks.metrics import captions, classification, segments


def classes_and_probabilities(count=400, classes=5):
    random = np.random.default_rng(0)
    probabilities = classification.softmax(random.normal(size=(count, classes)) * 2)
    return probabilities, random.integers(0, classes, count)


def test_softmax_stays_finite_and_sums_to_one():
    rows = classification.softmax(np.array([[1e4, 0.0], [-1e4, -1e4]], "float32"))
    np.testing.assert_allclose(rows, [[1, 0], [0.5, 0.5]])


def test_class_scores_equal_a_plain_count():
    probabilities, labels = classes_and_probabilities()
    scores = classification.class_scores(probabilities, labels)
    guesses = [max(range(5), key=row.__getitem__) for row in probabilities]
    assert scores["accuracy"] == pytest.approx(
        np.mean([g == t for g, t in zip(guesses, labels, strict=True)])
    )
    f1 = []
    for label in range(5):
        both = sum(g == t == label for g, t in zip(guesses, labels, strict=True))
        f1.append(2 * both / (guesses.count(label) + list(labels).count(label)))
    assert scores["macro_f1"] == pytest.approx(np.mean(f1))
    loss = [-math.log(row[label]) for row, label in zip(probabilities, labels, strict=True)]
    assert scores["log_loss"] == pytest.approx(np.mean(loss))


def test_calibration_error_is_the_mean_gap_over_bins():
    probabilities, labels = classes_and_probabilities()
    bins = {}
    for row, label in zip(probabilities, labels, strict=True):
        number = math.ceil(row.max() * 15)
        bins.setdefault(number, []).append((row.max(), row.argmax() == label))
    gap = sum(
        len(rows) * abs(np.mean([r for _, r in rows]) - np.mean([c for c, _ in rows]))
        for rows in bins.values()
    )
    error = classification.calibration_error(probabilities, labels)
    assert error == pytest.approx(gap / len(labels))
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert classification.calibration_error(sure, np.array([0, 1, 2, 0])) == 0
    assert classification.calibration_error(sure, np.array([1, 2, 0, 1])) == 1


def test_the_confusion_matrix_has_a_row_for_each_true_class():
    table = classification.confusion_table([1, 1, 0], [0, 1, 0], ["a", "b", "c"])
    assert table == {"classes": ["a", "b", "c"], "counts": [[1, 1, 0], [0, 1, 0], [0, 0, 0]]}


def test_a_probability_of_zero_gives_a_finite_loss():
    assert math.isfinite(classification.class_scores(np.array([[1.0, 0.0]]), [1])["log_loss"])


def test_the_majority_class_is_that_of_the_training_split():
    scores = score_baselines([0, 1, 1], [0, 0, 1, 1], {"all right": [0, 0, 1, 1]})
    assert scores["majority class"]["accuracy"] == 0.5
    assert scores["majority class"]["macro_f1"] == pytest.approx((0 + 2 / 3) / 2)
    assert scores["all right"] == {"accuracy": 1.0, "macro_f1": 1.0}


def test_segments_are_runs_of_labels_other_than_the_background():
    labels = [0, 0, 1, 1, 1, 0, 2]
    assert segments.find_segments(labels, background=0) == [(1, 2, 5), (2, 6, 7)]
    assert segments.find_segments(labels)[0] == (0, 0, 2)
    assert segments.find_segments([]) == []


def edits(one, other):
    """The recursive definition of the edit distance."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        edits(one[1:], other) + 1,
        edits(one, other[1:]) + 1,
        edits(one[1:], other[1:]) + (one[0] != other[0]),
    )


def test_the_edit_distance_equals_its_recursive_definition():
    short = [row for size in range(4) for row in itertools.product((0, 1, 2), repeat=size)]
    for one, other in itertools.product(short[::2], short[::3]):
        assert segments.levenshtein_distance(one, other) == edits(one, other)


def test_the_edit_score_depends_on_order_and_not_on_length():
    assert segments.edit_score([1, 1, 1, 2], [1, 2, 2, 2]) == 100
    assert segments.edit_score([1, 2, 1, 2], [1, 1, 2, 2]) == 50
    assert segments.edit_score([0, 0], [0, 0], background=0) == 100
    assert segments.edit_score([0, 1], [0, 0], background=0) == 0


def test_a_segment_is_matched_once_and_only_with_enough_overlap():
    true = [0] * 10 + [1] * 10
    late = [0] * 14 + [1] * 6  # overlaps of 10 / 14 and 6 / 10
    assert segments.match_segments(late, true, 50) == (2, 0, 0)
    assert segments.match_segments(late, true, 70) == (1, 1, 1)
    torn = [0] * 10 + [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]  # the second segment of 1 is unmatched
    assert segments.match_segments(torn, true, 25) == (2, 2, 0)


def test_segment_scores_count_segments_over_all_clips():
    predicted, labels = [[0, 0, 1, 1], [1, 1]], [[0, 0, 1, 1], [0, 0]]
    scores = segments.segment_scores(predicted, labels)
    assert scores["segment_f1_50"] == pytest.approx(100 * 2 * 2 / (2 * 2 + 1 + 1))
    assert scores["edit_score"] == 50


CAPTIONS = [
    ["A dog runs over the grass .", "the brown dog runs", "A dog on grass"],
    ["Two children play in the snow .", "children in snow"],
    ["A man's red car stands in the street", "a red car , parked", "the car is red", "red car"],
]
OUTPUTS = ["a dog runs on the the the grass", "two dogs play in snow", "a red car in the street"]


def test_caption_scores_equal_the_coco_evaluation():
    cider_scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer")
    bleu_scorer = pytest.importorskip("pycocoevalcap.bleu.bleu_scorer")
    cider, bleu = cider_scorer.CiderScorer(n=4, sigma=6.0), bleu_scorer.BleuScorer(n=4)
    for output, references in zip(OUTPUTS, CAPTIONS, strict=True):
        plain = [" ".join(captions.caption_words(text)) for text in (output, *references)]
        cider += (plain[0], plain[1:])
        bleu += (plain[0], plain[1:])
    scores = captions.caption_scores(OUTPUTS, CAPTIONS)
    assert scores["cider_d"] == pytest.approx(cider.compute_score()[0], rel=1e-9)
    expected, _ = bleu.compute_score(option="closest", verbose=0)
    for order in captions.ORDERS:
        # The scorer adds a small number to every count to avoid zeros.
        assert scores[f"bleu_{order}"] == pytest.approx(100 * expected[order - 1], abs=0.01)


def test_captions_are_compared_without_case_or_punctuation():
    assert captions.caption_words("A man's RED-ish dog, 2 of 'em!") == [
        *("a", "man's", "red", "ish", "dog", "2", "of", "'em")
    ]
    same = captions.caption_scores(["THE CAT, sits!"], [["the cat sits", "a dog"]])
    assert same["bleu_3"] == pytest.approx(100)


def test_the_signature_states_the_number_of_references():
    signatures = captions.caption_signatures([["a b", "c d"], ["e f", "g h"]])
    assert "nrefs:2" in signatures["bleu_4"]
    assert "tok:none" in signatures["bleu_4"]
