"""Gradients through time: against matrices whose powers are known, finite differences, and rows measured alone."""

import json
import math

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import GRU, LSTM, RNN, Bidirectional, Dropout, Readout, Recompute, Residual, Stack, State, Stepwise
from recurra.diagnose.advice import advise
from recurra.diagnose.faults import locate
from recurra.diagnose.gradients import compare, gradients, gradients_of
from recurra.diagnose.jacobian import SAMPLE
from recurra.diagnose.passage import cells
from recurra.diagnose.saturation import has_sigmoid, squashed
from recurra.errors import ConfigError, LengthsError, ShapeError

WIDE = torch.float64


class Linear(Stepwise):
    """h' = A h + W x, y = h: the Jacobian over k steps is the k-th power of A."""

    def __init__(self, A: Tensor, W: Tensor) -> None:
        super().__init__()
        self.A, self.W = nn.Parameter(A), nn.Parameter(W)
        self.input_shape, self.output_shape = (W.shape[1],), (len(W),)

    def initial_state(self, batch, like=None):
        return State(h=(self.A if like is None else like).new_zeros(batch, len(self.A)))

    def step(self, x, state=None):
        h = state.h @ self.A.T + x @ self.W.T
        return h, State(h=h)


class Rotation(Stepwise):
    """A complex state, h' = a h + x with y = 2 Re h: an LRU without its products."""

    def __init__(self, size: int, radius: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.polar(torch.full((size,), radius), torch.arange(size).float()))
        self.input_shape = self.output_shape = (size,)

    def initial_state(self, batch, like=None):
        return State(h=torch.zeros(batch, len(self.a), dtype=self.a.dtype))

    def step(self, x, state=None):
        h = self.a * state.h + x
        return 2 * h.real, State(h=h)


def orthogonal(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, dtype=WIDE)).Q


def normal(size: int, largest: float) -> Tensor:
    """A symmetric matrix: its singular values are the absolute values of its eigenvalues."""
    q = orthogonal(size)
    return q @ torch.diag(torch.linspace(largest, largest / 3, size, dtype=WIDE)) @ q.T


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("largest", [0.8, 1.0, 1.3])
def test_singular_values_are_those_of_the_power(largest):
    A = normal(5, largest)
    (layer,) = gradients(Linear(A, orthogonal(5)), torch.randn(2, 19, 5, dtype=WIDE)).layers
    for lag, logs in zip(layer.lags.tolist(), layer.singular, strict=True):
        exact = torch.linalg.svdvals(torch.linalg.matrix_power(A, lag))
        torch.testing.assert_close(logs.exp(), exact[[0, 2, 4]], rtol=1e-7, atol=0.0)
    assert layer.lags.tolist() == list(range(19))
    assert layer.lyapunov == pytest.approx(math.log(largest), abs=1e-12)


def test_values_lost_beside_the_largest_keep_their_growth():
    eigenvalues = torch.tensor([1.1, 0.5, 0.1], dtype=WIDE)
    q = orthogonal(3)
    layer = gradients(Linear(q @ torch.diag(eigenvalues) @ q.T, q), torch.randn(1, 400, 3, dtype=WIDE)).layers[0]
    torch.testing.assert_close(layer.singular[-1] / 399, eigenvalues.log(), rtol=0.0, atol=0.01)
    assert layer.singular[-1, 2] < -900, "beyond what a floating point number can hold"


@pytest.mark.parametrize("largest", [0.5, 0.9, 0.97])
def test_horizon_and_influence_of_a_scaled_rotation(largest):
    time = 63
    layer = gradients(Linear(largest * orthogonal(4), orthogonal(4)), torch.randn(1, time, 4, dtype=WIDE)).layers[0]
    powers = largest ** torch.arange(time, dtype=WIDE)
    torch.testing.assert_close(layer.influence, powers)
    steps = math.ceil(math.log(0.01) / math.log(largest))
    assert layer.horizon == (steps if steps < time else None)
    torch.testing.assert_close(layer.norm, powers.flip(0))


def test_an_exploding_layer_has_no_horizon():
    layer = gradients(Linear(1.2 * orthogonal(3), orthogonal(3)), torch.randn(1, 40, 3, dtype=WIDE)).layers[0]
    assert layer.horizon is None
    assert layer.factor == pytest.approx(1.2)
    assert float(layer.norm[0]) == pytest.approx(1.2**39)


