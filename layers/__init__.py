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
    from .cell import Cell, RecurrentCell
    from .cell_wrapper import CellWrapper
    from .coupled_lstm import CoupledLSTM, CoupledLSTMCell
    from .decoder import Decoder, embedding_initializer
    from .exporting import export
    from .gru import GRU, GRUCell
    from .ind_rnn import IndRNN, IndRNNCell
    from .initial_state import InitialState
    from .kernels import Plan
    from .layer_norm_gru import LayerNormGRU, LayerNormGRUCell
    from .layer_norm_lstm import LayerNormLSTM, LayerNormLSTMCell
    from .linear import LinearCell, linear_recurrence
    from .lstm import LSTM, LSTMCell
    from .lstmp import LSTMP, LSTMPCell
    from .min_gru import MinGRU, MinGRUCell
    from .min_lstm import MinLSTM, MinLSTMCell
    from .peephole_lstm import PeepholeLSTM, PeepholeLSTMCell
    from .recurrent import RNN
    from .recurrent_dropout import RecurrentDropout
    from .residual import Highway, Residual
    from .simple_rnn import SimpleRNN, SimpleRNNCell
    from .stacked_cells import StackedCells
    from .streaming import Stream
    from .trace import trace_gates
    from .trainable_initial_state import TrainableInitialState
    from .zoneout import Zoneout

    class CellAndLayer(NamedTuple):
        """A cell, one step, and the layer that runs it over a sequence."""

        cell: type[Cell]
        layer: type[RNN]

    CELLS = {
        "simple_rnn": CellAndLayer(SimpleRNNCell, SimpleRNN),
        "lstm": CellAndLayer(LSTMCell, LSTM),
        "gru": CellAndLayer(GRUCell, GRU),
        "peephole_lstm": CellAndLayer(PeepholeLSTMCell, PeepholeLSTM),
        "coupled_lstm": CellAndLayer(CoupledLSTMCell, CoupledLSTM),
        "lstmp": CellAndLayer(LSTMPCell, LSTMP),
        "layer_norm_lstm": CellAndLayer(LayerNormLSTMCell, LayerNormLSTM),
        "layer_norm_gru": CellAndLayer(LayerNormGRUCell, LayerNormGRU),
        "ind_rnn": CellAndLayer(IndRNNCell, IndRNN),
        "min_gru": CellAndLayer(MinGRUCell, MinGRU),
        "min_lstm": CellAndLayer(MinLSTMCell, MinLSTM),
    }

    __all__ = [
        "CELLS",
        "GRU",
        "LSTM",
        "LSTMP",
        "RNN",
        "AdditiveAttention",
        "Bidirectional",
        "Cell",
        "CellWrapper",
        "CoupledLSTM",
        "CoupledLSTMCell",
        "Decoder",
        "DotAttention",
        "GRUCell",
        "Highway",
        "IndRNN",
        "IndRNNCell",
        "InitialState",
        "LSTMCell",
        "LSTMPCell",
        "LayerNormGRU",
        "LayerNormGRUCell",
        "LayerNormLSTM",
        "LayerNormLSTMCell",
        "LinearCell",
        "MinGRU",
        "MinGRUCell",
        "MinLSTM",
        "MinLSTMCell",
        "PeepholeLSTM",
        "PeepholeLSTMCell",
        "Plan",
        "RecurrentCell",
        "RecurrentDropout",
        "Residual",
        "SimpleRNN",
        "SimpleRNNCell",
        "StackedCells",
        "Stream",
        "TrainableInitialState",
        "Zoneout",
        "embedding_initializer",
        "export",
        "linear_recurrence",
        "trace_gates",
    ]
