"""Scan layers of the literature, each with its paper, equations and deviations; `SCANS` names all of them."""

from recurra.layers.scan import Scan
from recurra.layers.scans.lru import LRU
from recurra.layers.scans.mingru import MinGRU
from recurra.layers.scans.minlstm import MinLSTM
from recurra.layers.scans.qrnn import QRNN
from recurra.layers.scans.rglru import RGLRU
from recurra.layers.scans.sru import SRU

__all__ = ["LRU", "QRNN", "RGLRU", "SCANS", "SRU", "MinGRU", "MinLSTM"]

# Every scan layer by the name that recipes use.
SCANS: dict[str, type[Scan]] = {
    "mingru": MinGRU,
    "minlstm": MinLSTM,
    "lru": LRU,
    "rglru": RGLRU,
    "qrnn": QRNN,
    "sru": SRU,
}
