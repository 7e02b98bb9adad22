import ast
import doctest
import importlib
import importlib.util
import os
import pathlib
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from rnn_topologies import layers, tasks, testing

ROOT = pathlib.Path(__file__).parents[2]
MODULES = [
    module.name
    for package in (layers, tasks, testing)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if ".native." not in module.name  # compiled, or for one backend
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


BACKENDS = {"tensorflow", "jax", "torch"}
# Compiles a step: there is no word for it in Keras. The others join the CPU kernel to a backend,
# and are imported where it is the one in use.
ASKS_THE_BACKEND = "streaming.py"
ADAPTERS = {f"on_{backend}.py" for backend in sorted(BACKENDS)}


def test_layers_import_keras_and_nothing_of_ours():
    for path, package in files("layers"):
        adapter = path.name in ADAPTERS
        at_the_top = {
            alias.name
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert adapter or not at_the_top & BACKENDS, path.name
        backends = {path.stem.removeprefix("on_"), "numpy"} if adapter else set()
        if path.name == ASKS_THE_BACKEND:
            backends = BACKENDS
        for name in imports(path, package):
            outside = not name.startswith("rnn_topologies.layers")
            known = {*sys.stdlib_module_names, "keras", *backends}
            allowed = name.partition(".")[0] in known
            assert not outside or allowed, f"{path.name} imports {name}"
            assert not name.startswith("keras.src"), f"{path.name} imports {name}"


def test_tasks_import_no_other_task_and_nothing_of_the_runner():
    names = {f"rnn_topologies.tasks.{name}" for name in tasks.task_names()}
    for path, package in files("tasks"):
        for name in imports(path, package):
            assert not any(name.startswith(task) for task in names), f"{path.name} imports {name}"
            if name.startswith("rnn_topologies"):
                assert name.startswith(("rnn_topologies.tasks", "rnn_topologies.layers")), name


PARTS = ("errors", "folders")  # of tasks, and without keras


def test_results_import_neither_keras_nor_a_task():
    others = {"numpy", "pandas", "pydantic", "tensorboard", "typing_extensions"}
    ours = ("rnn_topologies.runs.record", *(f"rnn_topologies.tasks.parts.{n}" for n in PARTS))
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
    result = doctest.testmod(module, extraglobs={"keras": keras, "np": np, **public})
    assert result.failed == 0


BASES = {"Cell", "RecurrentCell", "CellWrapper"}  # to be derived from; `LinearCell` shows how


def test_every_public_class_says_what_it_takes_and_gives():
    for name in layers.__all__:
        member = getattr(layers, name)
        assert member.__doc__, name
        assert "{arguments}" not in member.__doc__, name
        if isinstance(member, type) and name not in BASES:
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, ROOT],
        check=True,
        timeout=300,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_layers_are_used_from_a_wheel_beside_modules_of_the_same_names(wheel, tmp_path):
    """The README's lines, in the folder of somebody who has a layers.py and a tasks.py."""
    site, project = tmp_path / "site", tmp_path / "project"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", site, wheel],
        check=True,
        timeout=300,
    )
    project.mkdir()
    for name in ("layers", "tasks"):
        (project / f"{name}.py").write_text(f"MINE = {name!r}\n", "utf-8")
    code = readme_blocks("python")[0]
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


def test_the_wheel_holds_one_package_and_all_of_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"rnn_topologies"}
    for folder in ("layers", "tasks", "rnn_topologies"):
        home = "rnn_topologies" if folder == "rnn_topologies" else f"rnn_topologies/{folder}"
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".tsv", ".css", ".html", ".js"):
                assert f"{home}/{path.relative_to(ROOT / folder)}" in names
    assert any(name.startswith("rnn_topologies/layers/native/_kernel.") for name in names)


def test_without_a_compiler_the_rest_is_installed(tmp_path):
    refuses = {"CC": "false", "CXX": "false"}
    fresh = tmp_path / "fresh"
    built = shutil.ignore_patterns(".git", "build", "results", "*.so", "*.egg-info")
    shutil.copytree(ROOT, fresh, ignore=built)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", tmp_path, fresh],
        check=True,
        timeout=300,
        env={**os.environ, **refuses},
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "rnn_topologies/layers/native/compiled.py" in names
    assert not any(name.endswith(".so") for name in names)


def readme_blocks(language: str, page: str = "README.md") -> list[str]:
    text = (ROOT / page).read_text("utf-8")
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


@pytest.mark.parametrize("block", range(len(readme_blocks("python", "docs/layers.md"))))
def test_the_python_of_the_layers_page_runs(block):
    code = readme_blocks("python", "docs/layers.md")[block]
    exec(compile(code, "layers.md", "exec"), {})


def test_every_cell_is_on_the_layers_page():
    page = (ROOT / "docs" / "layers.md").read_text("utf-8")
    for name in layers.CELLS:
        assert f"`{name}`" in page


@pytest.fixture(scope="module")
def api_pages():
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "docs" / "api_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_site_lists_every_page_of_the_guide(api_pages):
    written = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert sorted(api_pages.GUIDE) == sorted(written - {"README"})


def test_the_site_has_a_page_for_every_public_class(api_pages):
    listed = [name for pages in api_pages.pages().values() for name, _ in pages]
    assert sorted(listed) == sorted({*layers.__all__, *testing.__all__} - {"CELLS", "CHECKS"})
