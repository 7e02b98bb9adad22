"""Trains all tasks with one command, and uses their runs."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple

import keras
import numpy as np
import pytest
from PIL import Image

import rnn_topologies
from rnn_topologies import tasks
from rnn_topologies.cli import app
from rnn_topologies.report import figures
from rnn_topologies.runs import store, trained_model
from rnn_topologies.tasks.data.sources import moving_shapes
from rnn_topologies.tasks.data.sources.cldr_dates import cldr_dates_dataset_builder as cldr_dates
from rnn_topologies.tasks.data.sources.scenes import dataset as scenes
from rnn_topologies.tasks.errors import UserError

from ..support.paths import ROOT, RUNNER
from ..support.runs import run_main

TASKS = tasks.task_names()
WITH_ATTENTION = ("image_captioning", "translation")


class Runs(NamedTuple):
    """Small runs of all tasks.

    Attributes:
        results_dir: the results folder.
        folders: `{task: folder of its run}`.
        data_dir: where the data sets are prepared.
        output: what the command printed.
    """

    results_dir: pathlib.Path
    folders: dict[str, pathlib.Path]
    data_dir: pathlib.Path
    output: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Trains all tasks on small data sets, in this process."""
    results_dir, data_dir = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("data")
    clips = {name: rows[:20] for name, rows in moving_shapes.generate_clips().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "COUNTS", {"train": 40, "validation": 8, "test": 8, "unseen": 4})
        patch.setattr(cldr_dates, "SPLIT_SIZES", {"train": 64, "validation": 16, "test": 16})
        patch.setattr(moving_shapes, "generate_clips", lambda: clips)
        patch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "tensorflow"))
        patch.setenv("COLUMNS", "80")
        scenes.generate_scenes.cache_clear()
        arguments = [*("--task", "all", "--cell", "lstm", "--units", "4", "--limit", "40")]
        arguments += ["--epochs", "1", "--data-dir", data_dir, "--results-dir", results_dir]
        with contextlib.redirect_stdout(io.StringIO()) as output:
            assert run_main(*arguments) == 0
        folders = {store.read_record(f).task: f for f in store.list_run_folders(results_dir)}
        yield Runs(results_dir, folders, data_dir, output.getvalue())
    scenes.generate_scenes.cache_clear()


@pytest.fixture(scope="module")
def models(runs):
    """`{task: trained model}`, each rebuilt from the folder of its run."""
    return {task: trained_model.load_run(str(folder)) for task, folder in runs.folders.items()}


def run_cli(capfd, *arguments) -> str:
    app.build_main_app()(list(arguments), standalone_mode=False)
    return capfd.readouterr().out


def test_all_tasks_train_in_turn_and_end_in_one_table(runs):
    assert sorted(runs.folders) == TASKS
    lines = runs.output.rpartition("all on the test split")[2].splitlines()
    for task, folder in runs.folders.items():
        record = store.read_record(folder)
        assert record.status == "ok"
        assert record.cell == "lstm"
        (number,) = (n for n, line in enumerate(lines) if line.startswith(task))
        scores = record.headline["value"], max(record.baselines.values())
        _, dataset, *rest = lines[number].split()
        assert dataset == record.dataset
        assert rest[:2] == [f"{score:.3f}" for score in scores]
        assert lines[number + 1].split("  ")[0] == record.topology
        assert lines[number + 1].split()[-1] == record.headline["name"]


@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_rebuilt_from_its_folder(runs, models, task):
    data = tasks.get_task(task)({"data_dir": str(runs.data_dir), "limit": 40}).load_data()
    index = 0 if task in ("text_classification", "translation") else 1
    inputs = [example[index] for example in data.splits["test"][:5]]
    samples = store.read_json_lines(runs.folders[task], "samples.jsonl")[:5]
    if task == "video_labeling":
        classes = data.notes["classes"]
        expected = [[classes[label] for label in row["predicted"]] for row in samples]
    else:
        expected = [row["output"] for row in samples]
    assert models[task].predict(inputs) == expected


