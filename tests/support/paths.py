"""Paths of the checkout, and the code blocks of its pages."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
RUNNER = ROOT / "runner.py"


def code_blocks(page: str, language: str) -> list[str]:
    """Returns the fenced code blocks of a page in one language, in order."""
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