@pytest.mark.parametrize("radius", [0.7, 1.0])
def test_complex_states(radius):
    layer = gradients(Rotation(3, radius), torch.randn(2, 33, 3)).layers[0]
    assert layer.lyapunov == pytest.approx(math.log(radius), abs=1e-6)
    assert layer.growth[0].size == 6
    assert layer.rows.shape == (2, 33)
    torch.testing.assert_close(layer.singular[:, 0], layer.lags.double() * math.log(radius), rtol=0.0, atol=1e-5)


def differences(layer: recurra.Recurrent, x: Tensor, loss, t: int) -> Tensor:
    """dL/ds_t by central differences, the parts of the state side by side."""
    with torch.no_grad():
        head, state = layer(x[:, : t + 1])
        values = torch.cat(recurra.tree.leaves(state), 1)

        def rest(s: Tensor) -> Tensor:
            state_ = recurra.tree.unflatten(state, list(s.chunk(len(state), 1)))
            tail, _ = layer(x[:, t + 1 :], state_)
            return loss(torch.cat([head[:, :t], state_[0][:, None], tail], 1))

        found = torch.zeros_like(values)
        for i in range(values.numel()):
            move = torch.zeros_like(values).view(-1)
            move[i] = 1e-6
            move = move.view_as(values)
            found.view(-1)[i] = (rest(values + move) - rest(values - move)) / 2e-6
    return found


@pytest.mark.parametrize("make", [RNN, GRU, LSTM, recurra.zoo.MGU])
def test_norms_against_finite_differences(make):
    layer, x = make(3, 4, dtype=WIDE), torch.randn(2, 7, 3, dtype=WIDE)
    direction = torch.randn(2, 7, 4, dtype=WIDE)

    def loss(y: Tensor) -> Tensor:
        return (y * direction).sum() + y.square().sum()

    found = gradients(layer, x, loss).layers[0]
    for t in (0, 3, 6):
        torch.testing.assert_close(
            found.rows[:, t], differences(layer, x, loss, t).norm(dim=1), rtol=1e-6, atol=1e-8
        )


def test_h_and_c_make_up_the_whole():
    layer = gradients(LSTM(3, 5), torch.randn(1, 11, 3)).layers[0]
    assert list(layer.tensors) == ["h", "c"]
    whole = (layer.tensors["h"].square() + layer.tensors["c"].square()).sqrt()
    torch.testing.assert_close(whole, layer.norm_by_lag, rtol=0.1, atol=1e-6)  # a mean over draws of norms
    assert layer.norm_by_lag[0] == layer.norm[-1]


@pytest.mark.parametrize("make", [LSTM, lambda *a: Bidirectional(GRU(*a), GRU(*a))])
def test_padded_rows_are_as_alone(make):
    layer = make(3, 5)
    x, lengths = torch.randn(3, 19, 3), [19, 0, 7]
    x[2, 7:] = math.nan

    def loss(y: Tensor) -> Tensor:
        return y.square().sum()

    together = gradients(layer, x, loss, lengths)
    for row, length in enumerate(lengths):
        if length:
            alone = gradients(layer, x[row : row + 1, :length], loss)
            for a, b in zip(together.layers, alone.layers, strict=True):
                torch.testing.assert_close(a.rows[row, :length], b.rows[0])
                torch.testing.assert_close(a.growth[(0, None, 1)[row]].singular, b.growth[0].singular)
        assert all(a.rows[row, length:].isnan().all() for a in together.layers)
    assert together.fault is None


def test_both_directions():
    ahead, back = GRU(3, 4), RNN(3, 5)
    x = torch.randn(2, 19, 3)
    found = {layer.place: layer for layer in gradients(Bidirectional(ahead, back), x, torch.sum).layers}
    torch.testing.assert_close(found["ahead"].rows, gradients(ahead, x, torch.sum).layers[0].rows)
    torch.testing.assert_close(found["back"].rows, gradients(back, x.flip(1), torch.sum).layers[0].rows)