@pytest.mark.parametrize("task", TASKS)
def test_a_run_explains_some_of_its_outputs(runs, models, task):
    folder = runs.folders[task]
    samples = store.read_json_lines(folder, "samples.jsonl")
    explained = store.read_json_lines(folder, "explained.jsonl")
    assert explained
    for one in explained:
        sample = samples[one["index"]]
        if task == "video_labeling":
            names = models[task].data.notes["classes"]
            assert one["output"] == [names[label] for label in sample["predicted"]]
            assert len(one["probabilities"]) == len(sample["labels"])
            frames = figures.decode_png(one["image"])
            assert frames.shape[1] == len(sample["labels"]) * frames.shape[0]
        else:
            assert one["output"] == sample["output"]
        if "attention" in one:
            weights = np.array(one["attention"])
            places = np.prod(one["grid"]) if "grid" in one else len(one["steps"])
            assert weights.shape == (len(one["written"]), places)
            np.testing.assert_allclose(weights.sum(axis=1), 1, atol=0.01)
        if "probabilities" in one and task != "video_labeling":
            assert one["classes"][int(np.argmax(one["probabilities"][-1]))] == sample["output"]
    assert ("attention" in explained[0]) == (task in WITH_ATTENTION)


@pytest.mark.parametrize("task", TASKS)
def test_explanations_are_drawn(runs, task, tmp_path):
    explained = store.read_json_lines(runs.folders[task], "explained.jsonl")[:2]
    figures.save_figure(
        figures.draw_explanations(["one", "two"][: len(explained)], explained), tmp_path / "e.png"
    )
    with Image.open(tmp_path / "e.png") as image:
        assert image.size[0] > 600
        assert len(image.convert("RGB").getcolors(1 << 24)) > 10


@pytest.mark.parametrize("task", ["text_classification", "translation"])
def test_a_sentence_gets_the_same_output_as_in_the_test(runs, task, capfd):
    sample = store.read_json_lines(runs.folders[task], "samples.jsonl")[0]
    results_dir = str(runs.results_dir)
    out = run_cli(capfd, "predict", f"best:{task}", sample["source"], "--results-dir", results_dir)
    assert out.rstrip("\n") == sample["output"].rstrip("\n")


def test_a_run_is_loaded_by_the_name_of_its_task(runs):
    model = rnn_topologies.load_run("best:text_classification", results_dir=runs.results_dir)
    sample = store.read_json_lines(runs.folders["text_classification"], "samples.jsonl")[0]
    assert model.predict([sample["source"]]) == [sample["output"]]


def test_an_image_and_a_clip_are_read_from_files(runs, models, capfd, tmp_path):
    results_dir = str(runs.results_dir)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8), "uint8")
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    out = run_cli(
        capfd, "predict", "best:classification", str(tmp_path / "digit.png"), "--json",
        "--results-dir", results_dir, "--explain", str(tmp_path / "why.png"),
    )  # fmt: skip
    answer = json.loads(out)
    assert answer["output"] == models["classification"].predict([pixels[..., None]])[0]
    assert (tmp_path / "why.png").stat().st_size > 1000
    clip = tmp_path / "clip"
    clip.mkdir()
    size = models["video_labeling"].data.notes["frame_shape"][0]
    for number in range(3):
        Image.fromarray(np.full((size, size), 60 * number, "uint8")).save(clip / f"{number}.png")
    out = run_cli(
        capfd, "predict", "best:video_labeling", str(clip), "--json", "--results-dir", results_dir
    )
    assert len(json.loads(out)["output"]) == 3


def test_a_file_gives_an_input_on_each_line(runs, capfd, tmp_path):
    (tmp_path / "in.txt").write_text("Deutschland\n\nSri Lanka\n", "utf-8")
    out = run_cli(
        capfd, "predict", "best:text_classification", "--file", str(tmp_path / "in.txt"), "--json",
        "--results-dir", str(runs.results_dir),
    )  # fmt: skip
    assert [json.loads(line)["input"] for line in out.splitlines()] == ["Deutschland", "Sri Lanka"]


def test_an_input_that_fails_does_not_stop_the_others(runs, models, capfd, tmp_path):
    size = models["classification"].data.notes["image_shape"][0]
    names = [tmp_path / f"{number}.png" for number in range(5)]
    for number, name in enumerate(names):
        Image.fromarray(np.full((size, size), 50 * number, "uint8")).save(name)
    expected = models["classification"].predict([str(name) for name in names])
    inputs = [str(name) for name in (*names[:3], tmp_path / "missing.png", *names[3:])]
    arguments = ("best:classification", *inputs, "--results-dir", str(runs.results_dir))
    with pytest.raises(UserError, match="1 of 6 inputs failed"):
        app.build_main_app()(["predict", *arguments, "--json"], standalone_mode=False)
    printed = capfd.readouterr()
    answers = [json.loads(line) for line in printed.out.splitlines()]
    assert [answer["input"] for answer in answers] == inputs
    assert [answer["output"] for answer in answers if "output" in answer] == expected
    assert "missing.png cannot be read as an image" in answers[3]["error"]
    assert printed.err.splitlines()[-1] == f"error: {answers[3]['error']}"
    assert run_main("predict", *arguments) == 2
    printed = capfd.readouterr()
    assert printed.out.splitlines()[-2:] == [inputs[-1], f"    {expected[-1]}"]


