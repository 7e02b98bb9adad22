"""Files of strangers: each of these was made to do harm, and must end in one clear line."""

import io
import json
import os
import pathlib
import pickle
import re
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from rnn_topologies.cli import app, progress
from rnn_topologies.report import page as report
from rnn_topologies.runs import store, trained_model
from rnn_topologies.tasks.data import images as pixels
from rnn_topologies.tasks.data import vocabulary
from rnn_topologies.tasks.errors import UserError
from rnn_topologies.training import experiment

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The folder of a run that is as it should be."""
    place = tmp_path_factory.mktemp("results")
    films = place / "films.csv"
    films.write_text("text,label\n" + "".join(f"film {n},{n % 2}\n" for n in range(60)), "utf-8")
    shown = progress.Display(Console(file=io.StringIO()))
    settings = {"dataset": str(films), "units": 4, "epochs": 1}
    return experiment.run_experiment(
        "text_classification", settings, results_dir=place, display=shown
    )[1]


@pytest.fixture
def folder(good, tmp_path):
    """A copy of it, to be damaged; `tmp_path/results/runs/<run id>`."""
    return pathlib.Path(shutil.copytree(good, tmp_path / "results/runs" / good.name))


def refused(folder, message):
    with pytest.raises(UserError, match=message):
        trained_model.load_run(str(folder))


class Touch:
    """What a pickle can do: anything."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def npz(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array))
    return buffer.getvalue()


def test_the_folder_is_good_before_it_is_damaged(folder):
    assert trained_model.load_run(str(folder)).predict(["film 3"])[0] in ("0", "1")


def test_a_pickle_among_the_weights_is_not_opened(folder, tmp_path):
    touched = tmp_path / "touched"
    np.savez(folder / "weights.npz", **{"000.x": np.array([Touch(touched)], object)})
    refused(folder, "is not a weights file")
    (folder / "weights.npz").write_bytes(pickle.dumps(Touch(touched)))
    refused(folder, "is not a weights file")
    assert not touched.exists()


def test_a_keras_file_with_a_lambda_layer_is_not_opened(folder, tmp_path):
    touched = tmp_path / "touched"
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Lambda(
                lambda x, p=str(touched): __import__("pathlib").Path(p).touch() or x
            ),
        ]
    )
    model.save(tmp_path / "model.keras")
    touched.unlink(missing_ok=True)
    shutil.copy(tmp_path / "model.keras", folder / "weights.npz")
    refused(folder, "is not a weights file")
    assert not touched.exists()


