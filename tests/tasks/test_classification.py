import keras
import numpy as np
import pytest

from rnn_topologies.tasks import classification
from rnn_topologies.tasks.data.images import ImageResizer, augment_images
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.models.image_classifier import ImageClassifier

from ..support import training


def make(**settings):
    keras.utils.set_random_seed(0)
    task = classification.ClassificationTask(
        {"units": 8, "feature_size": 12, "limit": 96, **settings}
    )
    data = task.load_data()
    return task, data, task.build_model(data)


@pytest.mark.parametrize(
    ("cell", "view", "eager"), training.cells_and_settings(["image", "rows", "pixels"], "rows")
)
def test_every_cell_learns_from_every_view(cell, view, eager):
    task, data, model = make(
        cell=cell,
        view=view,
        bidirectional=view != "image",
        layers=training.depth(cell),
        dropout=0.0,
        limit=32 if eager else 96,
    )
    with training.execution(eager=eager):
        losses = training.losses(task, data, model, epochs=3 if eager else 5)
        images = [example.image for example in data.splits["test"][:3]]
        assert set(task.predict(model, images, data)) <= set(data.notes["classes"])
    assert losses[-1] < losses[0]


def test_the_recurrence_over_an_image_is_one_step_from_a_zero_state():
    model = ImageClassifier(cell="lstm", image_shape=(8, 8, 1), classes=3, units=5, feature_size=6)
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1))
    maps = keras.ops.reshape(model.encoder(images), (4, -1))
    cell = model.recurrence.stack[0].cell
    output, _ = cell(model.vector(maps), cell.get_initial_state(4))
    np.testing.assert_allclose(model(images), model.classes(output), rtol=1e-5, atol=1e-6)
    before = keras.ops.convert_to_numpy(model(images))
    cell.recurrent_kernel.assign(cell.recurrent_kernel * 3 + 1)  # multiplied by a zero state
    np.testing.assert_allclose(model(images), before, rtol=1e-6)


@pytest.mark.parametrize(("view", "shape"), [("rows", (2, 4, 9)), ("pixels", (2, 12, 3))])
def test_rows_and_pixels_come_in_reading_order(view, shape):
    model = ImageClassifier(cell="gru", image_shape=(4, 3, 3), classes=2, view=view, units=4)
    images = np.random.default_rng(0).integers(0, 255, (2, 4, 3, 3))
    sequence = keras.ops.convert_to_numpy(model._to_sequence(images, training=False))
    np.testing.assert_allclose(sequence, images.reshape(shape) / 127.5 - 1, atol=1e-6)


def test_bidirectional_is_refused_for_a_single_step():
    with pytest.raises(UserError, match="--bidirectional needs a sequence.*Add --view rows"):
        classification.ClassificationTask({"bidirectional": True})


def test_evaluation_covers_the_test_split_in_order():
    task, data, model = make()
    evaluation = task.evaluate(model, "test", data)
    test = data.splits["test"]
    outputs = task.predict(model, [example.image for example in test], data)
    assert [row["output"] for row in evaluation.examples] == outputs
    truth = [data.notes["classes"][example.label] for example in test]
    assert [row["target"] for row in evaluation.examples] == truth
    accuracy = np.mean([output == target for output, target in zip(outputs, truth, strict=True)])
    assert evaluation.metrics["accuracy"] == pytest.approx(accuracy)
    assert np.sum(evaluation.tables["confusion"]["counts"]) == len(test)
    assert set(evaluation.metrics) == {"accuracy", "macro_f1", "log_loss", "calibration_error"}


def test_logistic_regression_is_the_strong_baseline():
    task = classification.ClassificationTask({})
    baselines = task.baseline(task.load_data())
    assert baselines["majority class"]["accuracy"] < 0.2
    assert baselines["logistic regression on pixels"]["accuracy"] > 0.9


def test_no_image_is_in_two_splits():
    data = classification.ClassificationTask({}).load_data()
    seen = [{e.image.tobytes() for e in rows} for rows in data.splits.values()]
    assert sum(map(len, seen)) == len(set().union(*seen))
    assert sum(map(len, data.splits.values())) == 1797


def test_images_are_augmented_in_training_only():
    task, data, _ = make(random_translation=2, horizontal_flip=True)
    examples = data.splits["train"]
    plain = np.stack([example.image for example in examples])
    same, _ = task.batches(examples, data, training=False)[0]
    np.testing.assert_array_equal(same, plain[: len(same)])
    batches = task.batches(examples, data, training=True)
    moved, labels = batches[0]
    assert (moved != plain[batches.batches[0]]).any()
    assert labels.tolist() == [examples[index].label for index in batches.batches[0]]


def test_augmentation_translates_and_flips():
    image = np.arange(48, dtype="uint8").reshape(1, 4, 4, 3)
    random = np.random.default_rng(0)
    results = {augment_images(image, random, horizontal_flip=True).tobytes() for _ in range(20)}
    assert results == {image.tobytes(), image[:, :, ::-1].tobytes()}
    wide = np.pad(image, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge")
    translations = {wide[:, y : y + 4, x : x + 4].tobytes() for y in range(3) for x in range(3)}
    results = {augment_images(image, random, random_translation=1).tobytes() for _ in range(200)}
    assert results == translations


def test_images_are_converted_to_one_shape():
    grey = np.full((10, 6, 1), 7, "uint8")
    fit = ImageResizer(4, (4, 4, 3))
    np.testing.assert_array_equal(fit(grey, "a"), np.full((4, 4, 3), 7))
    assert ImageResizer(None, (10, 6, 1))(np.full((10, 6, 3), 9, "uint8"), "b")[0, 0, 0] == 9
    with pytest.raises(
        UserError, match=r"c is 6 x 10 pixels, but the other images are 8 x 8.* --image-size"
    ):
        ImageResizer(None, (8, 8, 1))(grey, "c")
    with pytest.raises(UserError, match="d cannot be read as an image"):
        ImageResizer(None)(b"no image", "d")
