"""The tables of the pages are those that the measurements make."""

import importlib.util

import pytest

from ..support.paths import ROOT


@pytest.mark.parametrize("name", ["cells", "layers", "tasks"])
def test_the_page_holds_the_tables_of_what_was_measured(monkeypatch, name):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    page = benchmark.PAGE.read_text("utf-8")
    assert benchmark.tables(page) == page
