"""The named initialisers do what their names say."""

import math

import pytest
import torch

from recurra import GRU, LSTM, QRNN, RNN, SRU, LayerNormLSTM, MinGRU, MinLSTM, PeepholeLSTM, initialise, tree, zoo
from recurra.errors import ConfigError

CELLS = [RNN, LSTM, GRU, PeepholeLSTM, LayerNormLSTM]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("kind", CELLS)
def test_default_is_orthogonal_gate_by_gate(kind: type) -> None:
    layer = kind(19, 33, initial="learned", dtype=torch.float64)
    for gate in layer.U.chunk(len(layer.gates)):
        torch.testing.assert_close(gate @ gate.T, torch.eye(33, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", CELLS)
def test_default_spreads_w_by_the_sizes_of_one_gate(kind: type) -> None:
    layer = kind(19, 33)
    bound = math.sqrt(6 / (19 + 33))  # Xavier; over all gates together it would be smaller
    for gate in layer.W.chunk(len(layer.gates)):
        assert gate.abs().max() <= bound
        assert gate.abs().max() > 0.97 * bound
        assert abs(gate.std().item() - bound / math.sqrt(3)) < 0.05 * bound
        assert abs(gate.mean().item()) < 0.1 * bound


@pytest.mark.parametrize("kind", CELLS)
def test_default_leaves_all_vectors_at_zero_and_gains_at_one(kind: type) -> None:
    layer = kind(3, 5, initial="learned")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(7.0)
    initialise.default_(layer)
    for name, parameter in layer.named_parameters():
        if parameter.dim() == 1:
            assert torch.equal(parameter, torch.full_like(parameter, float(name.startswith("gain_")))), name


def test_forget_bias_begins_at_one_or_as_asked_and_comes_back() -> None:
    for layer, want in ((LSTM(3, 5), 1.0), (PeepholeLSTM(3, 5, forget_bias=2.5), 2.5), (LSTM(3, 5, 0), 0.0)):
        i, f, g, o = layer.b.chunk(4)
        assert f.tolist() == [want] * 5
        assert not torch.cat([i, g, o]).any()
        initialise.torch_(layer)
        layer.reset_parameters()
        assert layer.b.chunk(4)[1].tolist() == [want] * 5


def test_orthogonal_takes_a_gain() -> None:
    layer = initialise.orthogonal_(GRU(3, 19), gain=0.5)
    for gate in layer.U.chunk(3):
        torch.testing.assert_close(torch.linalg.svdvals(gate), torch.full((19,), 0.5))


def test_orthogonal_keeps_the_size_of_a_vector() -> None:
    h = torch.randn(19, dtype=torch.float64)
    layer = RNN(3, 19, dtype=torch.float64)
    assert torch.isclose((layer.U @ h).norm(), h.norm())


def test_identity_starts_by_copying_the_state() -> None:
    layer = initialise.identity_(RNN(3, 5, activation="relu"))
    torch.nn.init.zeros_(layer.W)
    h = torch.rand(2, 5)
    y, _ = layer(torch.randn(2, 33, 3), layer.initial_state(2)._replace(h=h))
    assert torch.equal(y, h[:, None].expand(2, 33, 5))


def test_identity_is_scaled_in_every_gate_and_clears_the_bias() -> None:
    layer = initialise.identity_(LSTM(3, 5), scale=0.25)
    for gate in layer.U.chunk(4):
        assert torch.equal(gate, 0.25 * torch.eye(5))
    assert not layer.b.any()


@pytest.mark.parametrize("kind", [LSTM, PeepholeLSTM, LayerNormLSTM])
def test_chrono_spreads_memories_from_one_step_to_the_longest(kind: type) -> None:
    layer = initialise.chrono_(kind(3, 500), longest=100)
    i, f, g, o = layer.b.detach().chunk(4)
    span = f.exp()  # a forget gate of sigmoid(log u) = u / (1 + u) remembers for about u steps
    assert 1 <= span.min() < 4
    assert 95 < span.max() <= 99.001
    assert abs(span.mean() - 50) < 7
    assert torch.equal(i, -f)
    assert not torch.cat([g, o]).any()


def test_chrono_of_a_gru_sets_the_gate_that_keeps() -> None:
    layer = initialise.chrono_(GRU(3, 500), longest=50)
    r, z, n = layer.b.detach().chunk(3)
    assert 1 <= z.exp().min() < 4
    assert 45 < z.exp().max() <= 49.001
    assert not torch.cat([r, n]).any()


def test_chrono_remembers_longer_than_default() -> None:
    """What the biases are for: an input is still in the cell state many steps later."""
    after = []
    for prepare in (initialise.default_, lambda layer: initialise.chrono_(layer, 200)):
        layer = prepare(LSTM(1, 50))
        state = layer.initial_state(1)
        _, last = layer(torch.zeros(1, 60, 1), state._replace(c=torch.ones(1, 50)))
        after.append(last.c.abs().mean().item())
    assert after[0] < 0.05 < 0.4 < after[1]


@pytest.mark.parametrize("kind", [MinGRU, MinLSTM, QRNN, SRU, zoo.CoupledLSTM, zoo.JANET])
def test_chrono_remembers_in_cells_whose_gate_lets_new_values_in_too(kind: type) -> None:
    """A state of ones, and then silence: what is left of it after ten steps is more than without."""
    left = []
    for longest in (None, 100):
        torch.manual_seed(1)
        layer = kind(1, 50)
        torch.nn.init.zeros_(layer.b)
        if longest:
            initialise.chrono_(layer, longest)
        ones = tree.map(torch.ones_like, layer.initial_state(1))
        gap = [layer(torch.zeros(1, 10, 1), state)[1] for state in (ones, layer.initial_state(1))]
        kept = [last.c if kind is zoo.CoupledLSTM else last.h for last in gap]
        left.append((kept[0] - kept[1]).abs().mean().item())
    assert left[1] > 1.2 * left[0]


def test_chrono_refuses_what_has_no_memory_gate() -> None:
    with pytest.raises(ConfigError, match=r"expected a cell with a gate named 'f' or 'z'.*got RNN"):
        initialise.chrono_(RNN(3, 5), 100)
    with pytest.raises(ConfigError, match="expected longest >= 3 time steps, got 2"):
        initialise.chrono_(LSTM(3, 5), 2)


@pytest.mark.parametrize("kind", CELLS)
def test_torch_begins_uniform_as_torch_nn_does(kind: type) -> None:
    layer = initialise.torch_(kind(19, 100, initial="learned"))
    for name, parameter in layer.named_parameters():
        if name.startswith("gain_"):
            assert torch.equal(parameter, torch.ones_like(parameter))
        else:
            assert parameter.abs().max() <= 0.1
            assert parameter.abs().max() > 0.09
            assert abs(parameter.mean().item()) < 0.03


@pytest.mark.parametrize("name", ["default_", "orthogonal_", "identity_", "torch_"])
def test_initialisers_return_the_layer_they_changed(name: str) -> None:
    layer = GRU(3, 5)
    before = layer.U.clone()
    assert getattr(initialise, name)(layer) is layer
    assert not torch.equal(layer.U, before)
    assert all(p.requires_grad for p in layer.parameters())
