"""Sets of TensorFlow Datasets: which features are read, and how they are split."""

import contextlib

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from rnn_topologies import tasks
from rnn_topologies.tasks.data import store
from rnn_topologies.tasks.data.sources import public
from rnn_topologies.tasks.errors import UserError

# Task, data set, its splits, and the features that the task reads.
SETS = [
    ("classification", "cifar10", ("train", "test"), {"image": "image", "label": "label"}),
    ("text_classification", "imdb_reviews", ("train", "test"), {"text": "text", "label": "label"}),
    (
        *("text_classification", "ag_news_subset", ("train", "test")),
        {"text": "description", "label": "label"},
    ),
    (
        *("text_classification", "glue/sst2", ("train", "validation", "test")),
        {"text": "sentence", "label": "label"},
    ),
    ("text_classification", "trec", ("train", "test"), {"text": "text", "label": "label-coarse"}),
    (
        *("translation", "ted_hrlr_translate/pt_to_en", ("train", "validation", "test")),
        {"source": "pt", "target": "en"},
    ),
    (
        *("image_captioning", "coco_captions", ("train", "val", "test")),
        {"image": "image", "captions": "captions"},
    ),
    ("video_labeling", "ucf101", ("train", "test"), {"frames": "video", "labels": "label"}),
]

COCO = {
    "image": b"the content of a file",
    "captions": {"id": np.array([1, 2]), "text": np.array([b"a dog", b"gr\xc3\xbcn"], object)},
}


@pytest.fixture
def mocked(monkeypatch, tmp_path):
    """Returns a function that pretends a set is prepared, with random examples in its splits."""
    stack = contextlib.ExitStack()

    def prepared(splits, count=40, rows=None):
        settings = {"as_data_source_fn": lambda *_, **__: rows} if rows else {}
        stack.enter_context(tfds.testing.mock_data(num_examples=count, **settings))

        def prepare(builder_class, *, config, data_dir, manual_dir):
            builder = builder_class(config=config, data_dir=data_dir, file_format="array_record")
            infos = [
                tfds.core.splits.SplitInfo(name=name, shard_lengths=[count], num_bytes=0)
                for name in splits
            ]
            builder.info.set_splits(tfds.core.splits.SplitDict(infos))
            return builder

        monkeypatch.setattr(store, "prepare_dataset", prepare)
        monkeypatch.setattr(store, "manifest_hash", lambda builder: "0" * 64)
        monkeypatch.setattr(public, "_check_downloads", lambda builder: None)

    with stack:
        yield prepared


def source_of(task, dataset, tmp_path, **settings):
    return tasks.get_task(task)(
        {"dataset": dataset, "data_dir": str(tmp_path), **settings}
    ).load_source()


@pytest.mark.parametrize(("task", "dataset", "splits", "reads"), SETS)
def test_a_set_is_read_and_names_the_features_it_uses(
    mocked, tmp_path, task, dataset, splits, reads
):
    # `tfds.testing.mock_data` cannot generate sequences of several features.
    rows = [COCO] * 40 if dataset == "coco_captions" else None
    mocked(splits, rows=rows)
    source = source_of(task, dataset, tmp_path)
    assert source.notes["reads"] == reads
    assert set(source.splits) == {"train", "validation", "test"}
    total = sum(len(rows) for rows in source.splits.values())
    assert total == 40 * len(set(splits) & {"train", "validation", "val", "test"})
    row = source.splits["train"][0]
    assert set(row) == set(reads)
    for name, value in row.items():
        if name in ("text", "source", "target"):
            assert isinstance(value, str)
        elif name == "captions":
            assert all(isinstance(caption, str) for caption in value)
        elif name in ("label", "labels"):
            assert 0 <= value < len(source.classes)


def test_examples_of_a_public_set_become_batches(mocked, tmp_path):
    mocked(("train", "test"))
    task = tasks.get_task("classification")({"dataset": "cifar10", "data_dir": str(tmp_path)})
    data = task.load_data()
    assert data.notes["image_shape"] == [32, 32, 3]
    images, labels = task.batches(data.splits["train"], data, training=True)[0]
    assert (images.shape[1:], images.dtype) == ((32, 32, 3), np.uint8)
    assert len(labels) == len(images)


def test_an_unsuitable_set_is_refused_with_the_missing_feature(tmp_path):
    with pytest.raises(
        UserError,
        match=r"mnist/.* does not fit this task, which reads a text and a class label.*image",
    ):
        source_of("text_classification", "mnist", tmp_path)
    with pytest.raises(UserError, match="has no feature that is a video"):
        source_of("video_labeling", "imdb_reviews", tmp_path)


def test_an_unknown_set_or_config_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(UserError, match="Unknown data set: 'cifar11'.*Did you mean 'cifar10"):
        source_of("classification", "cifar11", tmp_path)
    with pytest.raises(UserError, match="Unknown config of glue: 'sst3'.*Did you mean 'sst2'"):
        source_of("text_classification", "glue/sst3", tmp_path)


def test_a_test_split_without_labels_is_not_used(monkeypatch):
    rows = {
        "train": [{"label": number % 2, "n": number} for number in range(100)],
        "validation": [{"label": 1, "n": 100}],
        "test": [{"label": -1, "n": 101}],
    }

    class Builder:
        class info:  # noqa: N801
            splits = rows
            features = {}
            full_name = "secret"

    monkeypatch.setattr(store, "read_split", lambda builder, name, decoders: rows[name])
    kinds = {"label": public.LABEL}
    splits, notes = public._build_splits(Builder, {"label": "label"}, kinds)
    assert notes["test"] == "validation"
    assert [row["label"] for row in splits["test"]] == [1]
    assert len(splits["train"]) + len(splits["validation"]) == 100


def test_without_network_the_download_fails_early(tmp_path, monkeypatch):
    def unreachable(address, **_):
        raise requests.ConnectionError("no network")

    monkeypatch.setattr(requests, "head", unreachable)
    with pytest.raises(UserError, match=r"cs.toronto.edu.* cannot be reached"):
        source_of("classification", "cifar10", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_original_mnist_files_are_read_completely(tmp_path, manual_dir, name):
    # TFDS looks into its download folder before it downloads.
    from tensorflow_datasets.core.download import resource

    builder_class = tfds.builder_cls(name)
    originals = {
        tfds.core.download.checksums.compute_url_info(p).checksum: p
        for p in (manual_dir / name).glob("*.gz")
    }
    for url, info in builder_class.url_infos.items():
        path = tmp_path / "downloads" / name / resource.get_dl_fname(url, info.checksum)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(originals[info.checksum].read_bytes())
        resource.write_info_file(
            url=url, path=path, dataset_name=name, original_fname=path.name, url_info=info
        )
    source = source_of("classification", name, tmp_path)
    counts = {split: len(rows) for split, rows in source.splits.items()}
    assert counts["test"] == 10_000
    assert counts["train"] + counts["validation"] == 60_000
    assert len(source.classes) == 10
