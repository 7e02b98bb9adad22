"""Recurrent cells and layers for Keras, on TensorFlow, JAX and PyTorch.

A cell is one step in time, a layer is the loop over it. Swap the import and leave the rest:

    from rnn_topologies.layers import LSTM, Bidirectional

`CELLS` names every cell together with its layer: `CELLS["lstm"].cell`, `CELLS["lstm"].layer`.
"""

import sys
from typing import NamedTuple

if __name__ == "layers":
    # Someone stands in the checkout and says `from layers import LSTM`. Hand out the installed
    # package and its modules: a second copy would register every class a second time.
    import rnn_topologies.layers  # noqa: F401

    for _name, _module in list(sys.modules.items()):
        if _name.startswith("rnn_topologies.layers"):
            sys.modules[_name.removeprefix("rnn_topologies.")] = _module
else:
    from .attention import AdditiveAttention, DotAttention
    from .bidirectional import Bidirectional
    from .cell import Cell
    from .decoder import Decoder, embedding_initializer
    from .gru import GRU, GRUCell
    from .initial_state import InitialState
    from .lstm import LSTM, LSTMCell
    from .recurrent import RNN
    from .simple_rnn import SimpleRNN, SimpleRNNCell
    from .trace import trace_gates

    class CellAndLayer(NamedTuple):
        """A cell, one step, and the layer that runs it over a sequence."""

        cell: type[Cell]
        layer: type[RNN]

    CELLS = {
        "simple_rnn": CellAndLayer(SimpleRNNCell, SimpleRNN),
        "lstm": CellAndLayer(LSTMCell, LSTM),
        "gru": CellAndLayer(GRUCell, GRU),
    }

    __all__ = [
        "CELLS",
        "GRU",
        "LSTM",
        "RNN",
        "AdditiveAttention",
        "Bidirectional",
        "Cell",
        "Decoder",
        "DotAttention",
        "GRUCell",
        "InitialState",
        "LSTMCell",
        "SimpleRNN",
        "SimpleRNNCell",
        "embedding_initializer",
        "trace_gates",
    ]
