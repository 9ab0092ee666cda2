"""The zoo: every cell can be compiled, the intricate ones are their papers' formulas, many are torchrecurrent's."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import layer_norm

from recurra import LAYERS, LSTM, Gated, initialise, tree, use_backend
from recurra.errors import ConfigError
from recurra.kernels.equation import trace
from recurra.layers import zoo
from recurra.layers.zoo import ZOO

FUSED = True  # whether the fused kernel runs late gates, gates of one product and normalised cells
DOCUMENTS = [Path(__file__).parents[2] / "docs" / name for name in ("zoo.md", "zh-TW/zoo.md")]
F, H, T = 3, 5, 6

Parts = dict[str, Tensor]
States = dict[str, Tensor]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def moved(cell: Any) -> Any:
    """The cell in float64 with every parameter somewhere, none at 0 or 1."""
    cell = cell.double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


def parts(cell: Gated) -> Parts:
    """W_r, U_r, b_r, gain_x_r, gain_h_r of each gate by name, and the vectors."""
    found = {name: value.detach() for name, value in cell.named_parameters()}
    for kind, gates in zip(
        ("W", "b", "gain_x", "U", "gain_h"), [cell.x_gates] * 3 + [cell.u_gates] * 2, strict=True
    ):
        if kind in found and gates:
            blocks = zip(gates, found[kind].split(cell.hidden_size), strict=True)
            found.update({f"{kind}_{gate}": block for gate, block in blocks})
    return found


# The formulas of the papers, with their products written out. Rows of x and of the states are (B, F) and (B, H).


def product(p: Parts, gate: str, x: Tensor, h: Tensor) -> Tensor:
    return x @ p[f"W_{gate}"].T + p[f"b_{gate}"] + h @ p[f"U_{gate}"].T


def multiplicative_lstm(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    m = (x @ p["W_m"].T + p["b_m"]) * (s["h"] @ p["U_m"].T)
    i, f, g, o = (product(p, gate, x, m) for gate in "ifgo")
    c = sigmoid(f) * s["c"] + sigmoid(i) * tanh(g)
    return {"h": sigmoid(o) * tanh(c), "c": c}


def residual_lstm(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    i, f, g, o = (product(p, gate, x, s["h"]) for gate in "ifgo")
    c = sigmoid(f + p["p_f"] * s["c"]) * s["c"] + sigmoid(i + p["p_i"] * s["c"]) * tanh(g)
    projection = tanh(c) @ p["U_m"].T
    shortcut = x @ p["W_m"].T + p["b_m"]
    return {"h": sigmoid(o + p["p_o"] * c) * (projection + shortcut), "c": c}


def lem(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    a, d = (cell.dt * sigmoid(product(p, gate, x, s["h"])) for gate in "ad")
    c = (1 - a) * s["c"] + a * tanh(product(p, "c", x, s["h"]))
    return {"h": (1 - d) * s["h"] + d * tanh(product(p, "h", x, c)), "c": c}


def recurrent_highway(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    state = s["h"]
    for layer in (1, 2):
        seen = [x @ p[f"W_{k}1"].T + p[f"b_{k}1"] if layer == 1 else p[f"b_{k}2"] for k in "nt"]
        n, t = (seen[i] + state @ p[f"U_{k}{layer}"].T for i, k in enumerate("nt"))
        state = tanh(n) * sigmoid(t) + state * (1 - sigmoid(t))
    return {"h": state}


def tau_gru(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    past = [s["h"], *(s[f"h{k}"] for k in range(1, 5))]
    u, g, a = (product(p, gate, x, past[0]) for gate in "nga")
    z = tanh(product(p, "d", x, past[4]))
    h = (1 - sigmoid(g)) * past[0] + sigmoid(g) * (tanh(u) + sigmoid(a) * z)
    return dict(zip(("h", "h1", "h2", "h3", "h4"), [h, *past], strict=False))


def slstm(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    """Without the stabiliser: in float64 and for a few steps nothing overflows."""
    i, f, z, o = (product(p, gate, x, s["h"]) for gate in "ifzo")
    scale = torch.exp(s["m"])
    c = sigmoid(f) * scale * s["c"] + torch.exp(i) * tanh(z)
    n = sigmoid(f) * scale * s["n"] + torch.exp(i)
    m = torch.where(s["n"] > 0, torch.maximum(torch.log(sigmoid(f)) + s["m"], i), i)
    return {"h": sigmoid(o) * c / n, "c": c / torch.exp(m), "n": n / torch.exp(m), "m": m}


def scrn(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    context = 0.05 * (x @ p["W_s"].T + p["b_s"]) + 0.95 * s["s"]
    return {"h": sigmoid(context @ p["U_p"].T + product(p, "h", x, s["h"])), "s": context}


def antisymmetric_rnn(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    A = p["U"] - p["U"].T - cell.gamma * torch.eye(H).double()
    return {"h": s["h"] + cell.epsilon * tanh(x @ p["W"].T + p["b"] + s["h"] @ A.T)}


def reset_before_gru(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    """ONNX's definition of GRU with linear_before_reset = 0, its matrices stacked in the order z, r, h."""
    W, R = (torch.cat([p[f"{kind}_{gate}"] for gate in "zrn"]) for kind in "WU")
    Wbz, Wbr, Wbh = (p[f"b_{gate}"] for gate in "zrn")
    Wz, Wr, Wh, Rz, Rr, Rh = (*W.chunk(3), *R.chunk(3))
    zt = sigmoid(x @ Wz.T + s["h"] @ Rz.T + Wbz)
    rt = sigmoid(x @ Wr.T + s["h"] @ Rr.T + Wbr)
    ht = tanh(x @ Wh.T + (rt * s["h"]) @ Rh.T + Wbh)
    return {"h": (1 - zt) * ht + zt * s["h"]}


