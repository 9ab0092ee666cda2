"""recurra: recurrent neural networks on PyTorch. Write the recurrence once; train it fast, stream it, ship it."""

from recurra import tree
from recurra.convert import from_torch, to_torch
from recurra.dropin import fuse, unfuse
from recurra.errors import PerformanceWarning, RecurraError
from recurra.kernels.dispatch import use_backend
from recurra.layers import (
    GRU,
    LAYERS,
    LSTM,
    MLSTM,
    RNN,
    Bidirectional,
    Dropout,
    Gated,
    GatedDelta,
    LayerNormLSTM,
    LinearAttention,
    MatrixMemory,
    PeepholeLSTM,
    Readout,
    Recompute,
    Recurrent,
    RecurrentDropout,
    ResetOnBoundary,
    Residual,
    Stack,
    Stepwise,
    Stream,
    VariationalDropout,
    Zoneout,
    initialise,
    zoo,
)
from recurra.tree import State

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LAYERS",
    "LSTM",
    "MLSTM",
    "RNN",
    "Bidirectional",
    "Dropout",
    "Gated",
    "GatedDelta",
    "LayerNormLSTM",
    "LinearAttention",
    "MatrixMemory",
    "PeepholeLSTM",
    "PerformanceWarning",
    "Readout",
    "Recompute",
    "RecurraError",
    "Recurrent",
    "RecurrentDropout",
    "ResetOnBoundary",
    "Residual",
    "Stack",
    "State",
    "Stepwise",
    "Stream",
    "VariationalDropout",
    "Zoneout",
    "from_torch",
    "fuse",
    "initialise",
    "to_torch",
    "tree",
    "unfuse",
    "use_backend",
    "zoo",
]
