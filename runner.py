"""The entry point of the suite: `python runner.py --task translation`."""

from rnn_topologies.cli import main

if __name__ == "__main__":
    main()
