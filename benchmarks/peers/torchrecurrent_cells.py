"""torchrecurrent's cells (MIT licence) with the weights of those of our zoo that compute the same.

A layout says of a cell there: its name, its arguments, and from which of our parts each of its parameters is put
together. "0" is a block of zeros, and so is each of its biases that is not named, for it has two where we have one.
"""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.steps import Named
from recurra import LAYERS, Gated

__all__ = ["LAYOUTS", "OTHERS", "agreeing", "layer_like", "layer_named", "renamed", "run", "sources_of"]

torchrecurrent: Any = import_module("torchrecurrent")

Layout = dict[str, list[str]]


def _same(gates: str, **others: list[str]) -> Layout:
    """A layout in which W, U and b all have the gates in one order."""
    kinds = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}
    return {theirs: [f"{kind}_{gate}" for gate in gates.split()] for theirs, kind in kinds.items()} | others


ANTISYMMETRIC = {"epsilon": 0.1, "gamma": 0.01}
OSCILLATOR = {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7}

LAYOUTS: dict[str, tuple[str, dict[str, Any], Layout]] = {
    "peephole_lstm": ("PeepholeLSTM", {}, _same("i f g o", weight_ph=["p_i", "p_f", "p_o"])),
    "original_lstm": ("OriginalLSTM", {}, _same("i g o")),
    "multiplicative_lstm": (
        "MultiplicativeLSTM",
        {},
        _same("m i f g o", weight_hh=["U_m"], weight_mh=["U_i", "U_f", "U_g", "U_o"]),
    ),
    "residual_lstm": (
        "ResLSTM",
        {},
        _same("i f g o", weight_proj=["U_m"], weight_res=["W_m"], weight_ph=["p_i", "p_f", "p_o"]),
    ),
    "janet": ("JANET", {}, _same("f g")),
    "mgu": ("MGU", {}, _same("w n")),
    "mut1": ("MUT1", {}, _same("w r n", weight_hh=["U_r", "U_n"], bias_hh=["0", "c_n"])),
    "mut2": ("MUT2", {}, _same("w r n")),
    "mut3": ("MUT3", {}, _same("w r n")),
    "ligru": ("LiGRU", {}, _same("z n")),
    "tau_gru": ("tauGRU", {"delay": 4}, _same("n d g a")),
    "ugrnn": ("UGRNN", {}, _same("n f")),
    "lightru": ("LightRU", {}, _same("n w", weight_hh=["U_w"])),
    "minimal_rnn": (
        "MinimalRNN",
        {},
        {"weight_ih": ["W_e"], "weight_hh": ["U_k"], "weight_mm": ["U_v"], "bias_ih": ["b_e"], "bias_hh": ["b_k"]},
    ),
    "sgrn": ("SGRN", {}, _same("a")),
    "atr": ("ATR", {}, _same("a")),
    "ran": ("RAN", {}, _same("n i f", weight_hh=["U_i", "U_f"], bias_ih=["b_i", "b_f"])),
    "cfn": ("CFN", {}, _same("f i n", weight_hh=["U_f", "U_i"])),
    "fastrnn": ("FastRNN", {}, _same("n", alpha=["alpha"], beta=["beta"])),
    "fastgrnn": (
        "FastGRNN",
        {"nonlinearity": "sigmoid"},
        _same("a", bias_ih=["b_a", "b_a"], bias_hh=["0", "c_n"], zeta=["zeta"], nu=["nu"]),
    ),
    "star": ("STAR", {}, _same("n k", weight_hh=["U_k"])),
    "intersection_rnn": ("IntersectionRNN", {}, _same("y n g f")),
    "indrnn": ("IndRNN", {"nonlinearity": "relu"}, _same("h", weight_hh=[], vector_u=["w"])),
    "brc": ("BR", {}, _same("a f n", weight_hh=["w_a", "w_f"])),
    "nbrc": ("NBR", {}, _same("a f n", weight_hh=["U_a", "U_f"])),
    "antisymmetric_rnn": ("AntisymmetricRNN", ANTISYMMETRIC, _same("h")),
    "gated_antisymmetric_rnn": ("GatedAntisymmetricRNN", ANTISYMMETRIC, _same("i h", weight_hh=["U_h"])),
    "cornn": (
        "coRNN",
        OSCILLATOR,
        {"weight_ih": ["W_a"], "weight_hh": ["U_a"], "weight_ch": ["U_v"], "bias_ih": ["b_a"]},
    ),
    "unicornn": ("UnICORNN", {"dt": 0.1, "alpha": 1.0}, _same("a", weight_hh=["w"], weight_ch=["c"])),
}

