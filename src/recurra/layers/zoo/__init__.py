"""The zoo: cells of the literature, each an equation with its paper, year and deviations.

They are `Gated` cells like any other: they stack, stream and train on ragged rows, and `ZOO` names all of them.
`docs/zoo.md` says how to choose.
"""

from recurra.layers.gated import Gated
from recurra.layers.zoo.antisymmetric_rnn import AntisymmetricRNN
from recurra.layers.zoo.atr import ATR
from recurra.layers.zoo.brc import BRC
from recurra.layers.zoo.cfn import CFN
from recurra.layers.zoo.cornn import CoRNN
from recurra.layers.zoo.coupled_lstm import CoupledLSTM
from recurra.layers.zoo.fastgrnn import FastGRNN
from recurra.layers.zoo.fastrnn import FastRNN
from recurra.layers.zoo.gated_antisymmetric_rnn import GatedAntisymmetricRNN
from recurra.layers.zoo.indrnn import IndRNN
from recurra.layers.zoo.intersection_rnn import IntersectionRNN
from recurra.layers.zoo.janet import JANET
from recurra.layers.zoo.layer_norm_gru import LayerNormGRU
from recurra.layers.zoo.lem import LEM
from recurra.layers.zoo.lightru import LightRU
from recurra.layers.zoo.ligru import LiGRU
from recurra.layers.zoo.mgu import MGU
from recurra.layers.zoo.minimal_rnn import MinimalRNN
from recurra.layers.zoo.multiplicative_lstm import MultiplicativeLSTM
from recurra.layers.zoo.mut1 import MUT1
from recurra.layers.zoo.mut2 import MUT2
from recurra.layers.zoo.mut3 import MUT3
from recurra.layers.zoo.nbrc import NBRC
from recurra.layers.zoo.original_lstm import OriginalLSTM
from recurra.layers.zoo.ran import RAN
from recurra.layers.zoo.recurrent_highway import RecurrentHighway
from recurra.layers.zoo.reset_before_gru import ResetBeforeGRU
from recurra.layers.zoo.residual_lstm import ResidualLSTM
from recurra.layers.zoo.scrn import SCRN
from recurra.layers.zoo.sgrn import SGRN
from recurra.layers.zoo.slstm import SLSTM
from recurra.layers.zoo.star import STAR
from recurra.layers.zoo.tau_gru import TauGRU
from recurra.layers.zoo.ugrnn import UGRNN
from recurra.layers.zoo.unicornn import UnICORNN

__all__ = [
    "ATR",
    "BRC",
    "CFN",
    "JANET",
    "LEM",
    "MGU",
    "MUT1",
    "MUT2",
    "MUT3",
    "NBRC",
    "RAN",
    "SCRN",
    "SGRN",
    "SLSTM",
    "STAR",
    "UGRNN",
    "ZOO",
    "AntisymmetricRNN",
    "CoRNN",
    "CoupledLSTM",
    "FastGRNN",
    "FastRNN",
    "GatedAntisymmetricRNN",
    "IndRNN",
    "IntersectionRNN",
    "LayerNormGRU",
    "LiGRU",
    "LightRU",
    "MinimalRNN",
    "MultiplicativeLSTM",
    "OriginalLSTM",
    "RecurrentHighway",
    "ResetBeforeGRU",
    "ResidualLSTM",
    "TauGRU",
    "UnICORNN",
]

# Every cell of the zoo by the name that recipes use; families side by side, as in docs/zoo.md.
ZOO: dict[str, type[Gated]] = {
    "original_lstm": OriginalLSTM,
    "cifg_lstm": CoupledLSTM,
    "multiplicative_lstm": MultiplicativeLSTM,
    "residual_lstm": ResidualLSTM,
    "janet": JANET,
    "slstm": SLSTM,
    "reset_before_gru": ResetBeforeGRU,
    "layer_norm_gru": LayerNormGRU,
    "mgu": MGU,
    "mut1": MUT1,
    "mut2": MUT2,
    "mut3": MUT3,
    "ligru": LiGRU,
    "tau_gru": TauGRU,
    "ugrnn": UGRNN,
    "lightru": LightRU,
    "minimal_rnn": MinimalRNN,
    "sgrn": SGRN,
    "atr": ATR,
    "ran": RAN,
    "cfn": CFN,
    "fastrnn": FastRNN,
    "fastgrnn": FastGRNN,
    "star": STAR,
    "intersection_rnn": IntersectionRNN,
    "recurrent_highway": RecurrentHighway,
    "scrn": SCRN,
    "indrnn": IndRNN,
    "brc": BRC,
    "nbrc": NBRC,
    "antisymmetric_rnn": AntisymmetricRNN,
    "gated_antisymmetric_rnn": GatedAntisymmetricRNN,
    "cornn": CoRNN,
    "unicornn": UnICORNN,
    "lem": LEM,
}
