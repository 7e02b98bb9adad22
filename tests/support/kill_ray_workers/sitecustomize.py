"""Python imports this at startup if its folder is in PYTHONPATH: kills Ray workers in training."""

import os
import signal
import sys

if any("default_worker.py" in argument for argument in sys.orig_argv):
    from rnn_topologies.training.checkpoint import CheckpointManager

    CheckpointManager.save = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
