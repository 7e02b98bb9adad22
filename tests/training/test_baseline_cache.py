"""Baselines are fitted once for the same data, and cached scores equal those of a new fit."""

import concurrent.futures
import pathlib
import time

import numpy as np
import pytest

from rnn_topologies import tasks
from rnn_topologies.runs import store
from rnn_topologies.tasks import classification
from rnn_topologies.tasks.baselines.scores import BaselineScores, example_rows
from rnn_topologies.tasks.data.sources import moving_shapes
from rnn_topologies.tasks.data.sources.cldr_dates import cldr_dates_dataset_builder as cldr_dates
from rnn_topologies.tasks.data.sources.scenes import dataset as scenes
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import baseline_cache, evaluation, experiment

from ..support import runs, training
from ..support.small_data import small_data
from ..tasks.test_files import FORMS
from .test_evaluation import raising

SETTINGS = {"limit": 60, "epochs": 1, "units": 4, "cell": "simple_rnn"}


@pytest.fixture(autouse=True)
def enabled(monkeypatch):
    monkeypatch.setenv(baseline_cache.VARIABLE, "on")


@pytest.fixture
def score(tmp_path):
    """Returns a function that scores a baseline and returns (was it computed, record, notes)."""

    def run(train=("a", "b"), test=("c",), result=0.5, name="guess", settings=()):
        computed, notes, record = [], [], runs.started_record()
        splits = {
            "train": [image(text) for text in train],
            "test": [image(text) for text in test],
        }
        scores = BaselineScores(
            {name: lambda: computed.append(name)},
            lambda _: {"accuracy": result, "macro_f1": 1 / 3},
            lambda: example_rows(splits, ("name",)),
        )
        task = tasks.get_task("classification")({"data_dir": str(tmp_path), **dict(settings)})
        task.baseline = lambda data: scores
        evaluation.score_baselines(task, None, record, notes.append)
        return bool(computed), record, notes

    return run


def image(text):
    return classification.Example("name", np.array([[[ord(text)]]], "uint8"), 0)


def cached_files(folder):
    return sorted(folder.glob("baselines/*.json"))


def test_the_same_data_are_scored_once(score):
    assert score()[0]
    computed, record, notes = score(result=0.9)
    assert (computed, notes) == (False, [])
    assert record.cached_baselines == ["guess"]
    assert record.baselines == {"guess": 0.5}
    assert record.baseline_metrics == {"guess": {"accuracy": 0.5, "macro_f1": 1 / 3}}


@pytest.mark.parametrize(
    "change",
    [
        {"train": ("a", "x")},
        {"train": ("b", "a")},
        {"test": ("d",)},
        {"train": ("a",), "test": ("b", "c")},
        {"name": "another guess"},
    ],
)
def test_other_data_or_another_baseline_are_not_the_same(score, change):
    score()
    computed, record, _ = score(**change)
    assert computed
    assert record.cached_baselines == []


@pytest.mark.parametrize("settings", [{"seed": 7}, {"cell": "lstm"}, {"units": 9, "epochs": 3}])
def test_cells_seeds_and_settings_share_a_baseline(score, settings):
    score()
    assert not score(settings=settings)[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: text.replace("0.5", "0.9"),
        lambda text: "[]",
        lambda text: text.replace('"guess"', '"other"'),
        lambda text: "\x00" * len(text),
    ],
    ids=["empty", "partial", "changed", "not an object", "of another baseline", "zeros"],
)
def test_a_damaged_file_is_computed_again_with_a_message(score, tmp_path, damage):
    score()
    (path,) = cached_files(tmp_path)
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    computed, record, notes = score()
    assert computed
    assert record.baselines == {"guess": 0.5}
    assert notes == [f"{path} is damaged: recomputing the baseline"]
    assert not score()[0]


def test_a_failure_is_not_cached(score):
    assert score(result=float("nan"))[1].baseline_errors
    assert score()[1].baselines == {"guess": 0.5}


def test_a_cache_that_cannot_be_written_does_not_matter(score, tmp_path):
    (tmp_path / "baselines").write_text("a file")
    computed, record, notes = score()
    assert computed
    assert record.baselines == {"guess": 0.5}
    assert len(notes) == 1
    assert notes[0].startswith("baseline guess is not cached: ")


def test_runs_at_the_same_time_compute_a_baseline_once(tmp_path):
    computed = []

    def compute():
        computed.append(1)
        time.sleep(0.2)

    def run(_):
        scores = BaselineScores({"slow": compute}, lambda _: {"accuracy": 0.5})
        task = tasks.get_task("classification")({"data_dir": str(tmp_path)})
        cache = baseline_cache.BaselineCache(task, {"train": []})
        return evaluation._read_or_compute("slow", scores, cache, lambda note: None)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = list(pool.map(run, range(3)))
    assert len(computed) == 1
    assert [scores for scores, _ in results] == [{"accuracy": 0.5}] * 3
    assert sorted(is_cached for _, is_cached in results) == [False, True, True]


