"""Untrusted files: each of these is malicious or damaged, and must end in one clear message."""

import io
import json
import os
import pathlib
import pickle
import re
import shutil
import socket
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

from rnn_topologies import tasks
from rnn_topologies.report import page as report
from rnn_topologies.runs import store, trained_model
from rnn_topologies.tasks.data import images, vocabulary
from rnn_topologies.tasks.errors import UserError

from ..support import runs, training
from ..support.paths import ROOT
from ..support.small_data import small_data


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The folder of a run as this program writes it."""
    results_dir = tmp_path_factory.mktemp("results")
    reviews = results_dir / "reviews.csv"
    rows = "".join(f"film {number},{number % 2}\n" for number in range(60))
    reviews.write_text(f"text,label\n{rows}", "utf-8")
    settings = {"dataset": str(reviews), "units": 4, "epochs": 1}
    with training.execution(eager=True):
        return runs.run_experiment("text_classification", settings, results_dir)


@pytest.fixture
def folder(intact, tmp_path):
    """A copy of it to tamper with: `tmp_path/results/runs/<run id>`."""
    return pathlib.Path(shutil.copytree(intact, tmp_path / "results/runs" / intact.name))


def assert_refused(folder, message):
    with pytest.raises(UserError, match=message):
        trained_model.load_run(str(folder))


class Touch:
    """Runs a shell command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def write_npz(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy_bytes(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array))
    return buffer.getvalue()


def test_an_intact_run_is_loaded(folder):
    assert trained_model.load_run(str(folder)).predict(["film 3"])[0] in ("0", "1")


def test_a_pickle_in_the_weights_is_not_loaded(folder, tmp_path):
    touched = tmp_path / "touched"
    np.savez(folder / "weights.npz", **{"000.x": np.array([Touch(touched)], object)})
    assert_refused(folder, "is not a weights file")
    (folder / "weights.npz").write_bytes(pickle.dumps(Touch(touched)))
    assert_refused(folder, "is not a weights file")
    assert not touched.exists()


def test_a_keras_file_with_a_lambda_layer_is_not_loaded(folder, tmp_path):
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
    assert_refused(folder, "is not a weights file")
    assert not touched.exists()


def test_an_hdf5_file_with_an_external_link_is_not_followed(folder, tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["000.x"] = h5py.ExternalLink("/etc/passwd", "/")
    shutil.copy(tmp_path / "weights.h5", folder / "weights.npz")
    assert_refused(folder, "is not a weights file")


@pytest.mark.parametrize("name", ["../000.x.npy", "/etc/000.x.npy", "000.x/../../y.npy", "x.exe"])
def test_an_archive_with_a_path_outside_its_folder_is_refused(folder, tmp_path, name):
    before = set(tmp_path.rglob("*"))
    write_npz(folder / "weights.npz", {name: npy_bytes([1.0])})
    assert_refused(folder, "is not a valid array name")
    assert set(tmp_path.rglob("*")) == before


def test_weights_larger_in_memory_than_on_disk_are_refused(folder):
    write_npz(
        folder / "weights.npz", {"000.x.npy": npy_bytes(np.zeros(1 << 20))}, zipfile.ZIP_DEFLATED
    )
    assert_refused(folder, "000.x.npy is compressed")
    array = npy_bytes(np.zeros(1 << 10))
    write_npz(folder / "weights.npz", {f"{number:03d}.x.npy": array for number in range(2)})
    archive = bytearray((folder / "weights.npz").read_bytes())
    directory = archive.index(b"PK\x01\x02")
    second = archive.index(b"PK\x01\x02", directory + 4)
    entry = archive[directory:second]
    end = bytearray(archive[archive.index(b"PK\x05\x06") :])
    end[8:12] = struct.pack("<HH", 3, 3)  # three entries for the first array
    end[12:16] = struct.pack("<I", 3 * len(entry))
    first = archive[: archive.index(b"PK\x03\x04", 4)]
    end[16:20] = struct.pack("<I", len(first))
    (folder / "weights.npz").write_bytes(bytes(first) + bytes(entry) * 3 + bytes(end))
    assert_refused(folder, "its arrays are larger than the file")
    header = npy_bytes(np.zeros(4))
    huge = header.replace(b"(4,), ", b"(4000000000000,), ")[: len(header)]
    write_npz(folder / "weights.npz", {"000.x.npy": huge})
    assert_refused(folder, "is not a weights file")
    write_npz(folder / "weights.npz", {"000.x.npy": npy_bytes(np.array(["text"]))})
    assert_refused(folder, "is not a plain numeric array")


def edit_record(folder, **fields):
    path = folder / "record.json"
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(record | fields), "utf-8")


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
    edit_record(folder, **fields)
    assert_refused(folder, message)


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
def test_impossible_settings_in_a_record_are_refused(folder, settings, message):
    record = json.loads((folder / "record.json").read_text("utf-8"))
    edit_record(folder, config=record["config"] | settings)
    assert_refused(folder, message)


