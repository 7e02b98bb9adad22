"""What a wheel holds, and that it works without the checkout."""

import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from rnn_topologies import layers

from ..support.paths import ROOT, code_blocks

WHEEL = "RNN_TOPOLOGIES_WHEEL"  # environment variable: an already built wheel of this checkout


def build_wheel(folder: pathlib.Path, **environment: str) -> pathlib.Path:
    """Builds a wheel from a copy of the checkout, so that no old build is packed with it."""
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", "build", "results", "*.so", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ignored, symlinks=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, source],
        check=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    built = os.environ.get(WHEEL)
    return pathlib.Path(built) if built else build_wheel(tmp_path_factory.mktemp("wheel"))


def names_in(wheel: pathlib.Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="session")
def site(wheel, tmp_path_factory):
    """Returns a folder with the installed wheel, without its dependencies."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", site, wheel],
        check=True,
        timeout=300,
    )
    return site


@pytest.mark.slow
def test_the_layers_work_from_a_wheel_next_to_modules_of_the_same_names(site, tmp_path):
    """Runs the README's lines in a project that has its own layers.py and tasks.py."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("layers", "tasks"):
        (project / f"{name}.py").write_text(f"MINE = {name!r}\n", "utf-8")
    code = code_blocks("README.md", "python")[0]
    assert len([line for line in code.splitlines() if line]) == 8
    check = (
        "import layers, tasks, rnn_topologies\n"
        "assert (layers.MINE, tasks.MINE) == ('layers', 'tasks')\n"
        "print(rnn_topologies.__file__, model.output_shape)\n"
    )
    (project / "train.py").write_text(code + check, "utf-8")
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"{site / 'rnn_topologies' / '__init__.py'} (None, None, 3)"
    )


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_every_file(wheel):
    names = names_in(wheel)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"rnn_topologies"}
    for folder in ("layers", "tasks", "rnn_topologies"):
        home = "rnn_topologies" if folder == "rnn_topologies" else f"rnn_topologies/{folder}"
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".tsv", ".css", ".html", ".js"):
                assert f"{home}/{path.relative_to(ROOT / folder)}" in names
    assert any(name.startswith("rnn_topologies/layers/native/_kernel.") for name in names)


@pytest.mark.slow
def test_without_a_compiler_everything_but_the_cpu_kernel_is_installed(tmp_path):
    names = names_in(build_wheel(tmp_path, CC="false", CXX="false"))
    assert "rnn_topologies/layers/native/compiled.py" in names
    assert not any(name.endswith(".so") for name in names)


def test_the_checkout_exports_the_same_classes(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    before = set(sys.modules)
    try:
        from_checkout = importlib.import_module("layers")
        assert importlib.import_module("layers.cells.gru").GRUCell is layers.GRUCell
        assert importlib.import_module("layers.decoding.search") is not None
        assert from_checkout.LSTM is layers.LSTM
        assert from_checkout.Decoder is layers.Decoder
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "layers":
                del sys.modules[name]


@pytest.mark.slow
def test_the_checkout_exports_the_same_classes_to_a_new_process():
    code = (
        "from layers import LSTM, Decoder; from layers.cells.gru import GRUCell\n"
        "import layers.decoding.search\n"
        "import rnn_topologies.layers as ours\n"
        "assert LSTM is ours.LSTM and Decoder is ours.Decoder and GRUCell is ours.GRUCell"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


USER_CODE = """from rnn_topologies.layers import LSTM, Bidirectional, Decoder, GRUCell

LSTM("sixty-four")
LSTM(64, retrun_sequences=True)
LSTM("sixty-four", retrun_sequences=True)
Bidirectional(LSTM(64, return_sequences="yes"))
GRUCell()
Decoder(GRUCell(8), vocabulary_size=5)
LSTM(64, "tanh", recurrent_dropout=0.1, return_sequences=True, name="lstm", dtype="float32")
"""
# Of a call with a wrong name, pyright checks the types only once the name is right.
USER_ERRORS = {
    3: "reportArgumentType",
    4: "reportCallIssue",
    5: "reportCallIssue",
    6: "reportArgumentType",
    7: "reportCallIssue",
    8: "reportCallIssue",
}


@pytest.mark.slow
def test_a_type_checker_sees_mistakes_in_a_users_project(site, tmp_path):
    (tmp_path / "train.py").write_text(USER_CODE, "utf-8")
    settings = {"typeCheckingMode": "basic", "extraPaths": [str(site)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    done = subprocess.run(
        ["pyright", "--outputjson", "--pythonpath", sys.executable, "train.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = {e["range"]["start"]["line"] + 1: e["rule"] for e in found if e["severity"] == "error"}
    assert errors == USER_ERRORS, found
