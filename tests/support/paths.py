"""Paths of the checkout, the code on its pages, and its modules outside packages."""

import importlib.util
import pathlib
import re
import types

ROOT = pathlib.Path(__file__).parents[2]
RUNNER = ROOT / "runner.py"


def code_blocks(page: str, language: str) -> list[str]:
    """Returns the fenced code blocks of a page in one language, in order."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def load_module(path: str) -> types.ModuleType:
    """Imports a file of the checkout that is in no package, such as "docs/api_pages.py"."""
    file = ROOT / path
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
