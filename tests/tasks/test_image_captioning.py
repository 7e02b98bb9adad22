import math

import keras
import numpy as np
import pytest

from rnn_topologies.tasks import image_captioning
from rnn_topologies.tasks.data import vocabulary
from rnn_topologies.tasks.data.sources import scenes as scenes_data
from rnn_topologies.tasks.data.sources.flickr8k import flickr8k_dataset_builder as flickr8k
from rnn_topologies.tasks.data.sources.scenes import dataset, language, scene
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.tasks.models import pretrained
from rnn_topologies.tasks.models.encoder_decoder import ATTENTIONS

from ..support import training

COUNTS = {"train": 60, "validation": 12, "test": 12, "unseen": 8}
THINGS = (
    scene.Thing("large", "red", "cross", 1, 1),
    scene.Thing("small", "blue", "circle", 1, 2),
    scene.Thing("small", "white", "square", 2, 2),
)


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch):
    monkeypatch.setattr(dataset, "COUNTS", COUNTS)
    dataset.generate_scenes.cache_clear()
    yield
    dataset.generate_scenes.cache_clear()


def make(**settings):
    keras.utils.set_random_seed(0)
    small = {"units": 8, "embedding_size": 6, "feature_size": 10, "batch_size": 8}
    task = image_captioning.ImageCaptioningTask({**small, **settings})
    data = task.load_data()
    return task, data, task.build_model(data)


@pytest.mark.parametrize(
    ("cell", "attention", "eager"), training.cells_and_settings(ATTENTIONS, "dot")
)
def test_every_cell_learns_with_every_attention(cell, attention, eager):
    small = {"limit": 16, "batch_size": 16} if eager else {}
    task, data, model = make(cell=cell, attention=attention, dropout=0.1, **small)
    rate = 0.03 if eager else 0.01  # one step per epoch, or several
    with training.execution(eager=eager):
        losses = training.losses(task, data, model, epochs=6 if eager else 2, learning_rate=rate)
        assert isinstance(task.predict(model, [data.splits["test"][0].image], data)[0], str)
    assert losses[-1] < losses[0]


def test_an_image_is_encoded_once_for_all_its_captions():
    task, data, model = make()
    inputs, following, weights = task.batches(data.splits["test"], data, training=False)[0]
    assert inputs["previous"].shape == following.shape == weights.shape
    assert inputs["previous"].shape[:2] == (len(inputs["image"]), 5)
    logits = keras.ops.convert_to_numpy(model(inputs))
    for caption in range(5):
        previous = inputs["previous"][:, caption : caption + 1]
        single = {"image": inputs["image"], "previous": previous}
        np.testing.assert_allclose(logits[:, caption], model(single)[:, 0], atol=1e-5)


@pytest.mark.parametrize("captions", [None, 1, 3])
def test_batches_keep_their_shape_whichever_captions_are_sampled_or_missing(captions):
    task, data, _ = make(captions_per_image=captions, batch_size=60)
    examples = list(data.splits["train"])
    examples[0] = examples[0]._replace(tokens=examples[0].tokens[:2])
    for is_training, most in ((True, captions or 5), (False, 5)):
        grouped = task.batches(examples, data, training=is_training)
        longest = 1 + max(len(tokens) for example in examples for tokens in example.tokens)
        for _ in range(4):
            inputs, following, _ = grouped[0]
            assert inputs["previous"].shape == following.shape == (60, most, longest)
            grouped.on_epoch_end()


def test_batches_hold_the_inputs_and_targets_of_the_decoder():
    task, data, _ = make()
    examples = data.splits["test"]
    grouped = task.batches(examples, data, training=False)
    inputs, following, weights = grouped[0]
    for row, index in enumerate(grouped.batches[0]):
        np.testing.assert_array_equal(inputs["image"][row], examples[index].image)
        for caption, tokens in enumerate(examples[index].tokens):
            count = len(tokens) + 1
            assert inputs["previous"][row, caption, :count].tolist() == [vocabulary.START, *tokens]
            assert following[row, caption, :count].tolist() == [*tokens, vocabulary.END]
            assert weights[row, caption].sum() == count


def test_captions_of_an_image_are_sampled_again_every_epoch():
    task, data, _ = make(captions_per_image=2)
    examples = data.splits["train"][:1]  # one batch, so that only the sampled captions differ
    batches = task.batches(examples, data, training=True)
    drawn = []
    for epoch in range(4):
        batches.seek(epoch)
        drawn.append(batches[0][0]["previous"].tolist())
        assert np.shape(drawn[-1])[:2] == (1, 2)
        assert batches[0][0]["previous"].tolist() == drawn[-1]
    assert any(one != drawn[0] for one in drawn)