def layer_norm_gru(p: Parts, x: Tensor, s: States, cell: Any) -> States:
    seen = {k: layer_norm(x @ p[f"W_{k}"].T, (H,)) * p[f"gain_x_{k}"] + p[f"b_{k}"] for k in "rzn"}
    kept = {k: layer_norm(s["h"] @ p[f"U_{k}"].T, (H,)) * p[f"gain_h_{k}"] for k in "rzn"}
    r, z = sigmoid(seen["r"] + kept["r"]), sigmoid(seen["z"] + kept["z"])
    return {"h": (1 - z) * tanh(seen["n"] + r * (kept["n"] + p["c_n"])) + z * s["h"]}


FORMULAS: dict[str, Callable[[Parts, Tensor, States, Any], States]] = {
    formula.__name__: formula
    for formula in (
        *(multiplicative_lstm, residual_lstm, lem, recurrent_highway, tau_gru, slstm, scrn),
        *(antisymmetric_rnn, reset_before_gru, layer_norm_gru),
    )
}


@pytest.mark.parametrize("name", FORMULAS)
def test_cell_is_its_formulas(name: str) -> None:
    cell = moved(ZOO[name](F, H))
    x = torch.randn(4, T, F).double()
    with use_backend("reference"):
        y, last = cell(x)
    p, state = parts(cell), {k: torch.zeros(4, H).double() for k in cell.state}
    for t in range(T):
        state = FORMULAS[name](p, x[:, t], state, cell)
        torch.testing.assert_close(y[:, t], state["h"], rtol=0, atol=1e-12)
    for k in cell.state:
        torch.testing.assert_close(getattr(last, k), state[k], rtol=1e-12, atol=1e-12)


def test_coupled_gates_are_an_lstm_with_opposite_gates() -> None:
    cell, lstm = moved(ZOO["cifg_lstm"](F, H)), moved(LSTM(F, H))
    for name in ("W", "U", "b"):
        f, g, o = cell.get_parameter(name).detach().chunk(3)
        lstm.get_parameter(name).data = torch.cat([-f, f, g, o])
    x = torch.randn(4, T, F).double()
    torch.testing.assert_close(cell(x)[0], lstm(x)[0], rtol=0, atol=1e-12)