def test_names_that_are_not_utf8_are_printed(runs, models, capfd, tmp_path):
    size = models["classification"].data.notes["image_shape"][0]
    path = tmp_path / "caf\udce9 [red], \n🐱.png"
    Image.fromarray(np.zeros((size, size), "uint8")).save(path, "PNG")
    inputs = (str(path), str(path.with_suffix(".jpg")))
    arguments = (*inputs, "--json", "--results-dir", str(runs.results_dir))
    assert run_main("predict", "best:classification", *arguments) == 2
    answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert answers[0]["input"].endswith("caf\\xe9 [red], \n🐱.png")
    assert "caf\\xe9" in answers[1]["error"]


@pytest.mark.parametrize("task", ["translation", "image_captioning"])
def test_n_best_outputs_come_from_the_beam_search(runs, task, capfd):
    folder = runs.folders[task]
    model = trained_model.load_run(str(folder), beam_size=4)
    if task == "translation":
        raw = store.read_json_lines(folder, "samples.jsonl")[0]["source"]
    else:
        size = model.data.notes["image_shape"]
        raw = np.random.default_rng(0).integers(0, 255, size, "uint8")
    best = model.n_best([raw], 3)[0]
    assert len(best) == 3
    assert best[0] == model.predict([raw])[0]
    if task == "translation":
        out = run_cli(
            capfd, "predict", str(folder), raw, "--n-best", "3", "--beam-size", "4",
            "--json", "--results-dir", str(runs.results_dir),
        )  # fmt: skip
        assert json.loads(out) == {"input": raw, "output": best[0], "n_best": best}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("best:classification",), "Give an input"),
        (("best:classification", "nothing.png"), "nothing.png cannot be read as an image"),
        (("best:classification", "x", "--n-best", "2"), "is not a generation task"),
        (("best:translation", "x", "--explain", "why.doc"), "must end in .png"),
        (("best:translation", "--file", "nothing.txt"), "Cannot read --file nothing.txt"),
        (("best:video_labeling", "nothing"), "neither a folder of images"),
        (("best:everything", "x"), "Unknown task"),
    ],
)
def test_user_errors_are_reported(runs, arguments, message, capfd):
    with pytest.raises(UserError, match=message):
        run_cli(capfd, "predict", *arguments, "--results-dir", str(runs.results_dir))


def test_a_run_without_weights_is_reported(capfd):
    with pytest.raises(UserError, match="has no weights"):
        run_cli(
            capfd, "predict", "best:classification/digits", "x.png",
            "--results-dir", str(ROOT / "results/reference"),
        )  # fmt: skip


def test_a_clip_of_another_size_is_refused(models):
    with pytest.raises(UserError, match="have the shape"):
        models["video_labeling"].predict([np.zeros((4, 3), "float32")])


@pytest.mark.parametrize("arguments", [("table",), ("table", "--format", "csv"), ("report",)])
def test_tables_and_reports_are_written_without_warnings(runs, arguments, capfd):
    assert run_main(*arguments, "--results-dir", runs.results_dir) == 0
    printed = capfd.readouterr()
    assert printed.out
    assert printed.err == ""
    if arguments == ("report",):
        assert (runs.results_dir / "report.html").stat().st_size < 5e6


def test_the_table_is_printed_by_a_new_process(runs):
    done = subprocess.run(
        [sys.executable, RUNNER, "table", "--results-dir", runs.results_dir],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "video_labeling" in done.stdout


def test_every_epoch_is_logged_for_tensorboard(runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = runs.folders["classification"]
    (row,) = store.read_epochs(folder)
    for part, column in (("train", "loss"), ("validation", "val_loss")):
        log = EventAccumulator(str(folder / "tensorboard" / part))
        log.Reload()
        (event,) = log.Tensors("loss")
        assert event.step == 1
        value = np.frombuffer(event.tensor_proto.tensor_content, "float32")
        value = value[0] if len(value) else event.tensor_proto.float_val[0]
        assert value == pytest.approx(row[column], rel=1e-5)


def test_the_model_of_a_run_is_a_keras_model(models):
    assert isinstance(models["translation"].model, keras.Model)