def test_an_hdf5_file_with_an_external_link_is_not_followed(folder, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["000.x"] = h5py.ExternalLink("/etc/passwd", "/")
    shutil.copy(tmp_path / "weights.h5", folder / "weights.npz")
    refused(folder, "is not a weights file")


@pytest.mark.parametrize("name", ["../000.x.npy", "/etc/000.x.npy", "000.x/../../y.npy", "x.exe"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(folder, tmp_path, name):
    before = set(tmp_path.rglob("*"))
    npz(folder / "weights.npz", {name: npy([1.0])})
    refused(folder, "is not a valid array name")
    assert set(tmp_path.rglob("*")) == before


def test_weights_that_would_grow_in_memory_are_refused(folder):
    npz(folder / "weights.npz", {"000.x.npy": npy(np.zeros(1 << 20))}, zipfile.ZIP_DEFLATED)
    refused(folder, "000.x.npy is compressed")
    one = npy(np.zeros(1 << 10))
    npz(folder / "weights.npz", {f"{n:03d}.x.npy": one for n in range(2)})
    archive = bytearray((folder / "weights.npz").read_bytes())
    directory = archive.index(b"PK\x01\x02")
    second = archive.index(b"PK\x01\x02", directory + 4)
    entry = archive[directory:second]
    end = bytearray(archive[archive.index(b"PK\x05\x06") :])
    end[8:12] = struct.pack("<HH", 3, 3)  # the first array three times
    end[12:16] = struct.pack("<I", 3 * len(entry))
    alone = archive[: archive.index(b"PK\x03\x04", 4)]
    end[16:20] = struct.pack("<I", len(alone))
    (folder / "weights.npz").write_bytes(bytes(alone) + bytes(entry) * 3 + bytes(end))
    refused(folder, "its arrays are larger than the file")
    header = npy(np.zeros(4))
    huge = header.replace(b"(4,), ", b"(4000000000000,), ")[: len(header)]
    npz(folder / "weights.npz", {"000.x.npy": huge})
    refused(folder, "is not a weights file")
    npz(folder / "weights.npz", {"000.x.npy": npy(np.array(["text"]))})
    refused(folder, "is not a plain numeric array")


def change(folder, **fields):
    path = folder / "record.json"
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(record | fields), "utf-8")
    return record


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"run_id": "../../escaped"}, "run_id: String should match"),
        ({"schema": 99}, "schema 99, newer than"),
        ({"task": "../../os"}, "Unknown task"),
        ({"status": "perfect"}, "status: Input should be"),
        ({"metrics": {"status": 1.0}}, "metrics.status"),
        ({"metrics": {"test/x": "high"}}, "metrics.test/x: Input should be a valid number"),
        ({"surprise": 1}, "surprise: Unexpected"),
        ({"seconds": None}, "seconds: Input should be"),
        ({"data": None}, "has no model"),
        ({"data": {"name": "x"}}, "does not describe a model"),
    ],
)
def test_a_record_edited_by_hand_is_refused(folder, fields, message):
    change(folder, **fields)
    refused(folder, message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": 1 << 40}, "The weights do not fit the model"),
        ({"units": "4"}, "--units must be an integer, got '4'"),
        ({"units": 4.5}, "--units must be an integer"),
        ({"layers": True}, "--layers must be an integer"),
        ({"learning_rate": "high"}, "--learning-rate must be a number"),
        ({"layers": 100_000}, "--layers must be at most"),
        ({"cell": "__class__"}, "Unknown cell|does not describe a model"),
        ({"manual_dir": "/etc"}, "has manual_dir, which is never recorded"),
        ({"surprise": 1}, "Unknown setting of text_classification"),
    ],
)
def test_settings_that_no_run_has_are_refused(folder, settings, message):
    record = json.loads((folder / "record.json").read_text("utf-8"))
    change(folder, config=record["config"] | settings)
    refused(folder, message)


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for name in ("samples.jsonl", "record.json", "weights.npz", "source.json"):
        path = folder / name
        if path.exists():
            kept = path.read_bytes()
            path.unlink()
        path.symlink_to(secret)
        with pytest.raises(UserError, match=f"{name} is not a regular file"):
            store.find_file(folder, name)
        if name in ("record.json", "weights.npz"):
            refused(folder, "is not a regular file")
            path.unlink()
            path.write_bytes(kept)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder):
    (folder / "record.json").unlink()
    os.mkfifo(folder / "record.json")
    refused(folder, "is not a regular file")


def test_a_vocabulary_that_does_not_fit_is_refused(folder):
    (name,) = trained_model.load_run(str(folder)).task.preprocessors
    path = folder / f"{name}.json"
    path.write_text(
        vocabulary.build_character_vocabulary(["another alphabet: äöü"]).to_json(), "utf-8"
    )
    refused(folder, "The weights do not fit the model")
    path.write_text("[]", "utf-8")
    refused(folder, "This is not a vocabulary")
    path.unlink()
    refused(folder, "is missing")


