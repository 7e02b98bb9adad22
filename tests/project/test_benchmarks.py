"""The tables on the pages are those of the committed measurements."""

import pytest

from ..support.paths import ROOT, load_module


@pytest.mark.parametrize("name", ["cells", "layers", "tasks"])
def test_the_page_shows_the_measured_tables(monkeypatch, name):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = load_module(f"benchmarks/{name}.py")
    page = benchmark.PAGE.read_text("utf-8")
    assert benchmark.update_tables(page) == page