# torchrecurrent (MIT licence) has many of these cells as loops in Python. Those below are the same functions:
# the name there, its arguments, and from which of our parts each of its parameters is put together. "0" is a
# block of zeros, and so is each of its biases that is not named (it has two of each, b and one more).
#
# Not compared: cifg_lstm, slstm, reset_before_gru and layer_norm_gru are not in it. Its SCRN puts the hidden
# layer through one more matrix and a tanh. Its LEM reads the memory before the step, the paper's the one after.
# Its recurrent highway cell is not exported. Held at zero here, for it has no such bias: residual_lstm's b_m,
# ran's b_n. Its FastGRNN takes the tanh for gate and candidate unless told otherwise, its IndRNN too.


def same(gates: str, **others: list[str]) -> dict[str, list[str]]:
    """A layout in which W, U and b all have the gates in one order."""
    kinds = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}
    return {theirs: [f"{kind}_{gate}" for gate in gates.split()] for theirs, kind in kinds.items()} | others


LAYOUTS: dict[str, tuple[str, dict[str, Any], dict[str, list[str]]]] = {
    "original_lstm": ("OriginalLSTMCell", {}, same("i g o")),
    "multiplicative_lstm": (
        "MultiplicativeLSTMCell",
        {},
        same("m i f g o", weight_hh=["U_m"], weight_mh=["U_i", "U_f", "U_g", "U_o"]),
    ),
    "residual_lstm": (
        "ResLSTMCell",
        {},
        same("i f g o", weight_proj=["U_m"], weight_res=["W_m"], weight_ph=["p_i", "p_f", "p_o"]),
    ),
    "janet": ("JANETCell", {}, same("f g")),
    "mgu": ("MGUCell", {}, same("w n")),
    "mut1": ("MUT1Cell", {}, same("w r n", weight_hh=["U_r", "U_n"], bias_hh=["0", "c_n"])),
    "mut2": ("MUT2Cell", {}, same("w r n")),
    "mut3": ("MUT3Cell", {}, same("w r n")),
    "ligru": ("LiGRUCell", {}, same("z n")),
    "tau_gru": ("tauGRUCell", {}, same("n d g a")),
    "ugrnn": ("UGRNNCell", {}, same("n f")),
    "lightru": ("LightRUCell", {}, same("n w", weight_hh=["U_w"])),
    "minimal_rnn": (
        "MinimalRNNCell",
        {},
        {"weight_ih": ["W_e"], "weight_hh": ["U_k"], "weight_mm": ["U_v"], "bias_ih": ["b_e"], "bias_hh": ["b_k"]},
    ),
    "sgrn": ("SGRNCell", {}, same("a")),
    "atr": ("ATRCell", {}, same("a")),
    "ran": ("RANCell", {}, same("n i f", weight_hh=["U_i", "U_f"], bias_ih=["b_i", "b_f"])),
    "cfn": ("CFNCell", {}, same("f i n", weight_hh=["U_f", "U_i"])),
    "fastrnn": ("FastRNNCell", {}, same("n", alpha=["alpha"], beta=["beta"])),
    "fastgrnn": (
        "FastGRNNCell",
        {"nonlinearity": "sigmoid"},
        same("a", bias_ih=["b_a", "b_a"], bias_hh=["0", "c_n"], zeta=["zeta"], nu=["nu"]),
    ),
    "star": ("STARCell", {}, same("n k", weight_hh=["U_k"])),
    "intersection_rnn": ("IntersectionRNNCell", {}, same("y n g f")),
    "indrnn": ("IndRNNCell", {"nonlinearity": "relu"}, same("h", weight_hh=[], vector_u=["w"])),
    "brc": ("BRCell", {}, same("a f n", weight_hh=["w_a", "w_f"])),
    "nbrc": ("NBRCell", {}, same("a f n", weight_hh=["U_a", "U_f"])),
    "antisymmetric_rnn": ("AntisymmetricRNNCell", {"epsilon": 0.1, "gamma": 0.01}, same("h")),
    "gated_antisymmetric_rnn": (
        "GatedAntisymmetricRNNCell",
        {"epsilon": 0.1, "gamma": 0.01},
        same("i h", weight_hh=["U_h"]),
    ),
    "cornn": (
        "coRNNCell",
        {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7},
        {"weight_ih": ["W_a"], "weight_hh": ["U_a"], "weight_ch": ["U_v"], "bias_ih": ["b_a"]},
    ),
    "unicornn": (
        "UnICORNNCell",
        {"dt": 0.1, "alpha": 1.0},
        same("a", weight_hh=["w"], weight_ch=["c"]),
    ),
}