def test_a_vocabulary_with_parts_that_are_not_ours_is_refused():
    fields = json.loads(vocabulary.build_word_vocabulary(["a word", "a word"], 100).to_json())
    fields["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    with pytest.raises(UserError, match="pre_tokenizer of type Split"):
        vocabulary.Vocabulary.from_json(json.dumps(fields))


def png(width, height):
    """A PNG of any size in a few bytes."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def test_an_image_that_decodes_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(9_000, 9_000))
    with pytest.raises(
        UserError, match="bomb.png.*9000 x 9000 pixels exceed the limit of 50,000,000"
    ):
        pixels.read_image(path)


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n")
    with pytest.raises(UserError, match="cannot be read as an image"):
        pixels.read_image(path)


def test_a_truncated_image_is_named(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), "uint8")).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="cut.png cannot be read as an image"):
        pixels.read_image(path)


def tell(capfd, *arguments):
    """Runs the command line here and returns its status and what it wrote on standard error."""
    sys.argv = ["runner.py", *map(str, arguments)]
    with pytest.raises(SystemExit) as end:
        app.main()
    return end.value.code, capfd.readouterr()


def test_damaged_runs_among_good_ones_are_named_and_skipped(good, folder, tmp_path, capfd):
    place = tmp_path / "results"
    shutil.copytree(good, place / "runs/another")
    (folder / "record.json").write_text("{", "utf-8")
    with pytest.warns(UserWarning, match=f"skipping .*{folder.name}: .*damaged"):
        status, shown = tell(capfd, "table", "--results-dir", place)
    assert not status
    assert "accuracy" in shown.out
    for name in ("epochs.csv", "samples.jsonl", "explained.jsonl"):
        path = place / "runs/another" / name
        kept = path.read_bytes()
        path.write_bytes(b'{"\xff')
        with pytest.warns(UserWarning, match="skipping"):
            status, _ = tell(capfd, "report", "--results-dir", place)
        assert not status
        path.write_bytes(kept)


def test_the_command_line_says_it_in_one_line(folder, capfd):
    (folder / "weights.npz").write_bytes(b"PK\x03\x04")
    status, shown = tell(capfd, "predict", folder, "a film")
    assert status == 2
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1


HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


def spoilt(value):
    """JSON with HTML in place of every text."""
    if isinstance(value, dict):
        return {name: spoilt(one) for name, one in value.items()}
    if isinstance(value, list):
        return [spoilt(one) for one in value]
    return HOSTILE + value if isinstance(value, str) else value


def test_html_in_every_text_is_shown_and_not_obeyed(folder, tmp_path):
    path = folder / "record.json"
    record = json.loads(path.read_text("utf-8"))
    kept = {name: record[name] for name in ("run_id", "status")}
    hostile = {f"{HOSTILE} {name}": value for name, value in record["baselines"].items()}
    record = spoilt(record) | kept | {"baselines": hostile}
    record["metrics"][f"test/{HOSTILE}"] = 1.0
    record["config"][HOSTILE] = HOSTILE
    path.write_text(json.dumps(record), "utf-8")
    for name in ("samples.jsonl", "explained.jsonl"):
        lines = [json.loads(line) for line in (folder / name).open(encoding="utf-8")]
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(spoilt(line)) + "\n" for line in lines)
    page = report.write_report(tmp_path / "results").read_text("utf-8")
    assert "window.hacked" in page
    assert "<script>window.hacked" not in page
    assert "<img src=x" not in page
    policy = re.search(r"script-src 'nonce-([\w-]+)'", page)[1]
    assert page.count("<script>") == 0
    assert page.count(f'<script nonce="{policy}">') == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may cut the network off (unshare -n)")
def test_the_default_jobs_run_with_the_network_cut_off(tmp_path):
    done = subprocess.run(
        [
            *("unshare", "-n", sys.executable, ROOT / "runner.py", "--task", "all"),
            *("--limit", "40", "--epochs", "1", "--units", "4"),
            *("--data-dir", tmp_path / "data", "--results-dir", tmp_path / "results"),
        ],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert len(store.list_run_folders(tmp_path / "results")) == 5