@pytest.mark.usefixtures("eagerly")
def test_the_loss_is_the_mean_over_tokens_when_images_have_unequal_numbers_of_captions():
    task, data, model = make()
    example = data.splits["test"][0]
    uncommon = example._replace(captions=example.captions[:1], tokens=example.tokens[:1])
    inputs, following, weights = task.batches([example, uncommon], data, training=False)[0]
    model.compile("adam", task.loss(), weighted_metrics=task.metrics())
    both = model.evaluate(inputs, following, sample_weight=weights, verbose=0, return_dict=True)
    total = count = 0
    for tokens in [*example.tokens, *uncommon.tokens]:  # one at a time, so that there is no padding
        previous = np.array([[[vocabulary.START, *tokens]]])
        logits = model({"image": example.image[np.newaxis], "previous": previous})
        logits = keras.ops.convert_to_numpy(logits)[0, 0].astype("float64")
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= sum(log_p[t, token] for t, token in enumerate([*tokens, vocabulary.END]))
        count += len(tokens) + 1
    assert both["cross_entropy"] == pytest.approx(total / count, rel=1e-4)


@pytest.mark.usefixtures("eagerly")
def test_scores_are_of_free_running_decodes_and_unseen_scenes_are_scored_separately():
    task, data, model = make()
    model.compile("adam", task.loss(), weighted_metrics=task.metrics())
    evaluation = task.evaluate(model, "test", data)
    test, unseen = data.splits["test"], data.splits["unseen"]
    outputs = task.predict(model, [e.image for e in (*test, *unseen)], data)
    assert [row["output"] for row in evaluation.examples] == outputs
    assert [row["split"] for row in evaluation.examples] == ["test"] * 12 + ["unseen"] * 8
    for name in ("bleu_1", "bleu_4", "cider_d", "exact_meaning"):
        assert {name, f"unseen/{name}"} <= set(evaluation.metrics)
    assert evaluation.metrics["perplexity"] == pytest.approx(
        math.exp(evaluation.metrics["cross_entropy"])
    )


@pytest.mark.usefixtures("eagerly")
def test_captions_are_decoded_with_beam_search():
    task, data, model = make(beam_size=3)
    images = [example.image for example in data.splits["test"][:3]]
    best = task.n_best(model, images, data, beam_size=4)
    assert [len(captions) for captions in best] == [4, 4, 4]
    assert len(task.predict(model, images, data)) == 3


def test_the_nearest_image_of_a_training_image_is_itself():
    task, data, _ = make()
    train = data.splits["train"]
    assert image_captioning._nearest_captions(train, train[:9]) == [
        e.captions[0] for e in train[:9]
    ]
    baselines = task.baseline(data)
    assert set(baselines) == {"most frequent caption", "caption of the nearest image"}
    assert "exact_meaning" in baselines["most frequent caption"]


def test_bidirectional_is_refused_for_a_decoder():
    with pytest.raises(UserError, match="--bidirectional is not supported in image_captioning"):
        image_captioning.ImageCaptioningTask({"bidirectional": True})


def test_every_caption_is_true_and_complete():
    for rows in dataset.generate_scenes().values():
        for row in rows:
            assert len(set(row["captions"])) == 5
            for caption in row["captions"]:
                assert language.is_correct_caption(caption, row["things"]), caption
                # The caption is wrong for a scene with other sizes, which it mentions.
                others = tuple(
                    thing._replace(size="small" if thing.size == "large" else "large")
                    for thing in row["things"]
                )
                assert not language.is_correct_caption(caption, others)


@pytest.mark.parametrize(
    ("caption", "right"),
    [
        (
            "A big red cross is over a little blue circle and a small white square is right of "
            "the blue circle",
            True,
        ),
        # Correct, although no reference is phrased like this:
        (
            "a large red cross is left of a small white square and a small blue circle is below "
            "the red cross",
            True,
        ),
        ("a large red cross is above a small blue circle", False),  # one thing is missing
        (
            "a large red cross is below a small blue circle and a small white square is right of "
            "the blue circle",
            False,
        ),  # a wrong relation
        (
            "a small red cross is above a small blue circle and a small white square is right of "
            "the blue circle",
            False,
        ),  # a wrong size
        (
            "a large red cross is above a small blue circle and a small blue circle is right of "
            "the blue circle",
            False,
        ),  # the same thing twice
        (
            "a large red cross is above a small blue circle and a small white square is right of "
            "the green circle",
            False,
        ),  # relative to a thing that does not exist
        ("a large red cross above a small blue circle", False),  # not in the grammar
        ("", False),
    ],
)
def test_a_caption_is_right_if_it_is_true_and_complete(caption, right):
    assert language.is_correct_caption(caption, THINGS) is right


def test_relations_follow_from_the_grid_cells():
    cross, circle, square = THINGS
    assert language.relation_holds(cross, "above", circle)
    assert not language.relation_holds(cross, "left", circle)
    assert language.relation_holds(square, "right", circle)
    assert language.relation_holds(square, "below", cross)


def test_unseen_pairs_occur_in_no_training_scene():
    splits = dataset.generate_scenes()
    for split, rows in splits.items():
        for row in rows:
            pairs = {(thing.colour, thing.shape) for thing in row["things"]}
            assert bool(pairs & scene.UNSEEN) == (split == "unseen")
    scenes = [frozenset(row["things"]) for rows in splits.values() for row in rows]
    assert len(set(scenes)) == len(scenes)
    assert {colour for colour, _ in scene.UNSEEN} < set(scene.COLOURS)


