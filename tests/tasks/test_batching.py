import itertools

import keras
import numpy as np
import pytest

from rnn_topologies.tasks.data import batching
from rnn_topologies.tasks.models import losses


def lengths(count=103):
    return np.random.default_rng(0).integers(1, 20, count)


def identity(indices, *_):
    return indices


def test_every_example_occurs_once_per_epoch_in_batches_of_similar_length():
    counts = lengths()
    grouped = batching.BucketedBatches(counts, identity, batch_size=8, seed=0)
    for _ in range(2):
        seen = [grouped[index] for index in range(len(grouped))]
        assert sorted(np.concatenate(seen)) == list(range(len(counts)))
        padding = sum(counts[batch].max() * len(batch) - counts[batch].sum() for batch in seen)
        assert padding / counts.sum() < 0.1
        grouped.on_epoch_end()


@pytest.mark.parametrize("grouped", [True, False])
def test_batches_are_shuffled_every_epoch_and_reproducible_from_the_seed(grouped):
    def epochs(seed):
        if grouped:
            batches = batching.BucketedBatches(lengths(), identity, batch_size=8, seed=seed)
        else:
            batches = batching.Batches(103, identity, batch_size=8, seed=seed)
        first = [batches[index].tolist() for index in range(len(batches))]
        batches.on_epoch_end()
        second = [batches[index].tolist() for index in range(len(batches))]
        for epoch in (first, second):
            assert sorted(itertools.chain.from_iterable(epoch)) == list(range(103))
        return first, second

    first, second = epochs(1)
    assert first != second
    assert epochs(1) == (first, second)
    assert epochs(2) != (first, second)


def test_the_width_of_the_first_batches_is_not_fixed_for_the_others():
    rows = [[1] * 4] * 16 + [[1] * 9] * 3
    grouped = batching.BucketedBatches(
        [4] * 16 + [9] * 3,
        lambda indices, pad, _: (pad([rows[index] for index in indices]),),
        batch_size=8,
    )

    class Sum(keras.Model):
        def call(self, inputs):
            return keras.ops.sum(inputs, axis=1, keepdims=True)

    sums = Sum().predict(grouped, verbose=0)[:, 0]
    assert sorted(sums) == [4] * 16 + [9] * 3


def test_outputs_are_restored_to_the_original_order():
    grouped = batching.BucketedBatches(lengths(), identity, batch_size=8)
    outputs = [index for number in range(len(grouped)) for index in grouped[number]]
    assert grouped.restore_order(outputs) == list(range(103))


def test_padding_extends_the_end_to_a_multiple():
    np.testing.assert_array_equal(batching.pad_sequences([[5], [6, 7, 8]]), [[5, 0, 0], [6, 7, 8]])
    assert batching.pad_sequences([[5], [6, 7, 8]], multiple_of=4).shape == (2, 4)
    assert batching.pad_sequences([[], []], multiple_of=4).shape == (2, 4)
    assert batching.pad_sequences([[5], [6]], extra_columns=2).shape == (2, 3)
    assert batching.pad_sequences([[5], [6]], min_length=3, multiple_of=4).shape == (2, 4)
    assert batching.pad_sequences([[5], [6]], min_length=0).shape == (2, 1)


def test_padding_of_arrays_keeps_their_shape_and_type():
    clips = [np.full((2, 3, 1), 7, "uint8"), np.full((4, 3, 1), 9, "uint8")]
    padded = batching.pad_sequences(clips, dtype="uint8")
    assert (padded.shape, padded.dtype) == ((2, 4, 3, 1), np.uint8)
    np.testing.assert_array_equal(padded[0, :, 0, 0], [7, 7, 0, 0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_mean_over_real_tokens(smoothing):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 4, 5)).astype("float32")
    targets = np.array([[1, 2, 3, 4], [2, 1, 0, 0]])
    weights = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], "float32")
    loss = losses.CrossEntropy(smoothing)
    actual = float(loss(targets, keras.ops.convert_to_tensor(logits), sample_weight=weights))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    terms = []
    for row, column in zip(*np.nonzero(weights), strict=True):
        hot = np.eye(5)[targets[row, column]] * (1 - smoothing) + smoothing / 5
        terms.append(-(hot * log_p[row, column]).sum())
    np.testing.assert_allclose(actual, np.mean(terms), rtol=1e-5)


def test_padding_does_not_change_the_loss():
    logits = np.random.default_rng(0).normal(size=(2, 6, 5)).astype("float32")
    targets = np.array([[1, 2, 3, 0, 0, 0], [2, 1, 0, 0, 0, 0]])
    weights = (targets > 0).astype("float32")
    loss = losses.CrossEntropy()
    short, long = (
        float(
            loss(
                targets[:, :width],
                keras.ops.convert_to_tensor(logits[:, :width]),
                sample_weight=weights[:, :width],
            )
        )
        for width in (3, 6)
    )
    np.testing.assert_allclose(short, long, rtol=1e-6)


def test_metrics_weight_every_target_equally_in_whichever_batch():
    random = np.random.default_rng(0)
    watched = losses.training_metrics()
    right = total = count = 0
    for width in (3, 11):
        logits = random.normal(size=(2, width, 5)).astype("float32")
        targets = random.integers(0, 5, (2, width))
        weights = (random.random((2, width)) < 0.6).astype("float32")
        for metric in watched:
            metric.update_state(targets, keras.ops.convert_to_tensor(logits), weights)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        for row, column in zip(*np.nonzero(weights), strict=True):
            total -= log_p[row, column, targets[row, column]]
            right += logits[row, column].argmax() == targets[row, column]
            count += 1
    np.testing.assert_allclose(float(watched[0].result()), total / count, rtol=1e-5)
    np.testing.assert_allclose(float(watched[1].result()), right / count, rtol=1e-6)


@pytest.mark.parametrize("grouped", [True, False])
def test_batches_resume_at_any_step_as_if_never_interrupted(grouped):
    counts = lengths()

    def new_batches():
        if not grouped:
            collate = lambda indices, random: (indices.tolist(), random.random())  # noqa: E731
            return batching.Batches(len(counts), collate, batch_size=8, seed=3)

        def collate(indices, pad, random):
            rows = pad([[index] * counts[index] for index in indices])
            return rows.tolist(), random.random()

        return batching.BucketedBatches(counts, collate, batch_size=8, seed=3)

    full = new_batches()
    full.on_epoch_end()
    expected = [full[index] for index in range(len(full))]
    for step in (0, 2, 4, len(full) - 1):
        resumed = new_batches()
        resumed.seek(1, step)
        assert len(resumed) == len(full) - step
        assert [resumed[index] for index in range(len(resumed))] == expected[step:]
        resumed.on_epoch_end()
        assert len(resumed) == len(full)


def test_consecutive_batches_differ_in_width():
    grouped = batching.BucketedBatches(
        [4] * 50,
        lambda indices, pad, _: pad([[1] * 4 for _ in indices]),
        batch_size=8,
        seed=0,
    )
    for start in range(0, len(grouped) - 1, 2):
        grouped.seek(0, start)
        assert grouped[0].shape[1] != grouped[1].shape[1]
        assert grouped[1].shape == grouped[1].shape