def test_a_link_to_a_file_outside_the_folder_is_not_followed(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for name in ("samples.jsonl", "record.json", "weights.npz", "source.json"):
        path = folder / name
        if path.exists():
            content = path.read_bytes()
            path.unlink()
        path.symlink_to(secret)
        with pytest.raises(UserError, match=f"{name} is not a regular file"):
            store.find_file(folder, name)
        if name in ("record.json", "weights.npz"):
            assert_refused(folder, "is not a regular file")
            path.unlink()
            path.write_bytes(content)


def test_a_named_pipe_is_refused_instead_of_waited_for(folder):
    (folder / "record.json").unlink()
    os.mkfifo(folder / "record.json")
    assert_refused(folder, "is not a regular file")


def test_a_vocabulary_that_does_not_match_the_weights_is_refused(folder):
    (name,) = trained_model.load_run(str(folder)).task.preprocessors
    path = folder / f"{name}.json"
    path.write_text(
        vocabulary.build_character_vocabulary(["another, larger alphabet: äöüß"]).to_json(), "utf-8"
    )
    assert_refused(folder, "The weights do not fit the model")
    path.write_text("[]", "utf-8")
    assert_refused(folder, "This is not a vocabulary")
    path.unlink()
    assert_refused(folder, "is missing")


def test_a_vocabulary_with_unsupported_components_is_refused():
    fields = json.loads(vocabulary.build_word_vocabulary(["a word", "a word"], 100).to_json())
    fields["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    with pytest.raises(UserError, match="pre_tokenizer of type Split"):
        vocabulary.Vocabulary.from_json(json.dumps(fields))


def png_bytes(width, height):
    """Returns a PNG of any size in a few bytes."""

    def chunk(kind, content):
        data = kind + content
        return struct.pack(">I", len(content)) + data + struct.pack(">I", zlib.crc32(data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def test_an_image_that_decodes_to_gigabytes_is_refused(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bytes(9_000, 9_000))
    with pytest.raises(
        UserError, match="bomb.png.*9000 x 9000 pixels exceed the limit of 50,000,000"
    ):
        images.read_image(path)


def test_a_postscript_program_named_png_is_not_executed(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n")
    with pytest.raises(UserError, match="cannot be read as an image"):
        images.read_image(path)


def test_a_truncated_image_is_reported_by_name(tmp_path):
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), "uint8")).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="cut.png cannot be read as an image"):
        images.read_image(path)


def test_damaged_runs_are_skipped_with_a_warning(intact, folder, tmp_path, capfd):
    results_dir = tmp_path / "results"
    shutil.copytree(intact, results_dir / "runs/another")
    (folder / "record.json").write_text("{", "utf-8")
    with pytest.warns(UserWarning, match=f"skipping .*{folder.name}: .*damaged"):
        status = runs.run_main("table", "--results-dir", results_dir)
    assert status == 0
    assert "accuracy" in capfd.readouterr().out
    for name in ("epochs.csv", "samples.jsonl", "explained.jsonl"):
        path = results_dir / "runs/another" / name
        content = path.read_bytes()
        path.write_bytes(b'{"\xff')
        with pytest.warns(UserWarning, match="skipping"):
            status = runs.run_main("report", "--results-dir", results_dir)
        assert status == 0
        path.write_bytes(content)


def test_the_command_line_reports_damage_in_one_line(folder, capfd):
    (folder / "weights.npz").write_bytes(b"PK\x03\x04")
    assert runs.run_main("predict", folder, "a film") == 2
    errors = capfd.readouterr().err
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1


HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


def inject_html(value):
    """Returns a JSON value with a script added to every text."""
    if isinstance(value, dict):
        return {name: inject_html(item) for name, item in value.items()}
    if isinstance(value, list):
        return [inject_html(item) for item in value]
    return HOSTILE + value if isinstance(value, str) else value


def test_html_in_any_text_is_escaped_in_the_report(folder, tmp_path):
    path = folder / "record.json"
    record = json.loads(path.read_text("utf-8"))
    unchanged = {name: record[name] for name in ("run_id", "status")}
    baselines = {f"{HOSTILE} {name}": value for name, value in record["baselines"].items()}
    record = inject_html(record) | unchanged | {"baselines": baselines}
    record["metrics"][f"test/{HOSTILE}"] = 1.0
    record["config"][HOSTILE] = HOSTILE
    path.write_text(json.dumps(record), "utf-8")
    for name in ("samples.jsonl", "explained.jsonl"):
        lines = [json.loads(line) for line in (folder / name).open(encoding="utf-8")]
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(inject_html(line)) + "\n" for line in lines)
    page = report.write_report(tmp_path / "results").read_text("utf-8")
    assert "window.hacked" in page
    assert "<script>window.hacked" not in page
    assert "<img src=x" not in page
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", page)[1]
    assert page.count("<script>") == 0
    assert page.count(f'<script nonce="{nonce}">') == 2


# The other tasks render their data.
@pytest.mark.parametrize("name", ["classification", "text_classification", "translation"])
def test_default_data_are_loaded_without_network(name, tmp_path, monkeypatch):
    def connect(*_):
        raise AssertionError("A default data set must not be downloaded.")

    for method in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, method, connect)
    task = tasks.get_task(name)({"limit": 40, "data_dir": str(tmp_path)})
    with small_data():
        assert len(task.load_data().splits["train"]) == 40


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may disable the network (unshare -n)")
def test_all_tasks_run_on_their_default_data_without_network(tmp_path):
    command = ["unshare", "-n", sys.executable, "-m", "tests.support.small_data", "--task", "all"]
    flags = ["--limit", "40", "--epochs", "1", "--units", "4"]
    folders = ["--data-dir", str(tmp_path / "data"), "--results-dir", str(tmp_path / "results")]
    process = subprocess.run(
        [*command, *flags, *folders], capture_output=True, text=True, timeout=900, cwd=ROOT
    )
    assert process.returncode == 0, process.stderr
    assert len(store.list_run_folders(tmp_path / "results")) == 5
