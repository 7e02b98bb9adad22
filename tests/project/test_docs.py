"""The examples of the documentation run, and the site lists every page and every class."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

from rnn_topologies import layers, tasks, testing

from ..support.paths import ROOT, code_blocks, load_module

MODULES = [
    module.name
    for package in (layers, tasks, testing)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if ".native." not in module.name  # for one backend each
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_run(name):
    module = importlib.import_module(name)
    public = {name: getattr(layers, name) for name in layers.__all__}
    result = doctest.testmod(module, extraglobs={"keras": keras, "np": np, **public})
    assert result.failed == 0


BASES = {"Cell", "RecurrentCell", "CellWrapper"}  # abstract; `LinearCell` has an example


def test_every_public_class_has_a_docstring_with_an_example():
    for name in layers.__all__:
        member = getattr(layers, name)
        assert member.__doc__, name
        assert "{arguments}" not in member.__doc__, name
        if isinstance(member, type) and name not in BASES:
            assert "Example:" in member.__doc__, name


def test_two_lines_are_all_there_is_to_set_up():
    assert code_blocks("README.md", "sh")[0].splitlines() == [
        'pip install -e ".[suite]" && python runner.py --task translation',
        'pip install -e ".[dev]" && pytest',
    ]


def test_the_picture_of_the_readme_is_current():
    script = load_module("docs/draw_topologies.py")
    assert script.PICTURE.read_text("utf-8") == script.draw_svg()


@pytest.mark.parametrize("block", range(len(code_blocks("README.md", "python"))))
def test_the_python_of_the_readme_runs(block):
    keras.utils.set_random_seed(0)
    exec(compile(code_blocks("README.md", "python")[block], "README.md", "exec"), {})


@pytest.mark.parametrize("block", range(len(code_blocks("docs/layers.md", "python"))))
def test_the_python_of_the_layers_page_runs(block):
    exec(compile(code_blocks("docs/layers.md", "python")[block], "layers.md", "exec"), {})


def test_every_cell_is_on_the_layers_page():
    page = (ROOT / "docs" / "layers.md").read_text("utf-8")
    for name in layers.CELLS:
        assert f"`{name}`" in page


@pytest.fixture(scope="module")
def api_pages():
    return load_module("docs/api_pages.py")


def test_the_site_lists_every_page_of_the_guide(api_pages):
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert sorted(api_pages.GUIDE) == sorted(pages - {"README"})


def test_the_site_has_a_page_for_every_public_class(api_pages):
    listed = [name for pages in api_pages.reference_pages().values() for name, _ in pages]
    assert sorted(listed) == sorted({*layers.__all__, *testing.__all__} - {"CELLS", "CHECKS"})