# Cells of the same name whose equations differ: its SCRN has one more matrix and tanh, its LEM reads the memory
# before the step. They can be timed, but not compared.
OTHERS = {"lem": "LEM", "scrn": "SCRN"}

NO_BIAS = {"residual_lstm": ["b_m"], "ran": ["b_n"], "intersection_rnn": ["b_d"]}
SCALARS = {"fastrnn": ["alpha", "beta"], "fastgrnn": ["zeta", "nu"]}


def _parts(cell: Gated, found: Named) -> Named:
    """W_r, U_r and b_r of each gate by name, and the vectors: of parameters or of gradients."""
    parts = dict(found)
    for kind, gates in (("W", cell.x_gates), ("b", cell.x_gates), ("U", cell.u_gates)):
        if gates:
            blocks = zip(gates, found[kind].split(cell.hidden_size), strict=True)
            parts |= {f"{kind}_{gate}": block for gate, block in blocks}
    return parts


def agreeing(name: str, size: int) -> Gated:
    """Our cell, the parameters that theirs has no place for set to what theirs means."""
    torch.manual_seed(0)
    kind: Any = LAYERS[name]
    cell: Gated = kind(size, size)
    with torch.no_grad():
        parts = _parts(cell, {key: value.detach() for key, value in cell.named_parameters()})
        for zero in NO_BIAS.get(name, []):
            parts[zero].zero_()
        if name == "intersection_rnn":
            parts["W_d"].copy_(torch.eye(size))
    return cell


def layer_named(name: str, size: int) -> nn.Module:
    """Their layer with weights of its own."""
    torch.manual_seed(0)
    made: nn.Module = getattr(torchrecurrent, name)(size, size)
    return made


def layer_like(name: str, cell: Gated) -> nn.Module:
    """Their layer with the weights of our cell."""
    kind, arguments, layout = LAYOUTS[name]
    made: Any = getattr(torchrecurrent, kind)(cell.input_size, cell.hidden_size, **arguments)
    parts = _parts(cell, {key: value.detach() for key, value in cell.named_parameters()})
    parts["0"] = torch.zeros(cell.hidden_size)
    with torch.no_grad():
        for key, parameter in made.cells[0].named_parameters():
            if layout.get(key):
                joined = torch.cat([parts[part] for part in layout[key]])
                parameter.copy_(joined[: len(parameter)] if parameter.shape == (1,) else joined)
            elif key.startswith("bias"):
                parameter.zero_()
    result: nn.Module = made
    return result


def renamed(name: str, cell: Gated, found: Named, theirs: bool) -> Named:
    """Gradients by their names, of ours or of theirs, as far as both have them.

    A block of zeros has no counterpart; one number of theirs stands for a vector of ours.
    """
    kept = {key: parts for key, parts in LAYOUTS[name][2].items() if parts and "0" not in parts}
    if name == "fastgrnn":  # b_a stands twice in their one bias
        del kept["bias_ih"]
    if theirs:
        return {key: found[f"cells.0.{key}"] for key in kept if f"cells.0.{key}" in found}
    parts = _parts(cell, found)
    joined = {key: torch.cat([parts[part] for part in names]) for key, names in kept.items()}
    return {key: value.sum().view(1) if key in SCALARS.get(name, []) else value for key, value in joined.items()}


def sources_of(name: str) -> list[type]:
    """Their classes that make up a cell: the layer and the cell."""
    kind = LAYOUTS[name][0] if name in LAYOUTS else OTHERS[name]
    return [getattr(torchrecurrent, kind), getattr(torchrecurrent, f"{kind}Cell")]


def run(layer: nn.Module, x: Tensor) -> Tensor:
    """y ``(T, B, H)`` from x ``(T, B, F)``."""
    y: Tensor = layer(x)[0]
    return y
