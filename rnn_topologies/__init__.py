"""Five ways in which a recurrent network maps sequences to sequences, and their layers."""

__version__ = "0.2.0"


def load_run(run, *, results_dir="results", **settings):
    """Rebuilds the model of an earlier run, see `rnn_topologies.runs.trained_model.load_run`."""
    from .runs.trained_model import load_run

    return load_run(run, results_dir=results_dir, **settings)
