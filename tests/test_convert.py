"""Conversion between torch's layers and recurra's: the same numbers, gradients and memories, both ways."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra import GRU, LSTM, RNN, Bidirectional, Dropout, Readout, Recurrent, Residual, Stack, tree
from recurra.convert import from_torch, to_torch
from recurra.dropin import fuse
from recurra.errors import ConfigError
from recurra.layers import LayerNormLSTM, VariationalDropout, Zoneout, initialise

KINDS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
LENGTHS = torch.tensor([7, 1, 4])
EXACT = {"atol": 1e-12, "rtol": 1e-12}


def torch_layer(name: str, depth: int = 1, **options: Any) -> nn.Module:
    if name == "relu":
        name, options = "RNN", {**options, "nonlinearity": "relu"}
    torch.manual_seed(7)
    return KINDS[name](3, 5, depth, dtype=torch.float64, **options)


def cells_of(layer: Recurrent) -> list[Any]:
    """RNN, LSTM and GRU in torch's order: level by level, ahead before back."""
    if isinstance(layer, Stack):
        return [cell for part in layer for cell in cells_of(part)]
    if isinstance(layer, Bidirectional):
        return [layer.ahead, layer.back]
    return [] if isinstance(layer, Dropout) else [layer]


def theirs_on(layer: Any, x: torch.Tensor, lengths: torch.Tensor | None, hx: Any = None) -> tuple:
    """``y (B, T, D*H)`` and the last states ``(levels*D, B, H)`` of a torch layer, whatever its axes."""
    turn = (lambda v: v) if layer.batch_first else (lambda v: v.transpose(0, 1))
    if lengths is None:
        y, last = layer(turn(x), hx)
        return turn(y), last if isinstance(last, tuple) else (last,)
    packed, last = layer(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False), hx)
    y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
    return y, last if isinstance(last, tuple) else (last,)


def ours_on(layer: Recurrent, x: torch.Tensor, lengths: torch.Tensor | None, state: Any = None) -> tuple:
    """The same of ours: of each state tensor one ``(levels*D, B, H)``."""
    y, state = layer(x, state, lengths)
    parts = [leaf for leaf in tree.leaves(state) if leaf.is_floating_point()]  # without the seeds of dropout
    names = 2 if isinstance(cells_of(layer)[0], LSTM) else 1
    return y, tuple(torch.stack(parts[i::names]) for i in range(names))