def agreeing(name: str) -> Gated:
    """Our cell with the parameters that theirs has no place for set to what theirs means."""
    cell = moved(ZOO[name](H if name == "intersection_rnn" else F, H))
    p, H_ = parts(cell), cell.hidden_size
    for zero in {"residual_lstm": ["b_m"], "ran": ["b_n"], "intersection_rnn": ["b_d"]}.get(name, []):
        p[zero].zero_()
    if name == "intersection_rnn":
        p["W_d"].copy_(torch.eye(H_))
    for scalar in {"fastrnn": ["alpha", "beta"], "fastgrnn": ["zeta", "nu"]}.get(name, []):
        p[scalar].fill_(float(p[scalar][0]))
    return cell


def theirs(library: Any, name: str, cell: Gated) -> Any:
    """The cell of torchrecurrent with the same weights."""
    kind, arguments, layout = LAYOUTS[name]
    other = getattr(library, kind)(cell.input_size, cell.hidden_size, dtype=torch.float64, **arguments)
    p = {**parts(cell), "0": torch.zeros(cell.hidden_size).double()}
    with torch.no_grad():
        for key, parameter in other.named_parameters():
            blocks = [p[part] for part in layout.get(key, [])]
            joined = torch.cat(blocks) if blocks else torch.zeros_like(parameter)
            assert key.startswith("bias") or blocks or key == "beta", f"{key} is not in the layout"
            if blocks:
                parameter.copy_(joined[: len(parameter)] if parameter.shape == (1,) else joined)
            elif key.startswith("bias"):
                parameter.zero_()
    return other


