"""Recurrent layers for Keras, and five tasks, one per topology of a recurrent network."""

import pathlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runs.trained_model import TrainedModel

__version__ = "0.2.0"


def load_run(
    run: str, *, results_dir: str | pathlib.Path = "results", **settings: Any
) -> "TrainedModel":
    """Loads the model of an earlier run, see `rnn_topologies.runs.trained_model.load_run`."""
    from .runs.trained_model import load_run

    return load_run(run, results_dir=results_dir, **settings)
