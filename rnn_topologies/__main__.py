"""Runs the command line: `python -m rnn_topologies`."""

from .cli import main

if __name__ == "__main__":
    main()
