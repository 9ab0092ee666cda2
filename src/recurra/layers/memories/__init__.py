"""Matrix memories: layers whose state is a matrix a head, trained in chunks. `MEMORIES` names all of them.

`docs/memories.md` says how to choose.
"""

from recurra.layers.base import Recurrent
from recurra.layers.memories.gated_delta import GatedDelta
from recurra.layers.memories.linear_attention import LinearAttention
from recurra.layers.memories.matrix_memory import MatrixMemory
from recurra.layers.memories.mlstm import MLSTM

__all__ = ["MEMORIES", "MLSTM", "GatedDelta", "LinearAttention", "MatrixMemory"]

MEMORIES: dict[str, type[Recurrent]] = {
    "linear_attention": LinearAttention,
    "gated_delta": GatedDelta,
    "mlstm": MLSTM,
}