def test_every_layer_of_a_deep_network_is_seen_and_named():
    network = Stack(
        LSTM(3, 6), Dropout(0.5), Residual(recurra.Zoneout(GRU(6, 6))), Recompute(RNN(6, 6), 4), Readout(6, 2)
    )
    found = gradients(network, torch.randn(2, 33, 3))
    assert [layer.title for layer in found.layers] == [
        "layers.0 LSTM",
        "layers.2.layer Zoneout of GRU",
        "layers.3.layer RNN",
    ]
    assert not found.missing
    assert all(0 < layer.parameters <= found.norm for layer in found.layers)
    assert all(layer.steps == 33 for layer in found.layers)


def test_parameter_norms_are_torchs():
    network = Stack(GRU(3, 5), LSTM(5, 4))
    x = torch.randn(2, 9, 3)
    found = gradients(network, x, lambda y: y.square().sum())
    network(x)[0].square().sum().backward()
    assert found.norm == pytest.approx(float(nn.utils.get_total_norm([p.grad for p in network.parameters()])), 1e-4)
    first = nn.utils.get_total_norm([p.grad for p in network[0].parameters()])
    assert found.layers[0].parameters == pytest.approx(float(first), 1e-4)


def test_nothing_is_changed():
    network = Stack(recurra.RecurrentDropout(LSTM(3, 5)), Dropout(0.5), Recompute(GRU(5, 5))).train()
    x = torch.randn(2, 8, 3)
    network(x)[0].sum().backward()
    before = [(p.clone(), p.grad.clone()) for p in network.parameters()]
    random, steps = torch.get_rng_state(), network[2].steps
    gradients(network, x)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(
        torch.equal(p, q) and torch.equal(p.grad, g) for p, (q, g) in zip(network.parameters(), before, strict=True)
    )
    assert all(module.training and not module._forward_hooks for module in network.modules())
    assert network[2].steps == steps
    assert next(network.parameters()).dtype == torch.float32


def test_frozen_and_untracked_networks_can_be_measured():
    network = RNN(3, 5).requires_grad_(False)
    with torch.no_grad():
        assert float(gradients(network, torch.randn(1, 6, 3)).layers[0].norm[0]) > 0


def test_large_states_by_some_directions():
    layer = gradients(Linear(0.9 * orthogonal(300), orthogonal(300)), torch.randn(1, 12, 300, dtype=WIDE)).layers[0]
    assert (layer.growth[0].directions, layer.growth[0].size, layer.whole) == (SAMPLE, 300, False)
    assert layer.factor == pytest.approx(0.9)
    assert layer.singular[1:, 1:].isnan().all()