def gradients(y: torch.Tensor, last: tuple, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum()
    loss = loss + sum((part.square() * (i + 2)).sum() for i, part in enumerate(last))
    return list(torch.autograd.grad(loss, leaves))


def parameters_of(theirs: Any, ours: Recurrent) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of parameters that stand for the same thing; without bias only the two matrices."""
    names = ["weight_ih", "weight_hh", "bias_ih"][: 3 if theirs.bias else 2]
    suffixes = [f"_l{i}{s}" for i in range(theirs.num_layers) for s in ("", "_reverse")[: 1 + theirs.bidirectional]]
    pairs = []
    for suffix, cell in zip(suffixes, cells_of(ours), strict=True):
        own = [cell.W, cell.U, cell.b]
        pairs += [(theirs.get_parameter(name + suffix), own[i]) for i, name in enumerate(names)]
    return pairs


def assert_equal(theirs: Any, ours: Recurrent, lengths: torch.Tensor | None) -> None:
    """Equal outputs, last states, and gradients of x and of every parameter that both have."""
    torch.manual_seed(11)
    x = torch.randn(3, 7, 3, dtype=torch.float64, requires_grad=True)
    pairs = parameters_of(theirs, ours)
    want, got = theirs_on(theirs, x, lengths), ours_on(ours, x, lengths)
    torch.testing.assert_close(got[0], want[0], **EXACT)
    torch.testing.assert_close(got[1], want[1], **EXACT)
    want_slopes = gradients(*want, [x, *(a for a, _ in pairs)])
    got_slopes = gradients(*got, [x, *(b for _, b in pairs)])
    assert all(bool(slope.any()) for slope in want_slopes)
    torch.testing.assert_close(got_slopes, want_slopes, **EXACT)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["ahead", "both"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", ["RNN", "relu", "LSTM", "GRU"])
class TestBothWays:
    @pytest.mark.parametrize("batch_first", [True, False])
    def test_from_torch(
        self, name: str, depth: int, bidirectional: bool, bias: bool, lengths: Any, batch_first: bool
    ) -> None:
        theirs = torch_layer(name, depth, bidirectional=bidirectional, bias=bias, batch_first=batch_first)
        assert_equal(theirs, from_torch(theirs), lengths)

    def test_to_torch(self, name: str, depth: int, bidirectional: bool, bias: bool, lengths: Any) -> None:
        ours = from_torch(torch_layer(name, depth, bidirectional=bidirectional, bias=bias))
        back = to_torch(ours)
        assert back.batch_first
        assert back.bias == bias
        assert_equal(back, ours, lengths)


class TestFromTorch:
    def test_structure(self) -> None:
        assert type(from_torch(nn.GRU(3, 5))) is GRU
        assert type(from_torch(nn.GRU(3, 5, bidirectional=True))) is Bidirectional
        deep = from_torch(nn.LSTM(3, 5, 3, dropout=0.25, bidirectional=True))
        assert [type(part) for part in deep] == [Bidirectional, Dropout, Bidirectional, Dropout, Bidirectional]
        assert [part.p for part in deep if isinstance(part, Dropout)] == [0.25, 0.25]
        assert deep.input_shape == (3,)
        assert deep.output_shape == (10,)

    def test_the_second_bias_of_a_gru(self) -> None:
        theirs = torch_layer("GRU")
        ours = from_torch(theirs)
        x = torch.randn(2, 4, 3, dtype=torch.float64)
        (want,) = torch.autograd.grad(theirs_on(theirs, x, None)[0].sum(), [theirs.bias_hh_l0])
        got = torch.autograd.grad(ours(x)[0].sum(), [ours.b, ours.c_n])
        torch.testing.assert_close(got[1], want[10:], **EXACT)
        torch.testing.assert_close(got[0][:10], want[:10], **EXACT)

    @pytest.mark.parametrize("name", KINDS)
    def test_a_carried_state(self, name: str) -> None:
        theirs = torch_layer(name)
        ours, x = from_torch(theirs), torch.randn(3, 7, 3, dtype=torch.float64)
        hx = tuple(torch.randn(1, 3, 5, dtype=torch.float64) for _ in ours.state)
        want = theirs_on(theirs, x, LENGTHS, hx if name == "LSTM" else hx[0])
        got = ours_on(ours, x, LENGTHS, tree.State(**dict(zip(ours.state, [h[0] for h in hx], strict=True))))
        torch.testing.assert_close(got, want, **EXACT)

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
    def test_cells(self, cell: type, bias: bool) -> None:
        theirs = cell(3, 5, bias, dtype=torch.float64)
        ours, x = from_torch(theirs), torch.randn(2, 3, dtype=torch.float64)
        hx = tuple(torch.randn(2, 5, dtype=torch.float64) for _ in ours.state)
        want = theirs(x, hx if cell is nn.LSTMCell else hx[0])
        got = ours.step(x, tree.State(**dict(zip(ours.state, hx, strict=True))))[1]
        torch.testing.assert_close(tuple(got), want if cell is nn.LSTMCell else (want,), **EXACT)

    def test_relu_cell(self) -> None:
        assert from_torch(nn.RNNCell(3, 5, nonlinearity="relu")).activation == "relu"

    def test_twins(self) -> None:
        theirs = torch_layer("GRU", 2, bidirectional=True)
        assert_equal(theirs, from_torch(fuse(theirs, None)), None)

    def test_copies(self) -> None:
        theirs = nn.GRU(3, 5)
        ours = from_torch(theirs)
        before = ours.W.detach().clone()
        with torch.no_grad():
            theirs.weight_ih_l0.add_(1)
        assert torch.equal(ours.W, before)

    @pytest.mark.parametrize("grad", [True, False])
    def test_frozen_parameters_and_mode(self, grad: bool) -> None:
        theirs = nn.GRU(3, 5, 2).half().eval()
        theirs.weight_hh_l1.requires_grad_(False)
        theirs.bias_ih_l0.requires_grad_(False)
        theirs.bias_hh_l0.requires_grad_(False)
        with torch.set_grad_enabled(grad):
            ours = from_torch(theirs)
            back = to_torch(ours)
        assert not any(module.training for module in ours.modules())
        assert {name for name, p in ours.named_parameters() if not p.requires_grad} == {
            "layers.0.b",
            "layers.0.c_n",
            "layers.1.U",
        }
        assert {p.dtype for p in ours.parameters()} == {torch.float16}
        assert not back.training
        assert {name for name, p in back.named_parameters() if not p.requires_grad} == {
            "bias_ih_l0",
            "bias_hh_l0",
            "weight_hh_l1",
        }
        assert {p.dtype for p in back.parameters()} == {torch.float16}

    def test_without_bias_stays_without(self) -> None:
        """Training cannot bring back the bias that torch's layer did not have."""
        ours = from_torch(nn.GRU(3, 5, bias=False))
        assert not ours.b.any()
        assert not ours.c_n.any()
        assert [name for name, p in ours.named_parameters() if p.requires_grad] == ["W", "U"]

    def test_no_random_numbers(self) -> None:
        theirs = nn.LSTM(3, 5, 2, dropout=0.5)
        before = torch.get_rng_state()
        to_torch(from_torch(theirs))
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (nn.LSTM(3, 5, proj_size=2), r"projects its state \(proj_size=2\).*recurra.fuse"),
            (nn.GRU(3, 5, 2, dropout=1.0), r"0 <= p < 1, got 1.0"),
            (nn.Linear(3, 5), r"got torch.nn.modules.linear.Linear"),
            (type("Mine", (nn.LSTM,), {})(3, 5), r"got .*Mine; a subclass may"),
            (GRU(3, 5), r"got recurra.layers.gru.GRU"),
        ],
        ids=["projection", "dropout", "linear", "subclass", "ours"],
    )
    def test_refusals(self, layer: nn.Module, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            from_torch(layer)


class TestToTorch:
    def test_own_layers(self) -> None:
        """Layers that never were torch's, with a forget bias and a c_n that is not zero."""
        ours = Stack(GRU(3, 4, dtype=torch.float64), Stack(Dropout(0.5), GRU(4, 4, dtype=torch.float64))).eval()
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter.add_(0.1)
        back = to_torch(ours)
        assert (back.num_layers, back.dropout, back.bias, back.batch_first) == (2, 0.5, True, True)
        x = torch.randn(3, 7, 3, dtype=torch.float64)
        torch.testing.assert_close(back(x)[0], ours(x)[0], **EXACT)
        pair = Bidirectional(LSTM(3, 5, forget_bias=2, dtype=torch.float64), LSTM(3, 5, dtype=torch.float64))
        torch.testing.assert_close(to_torch(pair)(x)[0], pair(x)[0], **EXACT)

    @pytest.mark.parametrize("name", KINDS)
    def test_round_trip(self, name: str) -> None:
        theirs = torch_layer(name, 2, bidirectional=True, batch_first=True, dropout=0.5).eval()
        back = to_torch(from_torch(theirs))
        assert repr(back) == repr(theirs)
        x = torch.randn(3, 7, 3, dtype=torch.float64)
        torch.testing.assert_close(back(x), theirs(x), **EXACT)

    @pytest.mark.parametrize(("value", "trains"), [(0.0, True), (1.0, False), (0.0, False)])
    def test_a_bias_goes_only_if_it_is_zero_and_frozen(self, value: float, trains: bool) -> None:
        ours = LSTM(3, 4, forget_bias=value)
        with torch.no_grad():
            ours.b.fill_(value)
        ours.b.requires_grad_(trains)
        assert to_torch(ours).bias == (value != 0 or trains)

    def test_dropout_of_nothing_is_no_dropout(self) -> None:
        assert to_torch(Stack(Dropout(0.0), GRU(3, 4), GRU(4, 4))).dropout == 0

    @pytest.mark.parametrize(
        ("layer", "reason"),
        [
            (Stack(LSTM(3, 4), GRU(4, 4)), "one kind.*got LSTM of 4 units, .*GRU of 4 units"),
            (Stack(GRU(3, 4), GRU(4, 5)), "GRU of 4 units.*GRU of 5 units"),
            (Stack(RNN(3, 4), RNN(4, 4, "relu")), "with tanh.*with relu"),
            (Stack(GRU(3, 4), Dropout(0.1).double(), GRU(4, 4).double()), "float32.*float64"),
            (Bidirectional(GRU(3, 4), LSTM(3, 4)), "one kind"),
            (Bidirectional(GRU(3, 4), GRU(3, 4), "sum"), "merge='sum'"),
            (Bidirectional(Stack(GRU(3, 4)), GRU(3, 4)), "got recurra.layers.compose.Stack"),
            (Stack(Bidirectional(GRU(3, 2), GRU(3, 2)), GRU(4, 2)), "one direction or all with two"),
            (Stack(GRU(4, 4), Residual(GRU(4, 4))), "got recurra.layers.compose.Residual"),
            (Stack(GRU(3, 4), Readout(4, 2)), "got recurra.layers.readout.Readout"),
            (Zoneout(GRU(3, 4)), "got recurra.layers.dropout.Zoneout"),
            (LayerNormLSTM(3, 4), "got recurra.layers.layer_norm_lstm.LayerNormLSTM"),
            (Stack(GRU(3, 4), VariationalDropout(0.1), GRU(4, 4)), "VariationalDropout"),
            (Stack(Dropout(0.1), GRU(3, 4)), r"between each two levels, got Dropout\(p=0.1\), GRU"),
            (Stack(GRU(3, 4), Dropout(0.1)), r"got GRU, Dropout\(p=0.1\)"),
            (Stack(GRU(3, 4), Dropout(0.1), GRU(4, 4), GRU(4, 4)), "between each two levels"),
            (Stack(GRU(3, 4), Dropout(0.1), GRU(4, 4), Dropout(0.2), GRU(4, 4)), "of the same rate"),
            (GRU(3, 4, initial="learned"), "first state of zeros, got a learned one"),
            (Stack(*[GRU(4, 4)] * 2), "one layer used twice"),
            (Stack(Dropout(0.0)), "at least one RNN, LSTM or GRU"),
            (nn.LSTM(3, 4), "got torch.nn.modules.rnn.LSTM"),
        ],
    )
    def test_refusals(self, layer: Any, reason: str) -> None:
        with pytest.raises(ConfigError, match=f"to_torch: .*{reason}.*torch's layers cannot say this"):
            to_torch(layer)

    def test_trained_from_an_initialiser_of_ours(self) -> None:
        ours = initialise.chrono_(LSTM(3, 4), 20)
        assert torch.equal(to_torch(ours).bias_ih_l0, ours.b)
