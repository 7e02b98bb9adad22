"""Imports point one way, without cycles; public code is typed; every package is installed."""

import ast
import sys
import tomllib

import pytest

from rnn_topologies import tasks

from ..support import modules
from ..support.paths import ROOT

LAYERS, TASKS = "rnn_topologies.layers", "rnn_topologies.tasks"
BACKENDS = {"tensorflow", "jax", "torch"}
# The one module that compiles a single step, for which Keras has no public API.
COMPILES_A_STEP = f"{LAYERS}.streaming"
# Connect the CPU kernel to a backend; only the one for the active backend is imported.
ADAPTERS = {f"{LAYERS}.native.on_{backend}": backend for backend in sorted(BACKENDS)}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_no_modules_import_each_other():
    assert modules.cycles(modules.import_graph()) == []


def test_a_cycle_is_found_through_other_modules():
    graph = {"a": {"b", "d"}, "b": {"c"}, "c": {"a"}, "d": set(), "e": {"d"}}
    assert modules.cycles(graph) == [["a", "b", "c"]]


@pytest.mark.parametrize(
    ("package", "allowed"), [(LAYERS, (LAYERS,)), (TASKS, (TASKS, LAYERS))], ids=["layers", "tasks"]
)
def test_imports_point_from_the_runner_to_the_tasks_to_the_layers(package, allowed):
    wrong = [
        f"{name} imports {target}"
        for name, targets in modules.import_graph().items()
        if within(name, package)
        for target in sorted(targets)
        if not any(within(target, other) for other in allowed)
    ]
    assert wrong == []


def test_layers_import_keras_and_numpy_only():
    wrong = []
    for module in modules.modules("layers"):
        allowed = {*sys.stdlib_module_names, "keras", "numpy", "rnn_topologies"}
        if module.name in ADAPTERS:
            allowed.add(ADAPTERS[module.name])
        if module.name == COMPILES_A_STEP:
            allowed |= BACKENDS
        for name in module.imports():
            if name.partition(".")[0] not in allowed or name.startswith("keras.src"):
                wrong.append(f"{module.name} imports {name}")
    assert wrong == []


def test_layers_import_a_backend_within_functions_only():
    wrong = []
    for module in modules.modules("layers"):
        top_level = {
            alias.name
            for node in module.tree.body
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        if module.name not in ADAPTERS and top_level & BACKENDS:
            wrong.append(module.name)
    assert wrong == []


def test_no_task_imports_another_task():
    names = [f"{TASKS}.{name}" for name in tasks.task_names()]
    wrong = [
        f"{module} imports {target}"
        for module, targets in modules.import_graph().items()
        if within(module, TASKS)
        for target in sorted(targets)
        if any(within(target, name) for name in names)
    ]
    assert wrong == []


def test_records_are_read_without_keras_and_without_a_task():
    allowed = {*sys.stdlib_module_names, "numpy", "pandas", "pydantic", "tensorboard"}
    allowed.add("typing_extensions")
    ours = ("rnn_topologies.runs", f"{TASKS}.errors", f"{TASKS}.data.filesystem")
    wrong = []
    for module in modules.modules("rnn_topologies"):
        if module.name in ("rnn_topologies.runs.record", "rnn_topologies.runs.store"):
            for name in module.imports():
                known = name.partition(".")[0] in allowed
                if not known and not any(within(name, package) for package in ours):
                    wrong.append(f"{module.name} imports {name}")
    assert wrong == []


def test_nothing_imports_the_runner():
    wrong = [
        module.name
        for folder in modules.PACKAGES
        for module in modules.modules(folder)
        if any(within(name, "runner") for name in module.imports())
    ]
    assert wrong == []


def public_functions(tree: ast.Module):
    """Yields (qualified name, definition, whether it is a method) of all that is public."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node.name, node, False
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                special = isinstance(inner, kinds) and inner.name in ("__init__", "__call__")
                if isinstance(inner, kinds) and (special or not inner.name.startswith("_")):
                    yield f"{node.name}.{inner.name}", inner, True


def untyped(function: ast.FunctionDef | ast.AsyncFunctionDef, *, method: bool) -> list[str]:
    """Returns the parameters that have no type hint, and "return" if the result has none."""
    static = "staticmethod" in map(ast.unparse, function.decorator_list)
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    every = [*positional[1 if method and not static else 0 :], *arguments.kwonlyargs]
    every += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    missing = [argument.arg for argument in every if argument.annotation is None]
    if function.returns is None and function.name != "__init__":  # known to return None
        missing.append("return")
    return missing


@pytest.mark.parametrize("folder", modules.PACKAGES)
def test_public_functions_and_methods_have_complete_type_hints(folder):
    missing = [
        f"{module.path.relative_to(ROOT)}:{function.lineno} {name}: {', '.join(names)}"
        for module in modules.modules(folder)
        for name, function, method in public_functions(module.tree)
        if (names := untyped(function, method=method))
    ]
    assert not missing, f"{len(missing)} without type hints:\n" + "\n".join(missing)


def test_a_missing_type_hint_is_found():
    source = (
        "def plain(a: int, *rest, flag=True) -> None: ...\n"
        "class Thing:\n"
        "    def __init__(self, size): ...\n"
        "    def _private(self, x): ...\n"
        "    @staticmethod\n"
        "    def make(size): ...\n"
        "    def typed(self, x: int) -> int: ...\n"
    )
    missing = {
        name: untyped(function, method=method)
        for name, function, method in public_functions(ast.parse(source))
    }
    assert missing == {
        "plain": ["flag", "rest"],
        "Thing.__init__": ["size"],
        "Thing.make": ["size", "return"],
        "Thing.typed": [],
    }


def test_the_installed_packages_are_those_on_disk():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = settings["tool"]["setuptools"]["packages"]
    on_disk = {module.package for folder in modules.PACKAGES for module in modules.modules(folder)}
    assert sorted(listed) == sorted(on_disk)


def test_every_folder_of_modules_is_a_package():
    every = [module for folder in modules.PACKAGES for module in modules.modules(folder)]
    folders = {module.path.parent for module in every}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_data_file_is_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = {
        f"{package}/{name}"
        for package, names in settings["tool"]["setuptools"]["package-data"].items()
        for name in names
    }
    data_files = {".tsv", ".css", ".html", ".js"}
    on_disk = {
        ".".join([package, *path.parent.relative_to(ROOT / folder).parts]) + f"/{path.name}"
        for folder, package in modules.PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in data_files
    }
    assert listed == on_disk | {"rnn_topologies/py.typed"}