def test_the_cache_can_be_turned_off(score, tmp_path, monkeypatch):
    monkeypatch.setenv(baseline_cache.VARIABLE, "off")
    assert score()[0]
    assert score()[0]
    assert cached_files(tmp_path) == []
    monkeypatch.setenv(baseline_cache.VARIABLE, "no")
    with pytest.raises(UserError, match="must be 'on' or 'off', got 'no'"):
        runs.run_experiment("classification", SETTINGS, tmp_path)


def test_changed_code_is_another_baseline(score, tmp_path, monkeypatch):
    score()
    monkeypatch.setattr(baseline_cache, "_code_hash", lambda module: "other")
    assert score()[0]
    assert len(cached_files(tmp_path)) == 2


def test_the_folder_is_that_of_prepared_data(tmp_path, monkeypatch):
    config = tasks.get_task("classification")({}).config
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert baseline_cache.cache_folder(config) == tmp_path / "baselines"
    monkeypatch.delenv("TFDS_DATA_DIR")
    expected = pathlib.Path.home() / "tensorflow_datasets/baselines"
    assert baseline_cache.cache_folder(config) == expected


def test_a_second_run_with_another_cell_and_seed_reads_the_cache(tmp_path, monkeypatch):
    settings = {**SETTINGS, "data_dir": str(tmp_path / "data")}
    with small_data(), training.execution(eager=True):
        first = store.read_record(runs.run_experiment("classification", settings, tmp_path))
        monkeypatch.setattr(classification, "_predict_from_pixels", raising(MemoryError()))
        settings |= {"cell": "gru", "seed": 1}
        second = store.read_record(runs.run_experiment("classification", settings, tmp_path))
    assert first.cached_baselines == []
    assert second.cached_baselines == list(first.baselines)
    assert second.baseline_metrics == first.baseline_metrics
    assert str(tmp_path) not in "".join(p.read_text() for p in cached_files(tmp_path / "data"))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("classification", lambda e: e._replace(label=e.label + 1)),
        ("text_classification", lambda e: e._replace(text=e.text + "x")),
        ("translation", lambda e: e._replace(target=e.target + "x")),
        ("image_captioning", lambda e: e._replace(captions=[*e.captions, "x"])),
        ("video_labeling", lambda e: e._replace(labels=1 - e.labels)),
    ],
)
def test_every_task_says_what_its_baselines_depend_on(name, changed, tmp_path, monkeypatch):
    counts = {"train": 8, "validation": 2, "test": 4}
    monkeypatch.setattr(moving_shapes, "COUNTS", counts)
    monkeypatch.setattr(scenes, "COUNTS", {**counts, "unseen": 2})
    moving_shapes.generate_clips.cache_clear()
    scenes.generate_scenes.cache_clear()
    monkeypatch.setattr(cldr_dates, "SPLIT_SIZES", {"train": 30, "validation": 8, "test": 8})
    task = tasks.get_task(name)({"data_dir": str(tmp_path), "limit": 30})
    data = task.load_data()
    caches = [baseline_cache.BaselineCache(task, task.baseline(data).rows()) for _ in range(2)]
    assert caches[0].path("a") == caches[1].path("a") != caches[0].path("b")
    for split in ("train", "test"):
        examples = list(data.splits[split])
        examples[0] = changed(examples[0])
        other = experiment.Data(
            data.name, data.sha256, {**data.splits, split: examples}, data.preprocessors, data.notes
        )
        cache = baseline_cache.BaselineCache(task, task.baseline(other).rows())
        assert cache.path("a") != caches[0].path("a")
    moving_shapes.generate_clips.cache_clear()
    scenes.generate_scenes.cache_clear()


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("image classes", "classification"),
        ("text table", "text_classification"),
        ("pairs", "translation"),
        ("captions", "image_captioning"),
        ("image clips", "video_labeling"),
        ("feature clips", "video_labeling"),
    ],
)
def test_baselines_on_files_of_every_format_can_be_cached(form, name, tmp_path):
    make, _ = FORMS[form]
    path = make(tmp_path / "data")
    paths = []
    for seed in (0, 1):
        settings = {
            "dataset": str(path),
            "data_dir": str(tmp_path),
            "seed": seed,
        }
        task = tasks.get_task(name)(settings)
        rows = task.baseline(task.load_data()).rows()
        paths.append(baseline_cache.BaselineCache(task, rows).path("majority class"))
    assert paths[0] == paths[1]