class Tokens(nn.Module):
    """A network of somebody else: no recurrent layer itself, and its input is numbers of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.body = nn.Embedding(7, 3), nn.ModuleDict({"cell": GRU(3, 4), "idle": RNN(3, 4)})

    def forward(self, tokens: Tensor) -> Tensor:
        return self.body["cell"](self.embedding(tokens))[0]


def test_any_module():
    found = gradients(Tokens(), torch.randint(7, (2, 9)))
    assert [layer.place for layer in found.layers] == ["body.cell"]
    assert found.missing == {"body.idle": "the network did not call it on a sequence"}
    assert gradients_of(Tokens(), lambda net: net(torch.ones(1, 4, dtype=torch.long)).sum()).layers[0].steps == 4


def test_gates():
    squeezed = {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid"}
    assert squashed(LSTM(3, 5)) == squeezed
    assert squashed(GRU(1, 2)) == {"r": "sigmoid", "z": "sigmoid", "n": "tanh"}
    assert squashed(RNN(3, 5)) == {"h": "tanh"}
    assert squashed(RNN(3, 5, "relu")) == {}
    assert [has_sigmoid(cell) for cell in (GRU(1, 2), recurra.zoo.JANET(1, 2), RNN(3, 5))] == [True, True, False]
    open_ = gradients(LSTM(3, 5, forget_bias=9.0), torch.randn(2, 9, 3)).layers[0].saturation
    assert open_["f"] == 1.0
    assert open_["i"] < 0.5
    shares = gradients(RNN(3, 5), 100 * torch.randn(2, 9, 3), lengths=[9, 4]).layers[0].saturation
    assert shares["h"] > 0.9
    assert gradients(Rotation(2, 0.5), torch.randn(1, 4, 2)).layers[0].saturation is None


def test_saturation_counts_valid_steps_only():
    layer, x = RNN(2, 3), 100 * torch.ones(2, 8, 2)
    x[:, 4:] = 0
    whole = gradients(layer, x).layers[0].saturation["h"]
    assert whole < gradients(layer, x, lengths=[4, 4]).layers[0].saturation["h"] == 1.0


def test_an_overflow_on_the_way_forward_is_located():
    layer = Stack(GRU(3, 4), Linear(1e10 * torch.eye(4), torch.eye(4)))
    x = torch.randn(2, 9, 3)
    fault = gradients(layer, x, dtype=None).fault
    assert (fault.what, fault.place, fault.kind, fault.steps) == ("state", "layers.1", "Linear", 9)
    with torch.no_grad():
        states = [layer(x[:, :t])[0][:, -1].isfinite().all() for t in range(1, 10)]
    assert fault.step == 1 + states.index(False)
    assert locate(layer, lambda net: net(x)[0].sum()) == fault
    assert gradients(layer, x).fault is None, "there is room in float64"
    assert "the state of layers.1 (Linear) is not finite, first at step" in str(fault)


def test_an_input_that_is_not_finite_is_located():
    x = torch.randn(2, 9, 3)
    x[1, 5] = math.inf
    fault = gradients(RNN(3, 4), x).fault
    assert (fault.what, fault.step) == ("input", 6)


def test_a_gradient_that_is_not_finite_is_located_with_its_parameters():
    layer = Linear(torch.eye(2), torch.eye(2))
    x = torch.ones(1, 6, 2)
    x[0, 3:] = torch.tensor([-4.0, -4.0])

    def loss(y: Tensor) -> Tensor:
        return (y[:, 3] + 1).sqrt().sum() + y.sum()  # h is -1 after step 4: the slope of a root at 0

    fault = locate(layer, lambda net: loss(net(x)[0]))
    assert (fault.what, fault.step, fault.steps) == ("gradient", 4, 6)
    assert set(fault.parameters) == {"A", "W"}
    assert locate(layer, lambda net: net(x)[0].sum()) is None


def test_compare_and_plain_values():
    found = compare({"rnn": RNN(2, 4), "lstm": LSTM(2, 4)}, torch.randn(1, 20, 2))
    assert list(found) == ["rnn", "lstm"]
    values = json.loads(json.dumps(found["lstm"].to_dict(), allow_nan=False))
    assert len(values["layers"][0]["gradient_norm"]) == 20
    assert values["layers"][0]["lyapunov"] == found["lstm"].layers[0].lyapunov


@pytest.mark.parametrize("name", ["indrnn", "brc", "unicornn", "scrn", "layer_norm_lstm", "recurrent_highway"])
def test_cells_of_every_build(name):
    found = gradients(recurra.LAYERS[name](4, 4), torch.randn(2, 9, 4), lengths=[9, 5])
    assert found.fault is None
    assert not math.isnan(found.layers[0].lyapunov)
    assert advise(found)


@pytest.mark.parametrize("time", [1, 2])
def test_short_sequences(time):
    layer = gradients(LSTM(2, 3), torch.randn(1, time, 2)).layers[0]
    assert layer.norm.shape == (time,)
    assert layer.lags.tolist() == list(range(time))


def test_dead_networks_have_no_gradient():
    dead = RNN(2, 3, "relu")
    nn.init.constant_(dead.b, -100.0)
    layer = gradients(dead, torch.randn(1, 9, 2)).layers[0]
    assert layer.lyapunov == -math.inf
    assert float(layer.norm[0]) == 0.0
    json.dumps(layer.to_dict(), allow_nan=False)


def test_what_cannot_be_measured_is_said():
    x = torch.randn(2, 5, 3)
    with pytest.raises(ShapeError, match="rows and time steps"):
        gradients(RNN(3, 4), x[:, :0])
    with pytest.raises(ShapeError, match="length 0"):
        gradients(RNN(3, 4), x, lengths=[0, 0])
    with pytest.raises(LengthsError, match="one length a row"):
        gradients(RNN(3, 4), x, lengths=[5])
    with pytest.raises(ConfigError, match=r"none in Linear; recurra.from_torch"):
        gradients(nn.Linear(3, 4), x)
    with pytest.raises(ConfigError, match="networks by name"):
        compare({}, x)
    with pytest.raises(ConfigError, match="lengths are for recurrent layers"):
        gradients(Tokens(), torch.randint(7, (2, 5)), lengths=[5, 2])
    assert list(cells(Stack(Dropout(0.1), GRU(3, 4)))) == ["layers.1"]
