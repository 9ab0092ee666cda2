"""Floor 2: modules that keep the protocol. `LAYERS` is the table of all cells by name."""

from recurra.layers.base import Recurrent, Stepwise
from recurra.layers.causal_convolution import CausalConvolution
from recurra.layers.compose import Bidirectional, Residual, Stack
from recurra.layers.conv_gru import ConvGRU, LayerNormConvGRU
from recurra.layers.conv_lstm import ConvLSTM, LayerNormConvLSTM, PeepholeConvLSTM
from recurra.layers.convolutional import Convolutional
from recurra.layers.dropout import Dropout, RecurrentDropout, VariationalDropout, Zoneout
from recurra.layers.gated import Gated
from recurra.layers.gru import GRU
from recurra.layers.layer_norm_lstm import LayerNormLSTM
from recurra.layers.lstm import LSTM
from recurra.layers.memories import MEMORIES, MLSTM, GatedDelta, LinearAttention, MatrixMemory
from recurra.layers.peephole_lstm import PeepholeLSTM
from recurra.layers.predrnn import PredRNN
from recurra.layers.readout import Readout
from recurra.layers.recompute import Recompute
from recurra.layers.reset_on_boundary import ResetOnBoundary
from recurra.layers.rnn import RNN
from recurra.layers.scan import Scan
from recurra.layers.scans import LRU, QRNN, RGLRU, SCANS, SRU, MinGRU, MinLSTM
from recurra.layers.stream import Stream
from recurra.layers.zoo import ZOO

__all__ = [
    "CONVOLUTIONAL",
    "GRU",
    "LAYERS",
    "LRU",
    "LSTM",
    "MLSTM",
    "QRNN",
    "RGLRU",
    "RNN",
    "SCANS",
    "SRU",
    "Bidirectional",
    "CausalConvolution",
    "ConvGRU",
    "ConvLSTM",
    "Convolutional",
    "Dropout",
    "Gated",
    "GatedDelta",
    "LayerNormConvGRU",
    "LayerNormConvLSTM",
    "LayerNormLSTM",
    "LinearAttention",
    "MatrixMemory",
    "MinGRU",
    "MinLSTM",
    "PeepholeConvLSTM",
    "PeepholeLSTM",
    "PredRNN",
    "Readout",
    "Recompute",
    "Recurrent",
    "RecurrentDropout",
    "ResetOnBoundary",
    "Residual",
    "Scan",
    "Stack",
    "Stepwise",
    "Stream",
    "VariationalDropout",
    "Zoneout",
]

# Every cell that takes (input_size, hidden_size), by the name that recipes use.
LAYERS: dict[str, type[Recurrent]] = {
    "rnn": RNN,
    "lstm": LSTM,
    "gru": GRU,
    "peephole_lstm": PeepholeLSTM,
    "layer_norm_lstm": LayerNormLSTM,
    **ZOO,
    **MEMORIES,
    **SCANS,
}

# Every layer over maps, which takes (channels, hidden, kernel, space), by the name that recipes use.
CONVOLUTIONAL: dict[str, type[Recurrent]] = {
    "conv_lstm": ConvLSTM,
    "peephole_conv_lstm": PeepholeConvLSTM,
    "layer_norm_conv_lstm": LayerNormConvLSTM,
    "conv_gru": ConvGRU,
    "layer_norm_conv_gru": LayerNormConvGRU,
    "predrnn": PredRNN,
}
