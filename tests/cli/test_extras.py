import re
import subprocess
import sys
import tomllib

import pytest

from rnn_topologies.cli import extras

from ..support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
# Distributions whose module is not their name with underscores.
MODULES = {
    "pillow": "PIL",
    "pytest-xdist": "xdist",
    "scikit-learn": "sklearn",
    "vl-convert-python": "vl_convert",
}


def modules(requirements):
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in requirements]
    return {MODULES.get(n, n.replace("-", "_")) for n in names if n != "rnn-topologies"}


@pytest.mark.parametrize("extra", REQUIREMENTS)
def test_the_table_covers_every_dependency(extra):
    assert set(extras.EXTRAS[extra]) == modules(REQUIREMENTS[extra])


def run_without(module, *arguments):
    """Runs the command line as if a module were not installed."""
    code = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv = {["runner.py", *arguments]!r}
from rnn_topologies.cli import main
main()
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("typer", ("--help",)),
        ("rich", ("list",)),
        ("pydantic", ("table", "--results-dir", "results/reference")),
        ("pandas", ("table", "--results-dir", "results/reference")),
        ("altair", ("report", "--results-dir", "results/reference")),
    ],
)
def test_a_missing_extra_is_one_line_and_status_2(module, arguments):
    done = run_without(module, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f'error: {module} is not installed. Run: pip install -e ".[suite]"\n'


def test_a_missing_backend_is_one_line_and_status_2():
    done = run_without("tensorflow", "lesson", "unrolling")
    assert done.returncode == 2
    assert done.stderr == 'error: tensorflow is not installed. Run: pip install -e ".[suite]"\n'


def test_the_command_depends_on_the_extra_and_on_the_checkout(monkeypatch, tmp_path):
    assert extras.missing_dependency("ray") == (
        'ray is not installed. Run: pip install -e ".[sweep]"'
    )
    assert extras.install_command("") == 'pip install -e "."'
    monkeypatch.setattr(extras, "CHECKOUT", tmp_path)  # as in a wheel
    assert extras.install_command("jax") == 'pip install "rnn-topologies[jax]"'


def test_other_missing_modules_keep_their_traceback():
    with (
        pytest.raises(ModuleNotFoundError, match="no_such_module"),
        extras.exit_if_dependency_is_missing(),
    ):
        import no_such_module  # noqa: F401 # pyright: ignore[reportMissingImports]
    with (
        pytest.raises(ModuleNotFoundError, match="no_such_part"),
        extras.exit_if_dependency_is_missing(),
    ):
        import numpy.no_such_part  # noqa: F401 # pyright: ignore[reportMissingImports]