def run(name: str, other: Any, x: Tensor) -> Tensor:
    """Their outputs over time; two of their cells have a step of another form."""
    state: Any = None
    outputs: list[Tensor] = []
    for t in range(x.shape[1]):
        if name == "tau_gru":
            late = outputs[t - 5] if t >= 5 else None
            state = output = other(x[:, t], state, late)
        elif name == "intersection_rnn":
            output, state = other(x[:, t], state)
        else:
            state = other(x[:, t], state)
            output = state[0] if isinstance(state, tuple) else state
        outputs.append(output)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_cell_is_that_of_torchrecurrent(name: str) -> None:
    library = pytest.importorskip("torchrecurrent")
    cell = agreeing(name)
    x = torch.randn(4, 9, cell.input_size).double()
    with torch.no_grad(), use_backend("reference"):
        y, _ = cell(x)
        torch.testing.assert_close(y, run(name, theirs(library, name, cell), x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ZOO)
def test_cell_can_be_compiled(name: str) -> None:
    cell = ZOO[name](F, H)
    equation = trace(cell)
    assert equation.state == cell.state
    assert (equation.inner is not None) == bool(cell.late)


@pytest.mark.skipif(not FUSED, reason="the fused kernel does not run every cell yet")
@pytest.mark.parametrize("name", ZOO)
def test_cell_runs_fused(name: str) -> None:
    assert "fused ran" in ZOO[name](F, H).explain(torch.randn(4, T, F))


# Gradients and numbers to begin with.


@pytest.mark.parametrize("name", ZOO)
def test_gradients_from_the_first_state_are_finite(name: str) -> None:
    cell = ZOO[name](F, H)
    x = torch.randn(2, 20, F, requires_grad=True)
    with use_backend("reference"):
        y, last = cell(x)
    sum(leaf.sum() for leaf in (y, *last)).backward()
    gradients = [p.grad for p in (x, *cell.parameters()) if p.numel()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


@pytest.mark.parametrize(("i", "f"), [(-300, 0), (300, 0), (0, -300), (300, -300), (-300, -300), (-80, 50)])
def test_slstm_is_finite_whatever_its_gates(i: float, f: float) -> None:
    cell = zoo.SLSTM(F, H)
    parts(cell)["b_i"].fill_(i)
    parts(cell)["b_f"].fill_(f)
    with use_backend("reference"):
        y, last = cell(torch.randn(2, 20, F))
    (y.sum() + last.n.sum()).backward()
    assert y.abs().max() < 1
    assert last.n.min() >= 1
    assert all(p.grad is not None and p.grad.isfinite().all() for p in cell.parameters())


def test_initial_values_of_the_papers() -> None:
    w = parts(zoo.IndRNN(F, 500))["w"]
    assert w.min() >= 0
    assert w.max() <= 1
    assert w.std() > 0.2
    highway = parts(zoo.RecurrentHighway(F, H, transform_bias=-3))
    assert all((highway[name] == value).all() for name, value in (("b_n1", 0), ("b_t1", -3), ("b_t2", -3)))
    assert (parts(zoo.FastRNN(F, H))["beta"] == 3).all()
    assert (parts(zoo.JANET(F, H))["b_f"] == 1).all()


KEEPERS = [name for name, kind in ZOO.items() if {"f", "z"} & set(kind.gates) and name != "slstm"]  # scaled by m


@pytest.mark.parametrize("name", KEEPERS)
def test_gates_named_f_and_z_keep_the_state(name: str) -> None:
    """`initialise.chrono_` relies on it: for a longer memory it moves less in a step without input."""
    moves = []
    for longest in (3, 10_000):
        cell = initialise.chrono_(ZOO[name](F, 64), longest)
        before = tree.map(lambda leaf: leaf + 0.1, cell.initial_state(1))
        with torch.no_grad(), use_backend("reference"):
            after = cell(torch.zeros(1, 1, F), before)[1]
        moves.append(float((after[-1] - before[-1]).abs().mean()))
    assert moves[1] < 0.5 * moves[0]


def test_delay_of_tau_gru() -> None:
    assert zoo.TauGRU(F, H, delay=2).state == ("h", "h1", "h2")
    for wrong in (0, 2.0, True):
        with pytest.raises(ConfigError, match="TauGRU: expected delay to be a whole number of at least 1"):
            zoo.TauGRU(F, H, delay=wrong)  # type: ignore[arg-type]


# The table.


def test_table_is_whole() -> None:
    assert len(ZOO) >= 28
    assert len(set(ZOO.values())) == len(ZOO)
    assert {kind.__name__ for kind in ZOO.values()} == set(zoo.__all__) - {"ZOO"}
    assert all(LAYERS[name] is kind for name, kind in ZOO.items())


@pytest.mark.parametrize("name", ZOO)
def test_cell_cites_its_paper_and_takes_few_arguments(name: str) -> None:
    kind = ZOO[name]
    assert re.search(r"[A-Z]\w+.* (19|20)\d\d", inspect.getdoc(kind) or "")
    assert len(inspect.signature(kind).parameters) <= 6


@pytest.mark.parametrize("document", DOCUMENTS, ids=["English", "Chinese"])
def test_document_has_the_figures_of_every_cell(document: Path) -> None:
    """A row says: name, class, paper with its year, matrices W + U, stages."""
    row = r"^\| `(\w+)` \| `(\w+)` \| [^|]*?(\d{4}) \| (\d+) \+ (\d+) \| (\d) \|"
    rows = re.findall(row, document.read_text("utf-8"), re.M)
    assert [name for name, *_ in rows] == list(ZOO)
    for name, kind, year, W, U, stages in rows:
        cell = ZOO[name](F, H)
        early = len(cell.u_gates) - len(cell.late)
        assert kind == type(cell).__name__
        assert year in (type(cell).__doc__ or ""), name
        assert (len(cell.x_gates), len(cell.u_gates)) == (int(W), int(U)), name
        assert bool(early) + bool(cell.late) == int(stages), name
