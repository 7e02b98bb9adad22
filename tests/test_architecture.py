import ast
import doctest
import importlib
import pathlib
import pkgutil
import re
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from rnn_topologies import layers, tasks

ROOT = pathlib.Path(__file__).parent.parent
MODULES = [
    module.name
    for package in (layers, tasks)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]


def imports(path: pathlib.Path, package: str) -> set[str]:
    """Returns the dotted names that a file imports, relative ones made absolute."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str):
    for path in sorted((ROOT / folder).rglob("*.py")):
        home = folder if folder == "rnn_topologies" else f"rnn_topologies.{folder}"
        inner = path.parent.relative_to(ROOT / folder).parts
        yield path, ".".join([home, *inner])


def test_layers_import_keras_and_nothing_of_ours():
    for path, package in files("layers"):
        for name in imports(path, package):
            outside = not name.startswith("rnn_topologies.layers")
            allowed = name.partition(".")[0] in {*sys.stdlib_module_names, "keras"}
            assert not outside or allowed, f"{path.name} imports {name}"
            assert not name.startswith("keras.src"), f"{path.name} imports {name}"


def test_tasks_import_no_other_task_and_nothing_of_the_runner():
    names = {f"rnn_topologies.tasks.{name}" for name in tasks.names()}
    for path, package in files("tasks"):
        for name in imports(path, package):
            assert not any(name.startswith(task) for task in names), f"{path.name} imports {name}"
            if name.startswith("rnn_topologies"):
                assert name.startswith(("rnn_topologies.tasks", "rnn_topologies.layers")), name


PARTS = ("errors", "folders")  # of tasks, and without keras


def test_results_import_neither_keras_nor_a_task():
    others = {"numpy", "pandas", "pydantic", "tensorboard", "typing_extensions"}
    ours = ("rnn_topologies.records", *(f"rnn_topologies.tasks.parts.{n}" for n in PARTS))
    for module in ("records", "results"):
        for name in imports(ROOT / f"rnn_topologies/{module}.py", "rnn_topologies"):
            known = name.partition(".")[0] in {*sys.stdlib_module_names, *others}
            assert known or name.startswith(ours), name


def test_nothing_imports_the_runner():
    for folder in ("layers", "tasks", "rnn_topologies"):
        for path, package in files(folder):
            assert not any(n.split(".")[0] == "runner" for n in imports(path, package)), path


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_run(name):
    module = importlib.import_module(name)
    public = {name: getattr(layers, name) for name in layers.__all__}
    result = doctest.testmod(module, extraglobs={"np": np, **public})
    assert result.failed == 0


def test_every_public_class_says_what_it_takes_and_gives():
    for name in layers.__all__:
        member = getattr(layers, name)
        assert member.__doc__, name
        assert "{arguments}" not in member.__doc__, name
        if isinstance(member, type) and name != "Cell":
            assert "Example:" in member.__doc__, name


def test_the_checkout_hands_out_the_same_classes():
    code = (
        "from layers import LSTM, Decoder; from layers.gru import GRUCell; import layers.search\n"
        "import rnn_topologies.layers as ours\n"
        "assert LSTM is ours.LSTM and Decoder is ours.Decoder and GRUCell is ours.GRUCell"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_one_package_and_all_of_it(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", tmp_path, ROOT],
        check=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"rnn_topologies"}
    for folder in ("layers", "tasks", "rnn_topologies"):
        home = "rnn_topologies" if folder == "rnn_topologies" else f"rnn_topologies/{folder}"
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".tsv", ".css", ".html", ".js"):
                assert f"{home}/{path.relative_to(ROOT / folder)}" in names


def readme_blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_two_lines_are_all_there_is_to_set_up():
    assert readme_blocks("sh")[0].splitlines() == [
        "pip install -e . && python runner.py --task translation",
        'pip install -e ".[dev]" && pytest',
    ]


@pytest.mark.parametrize("block", range(len(readme_blocks("python"))))
def test_the_python_of_the_readme_runs(block):
    keras.utils.set_random_seed(0)
    exec(compile(readme_blocks("python")[block], "README.md", "exec"), {})