def test_an_image_shows_each_thing_in_its_cell():
    picture = scene.render_scene(THINGS, np.random.default_rng(0)).astype(int)
    cells = picture.reshape(3, scene.CELL, 3, scene.CELL, 3).swapaxes(1, 2)
    taken = {(thing.row, thing.column): thing for thing in THINGS}
    for row in range(3):
        for column in range(3):
            cell, thing = cells[row, column], taken.get((row, column))
            if thing is None:
                assert (cell == scene.BACKGROUND).all()
            else:
                assert (cell == scene.COLOURS[thing.colour]).all(-1).sum() > 15
    larger = scene._coverage(THINGS[0], np.zeros(2)).sum()
    smaller = scene._coverage(THINGS[0]._replace(size="small"), np.zeros(2)).sum()
    assert larger > 2 * smaller


def test_scenes_are_the_same_every_time():
    first = scenes_data.read_scenes()
    dataset.generate_scenes.cache_clear()
    assert scenes_data.read_scenes().sha256 == first.sha256


def test_a_pretrained_encoder_needs_a_known_name_and_the_network(monkeypatch):
    with pytest.raises(UserError, match="Unknown value of --encoder: 'MobileNet2'.*Did you mean"):
        make(encoder="MobileNet2")

    def unreachable(*_, **__):
        raise Exception("URL fetch failure on https://example.org: no network")  # as Keras does

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unreachable)
    with pytest.raises(UserError, match="pretrained weights cannot be downloaded"):
        make(encoder="MobileNetV2")


def test_a_pretrained_encoder_is_frozen():
    encoder = pretrained.PretrainedEncoder("MobileNetV2", (48, 48, 1), download=False)
    maps = encoder(np.zeros((2, 48, 48, 1)))
    assert tuple(maps.shape) == (2, 2, 2, 1280)
    assert encoder.trainable_weights == []


def tiny_flickr8k(folder, *, zipped):
    import io
    import zipfile

    from PIL import Image

    folder.mkdir(parents=True)
    lines = ["2258277193_586949ec62.jpg.1#0\tno such image"]
    images = {}
    for number in range(9):
        name = f"{number}.jpg"
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file, "JPEG")
        images[name] = file.getvalue()
        lines += [f"{name}#{k}\tcaption {k} of {number} ." for k in range(5)]
    (folder / flickr8k.CAPTIONS_FILE).write_text("\n".join(lines) + "\n")
    for part, (_, listing) in enumerate(flickr8k.SPLIT_LISTS.items()):
        (folder / listing).write_text("\n".join(f"{part * 3 + n}.jpg" for n in range(3)) + "\n")
    if zipped:
        with zipfile.ZipFile(folder / "images.zip", "w") as archive:
            for name, content in images.items():
                archive.writestr(f"Flicker8k_Dataset/{name}", content)
    else:
        (folder / "Flicker8k_Dataset").mkdir()
        for name, content in images.items():
            (folder / "Flicker8k_Dataset" / name).write_bytes(content)
    return folder


def flickr(tmp_path):
    return image_captioning.ImageCaptioningTask(
        {
            "dataset": "flickr8k",
            "image_size": 16,
            "data_dir": str(tmp_path / "data"),
            "manual_dir": str(tmp_path),
        }
    )


@pytest.mark.parametrize("zipped", [False, True])
def test_flickr8k_is_read_from_a_folder_or_a_zip_file(tmp_path, zipped):
    tiny_flickr8k(tmp_path / "flickr8k", zipped=zipped)
    data = flickr(tmp_path).load_data()
    assert [sorted(e.name for e in rows) for rows in data.splits.values()] == [
        *(["0.jpg", "1.jpg", "2.jpg"], ["3.jpg", "4.jpg", "5.jpg"], ["6.jpg", "7.jpg", "8.jpg"])
    ]
    example = next(e for e in data.splits["test"] if e.name == "7.jpg")
    assert example.captions == [f"caption {k} of 7 ." for k in range(5)]
    assert example.image.shape == (16, 16, 3)


def test_a_damaged_or_missing_image_of_flickr8k_is_named(tmp_path):
    folder = tiny_flickr8k(tmp_path / "flickr8k", zipped=False)
    image = folder / "Flicker8k_Dataset/4.jpg"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(UserError, match="4.jpg cannot be read as an image"):
        flickr(tmp_path).load_data()
    image.unlink()
    with pytest.raises(UserError, match=r"devImages.txt, line 2: there is no image for 4.jpg"):
        flickr(tmp_path).load_data()


@pytest.mark.slow
def test_the_original_flickr8k_is_read_completely(tmp_path, manual_dir):
    task = image_captioning.ImageCaptioningTask(
        {
            "dataset": "flickr8k",
            "data_dir": str(tmp_path),
            "manual_dir": str(manual_dir),
        }
    )
    source = task.load_source()
    assert {name: len(rows) for name, rows in source.splits.items()} == {
        "train": 6000,
        "validation": 1000,
        "test": 1000,
    }
    assert all(len(row["captions"]) == 5 for row in source.splits["test"])
