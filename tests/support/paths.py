"""Paths of the checkout."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
RUNNER = ROOT / "runner.py"
