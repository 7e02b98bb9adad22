import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import rnn_topologies
from rnn_topologies.cli import app, progress
from rnn_topologies.report import figures
from rnn_topologies.runs import store, trained_model
from rnn_topologies.tasks.data.sources.scenes import dataset as scenes
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import experiment

ROOT = pathlib.Path(__file__).parents[2]
SMALL = {"units": 4, "epochs": 1, "limit": 40}
TASKS = {
    "classification": {},
    "image_captioning": {"attention": "additive"},
    "text_classification": {},
    "translation": {"attention": "dot"},
    "video_labeling": {},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Small runs of all tasks: `{task: folder}`, and the results folder."""
    patch = pytest.MonkeyPatch()
    patch.setattr(scenes, "COUNTS", {"train": 40, "validation": 8, "test": 8, "unseen": 4})
    scenes.generate_scenes.cache_clear()
    place = tmp_path_factory.mktemp("predict")
    shown = progress.Display(Console(file=(place / "output.txt").open("w")))
    settings = {**SMALL, "data_dir": str(place / "data")}
    found = {
        task: experiment.run_experiment(task, settings | own, results_dir=place, display=shown)[1]
        for task, own in TASKS.items()
    }
    yield place, found
    patch.undo()
    scenes.generate_scenes.cache_clear()


def run_cli(capfd, *arguments) -> str:
    app.build_main_app()(list(arguments), standalone_mode=False)
    return capfd.readouterr().out


@pytest.mark.parametrize("task", TASKS)
def test_a_run_keeps_how_it_came_to_some_answers(runs, task):
    folder = runs[1][task]
    samples = store.read_json_lines(folder, "samples.jsonl")
    explained = store.read_json_lines(folder, "explained.jsonl")
    assert explained
    model = trained_model.load_run(str(folder))
    for one in explained:
        sample = samples[one["index"]]
        if task == "video_labeling":
            names = model.data.notes["classes"]
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
    assert ("attention" in explained[0]) == ("attention" in TASKS[task])


@pytest.mark.parametrize("task", TASKS)
def test_explanations_are_drawn(runs, task, tmp_path):
    folder = runs[1][task]
    explained = store.read_json_lines(folder, "explained.jsonl")[:2]
    figures.save_figure(
        figures.draw_explanations(["one", "two"][: len(explained)], explained), tmp_path / "e.png"
    )
    with Image.open(tmp_path / "e.png") as image:
        assert image.size[0] > 600
        assert len(image.convert("RGB").getcolors(1 << 24)) > 10


@pytest.mark.parametrize("task", ["text_classification", "translation"])
def test_a_sentence_is_answered_as_in_the_test(runs, task, capfd):
    place, folders = runs
    sample = store.read_json_lines(folders[task], "samples.jsonl")[0]
    out = run_cli(capfd, "predict", f"best:{task}", sample["source"], "--results-dir", str(place))
    assert out.rstrip("\n") == sample["output"].rstrip("\n")
    assert rnn_topologies.load_run(f"best:{task}", results_dir=place).predict(
        [sample["source"]]
    ) == [sample["output"]]


def test_an_image_and_a_clip_are_read_from_files(runs, capfd, tmp_path):
    place, folders = runs
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8), "uint8")
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    out = run_cli(
        capfd, "predict", "best:classification", str(tmp_path / "digit.png"), "--json",
        "--results-dir", str(place), "--explain", str(tmp_path / "why.png"),
    )  # fmt: skip
    answer = json.loads(out)
    model = trained_model.load_run(str(folders["classification"]))
    assert answer["output"] == model.predict([pixels[..., None]])[0]
    assert (tmp_path / "why.png").stat().st_size > 1000
    clip = tmp_path / "clip"
    clip.mkdir()
    size = trained_model.load_run(str(folders["video_labeling"])).data.notes["frame_shape"][0]
    for number in range(3):
        Image.fromarray(np.full((size, size), 60 * number, "uint8")).save(clip / f"{number}.png")
    out = run_cli(
        capfd, "predict", "best:video_labeling", str(clip), "--json", "--results-dir", str(place)
    )
    assert len(json.loads(out)["output"]) == 3


def test_a_file_gives_an_input_on_each_line(runs, capfd, tmp_path):
    (tmp_path / "in.txt").write_text("Deutschland\n\nSri Lanka\n", "utf-8")
    out = run_cli(
        capfd, "predict", "best:text_classification", "--file", str(tmp_path / "in.txt"), "--json",
        "--results-dir", str(runs[0]),
    )  # fmt: skip
    assert [json.loads(line)["input"] for line in out.splitlines()] == ["Deutschland", "Sri Lanka"]


@pytest.mark.parametrize("task", ["translation", "image_captioning"])
def test_the_n_best_are_those_of_the_beam_search(runs, task, capfd):
    place, folders = runs
    model = trained_model.load_run(str(folders[task]), beam_size=4)
    if task == "translation":
        raw = store.read_json_lines(folders[task], "samples.jsonl")[0]["source"]
    else:
        size = model.data.notes["image_shape"]
        raw = np.random.default_rng(0).integers(0, 255, size, "uint8")
    best = model.n_best([raw], 3)[0]
    assert len(best) == 3
    assert best[0] == model.predict([raw])[0]
    if task == "translation":
        out = run_cli(
            capfd, "predict", str(folders[task]), raw, "--n-best", "3", "--beam-size", "4",
            "--json", "--results-dir", str(place),
        )  # fmt: skip
        assert json.loads(out) == {"input": raw, "output": best[0], "n_best": best}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("best:classification",), "Give an input"),
        (("best:classification", "nothing.png"), "nothing.png cannot be read as an image"),
        (("best:classification", "x", "--n-best", "2"), "does not write"),
        (("best:translation", "x", "--explain", "why.doc"), "must end in .png"),
        (("best:translation", "--file", "nothing.txt"), "nothing.txt cannot be read"),
        (("best:video_labeling", "nothing"), "neither a folder of images"),
        (("best:everything", "x"), "Unknown task"),
    ],
)
def test_mistakes_are_told(runs, arguments, message, capfd):
    with pytest.raises(UserError, match=message):
        run_cli(capfd, "predict", *arguments, "--results-dir", str(runs[0]))


def test_a_run_without_weights_is_told(capfd):
    with pytest.raises(UserError, match="has no weights"):
        run_cli(
            capfd, "predict", "best:classification", "x.png",
            "--results-dir", str(ROOT / "results/reference"),
        )  # fmt: skip


def test_a_clip_of_another_size_is_told(runs):
    model = trained_model.load_run(str(runs[1]["video_labeling"]))
    with pytest.raises(UserError, match="have the shape"):
        model.predict([np.zeros((4, 3), "float32")])


def test_the_reading_commands_answer_from_outside(runs):
    place, _ = runs
    for arguments in (("table",), ("table", "--format", "csv"), ("report",)):
        done = subprocess.run(
            [sys.executable, ROOT / "runner.py", *arguments, "--results-dir", place],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert done.stdout
    assert (place / "report.html").stat().st_size < 5e6


def test_every_epoch_is_logged_for_tensorboard(runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = runs[1]["classification"]
    (row,) = store.read_epochs(folder)
    for part, column in (("train", "loss"), ("validation", "val_loss")):
        log = EventAccumulator(str(folder / "tensorboard" / part))
        log.Reload()
        (event,) = log.Tensors("loss")
        assert event.step == 1
        value = np.frombuffer(event.tensor_proto.tensor_content, "float32")
        value = value[0] if len(value) else event.tensor_proto.float_val[0]
        assert value == pytest.approx(row[column], rel=1e-5)


def test_the_model_of_a_run_is_keras(runs):
    assert isinstance(trained_model.load_run(str(runs[1]["translation"])).model, keras.Model)
