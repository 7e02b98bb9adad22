"""Recurrent cells and layers for Keras, on TensorFlow, JAX and PyTorch.

A cell is one time step, a layer is the loop over time. Only the import changes:

    from rnn_topologies.layers import LSTM, Bidirectional

`CELLS` lists every cell with its layer: `CELLS["lstm"].cell`, `CELLS["lstm"].layer`.
"""

import sys
from typing import NamedTuple

if __name__ == "layers":
    # `from layers import LSTM` in the checkout: hand out the modules of `rnn_topologies.layers`,
    # since a second copy would register every class twice.
    import rnn_topologies.layers  # noqa: F401

    for _name, _module in list(sys.modules.items()):
        if _name.startswith("rnn_topologies.layers"):
            sys.modules[_name.removeprefix("rnn_topologies.")] = _module
else:
    from .bidirectional import Bidirectional
    from .cell_layer import CellLayer
    from .cells.base import Cell, RecurrentCell
    from .cells.coupled_lstm import CoupledLSTM, CoupledLSTMCell
    from .cells.gru import GRU, GRUCell
    from .cells.ind_rnn import IndRNN, IndRNNCell
    from .cells.layer_norm_gru import LayerNormGRU, LayerNormGRUCell
    from .cells.layer_norm_lstm import LayerNormLSTM, LayerNormLSTMCell
    from .cells.linear import LinearCell
    from .cells.lstm import LSTM, LSTMCell
    from .cells.lstmp import LSTMP, LSTMPCell
    from .cells.min_gru import MinGRU, MinGRUCell
    from .cells.min_lstm import MinLSTM, MinLSTMCell
    from .cells.peephole_lstm import PeepholeLSTM, PeepholeLSTMCell
    from .cells.simple_rnn import SimpleRNN, SimpleRNNCell
    from .decoding.attention import AdditiveAttention, DotAttention
    from .decoding.decoder import Decoder, embedding_initializer
    from .decoding.initial_state import InitialState
    from .dispatch.parallel import linear_recurrence
    from .dispatch.plan import Plan
    from .export import export
    from .rnn import RNN
    from .stacked import StackedCells
    from .streaming import Stream
    from .trace import trace_gates
    from .wrappers.base import CellWrapper
    from .wrappers.recurrent_dropout import RecurrentDropout
    from .wrappers.residual import Highway, Residual
    from .wrappers.trainable_initial_state import TrainableInitialState
    from .wrappers.zoneout import Zoneout

    class CellAndLayer(NamedTuple):
        """A cell, which is one time step, and the layer that runs it over a sequence."""

        cell: type[Cell]
        layer: type[CellLayer]

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
