"""Settings for all tests: quiet backends, and the folder with real data sets."""

import logging
import os
import pathlib
from collections.abc import Iterator

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# OpenMP threads wait actively: those of several test processes would slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Cached baselines of another run would hide bugs.
os.environ.setdefault("RNN_TOPOLOGIES_BASELINE_CACHE", "off")
logging.getLogger("absl").setLevel(logging.ERROR)

MANUAL_DIR = "RNN_TOPOLOGIES_MANUAL_DIR"


@pytest.fixture
def manual_dir() -> pathlib.Path:
    """The folder with original files of real data sets; without it the test is skipped."""
    folder = os.environ.get(MANUAL_DIR)
    if not folder:
        pytest.skip(f"needs real data: set {MANUAL_DIR} to the folder with the original files")
    return pathlib.Path(folder)


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Runs the test without compiling, where tracing would take longer than computing."""
    from .support.training import execution

    with execution(eager=True):
        yield
