"""Forecasting networks against themselves step by step, plain torch, and arithmetic."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from recurra import GRU, tree
from recurra.data.horizons import Window
from recurra.errors import ConfigError, ShapeError
from recurra.heads.outputs import OUTPUTS, Gaussian, NegativeBinomial
from recurra.tasks import forecast_autoregressive
from recurra.tasks.forecast_committee import Committee
from recurra.tasks.forecast_history import NORMALISATIONS, aligned, filled, joined, level
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.forecast_network import ForecastNetwork, Observation, WindowSizes
from recurra.tasks.forecast_networks import NETWORKS, forecast_network

HISTORY, HORIZON = 13, 5
SIZES = WindowSizes(HISTORY, HORIZON, past=2, known=3, static=1, series=4)
LEVELS = torch.tensor([0.1, 0.5, 0.9])
KINDS = pytest.mark.parametrize("kind", list(NETWORKS))


class Sure(Gaussian):
    """Draws what it expects."""

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return parameters[..., 0]


def made(
    kind: str, output: Callable[[int], Any] = Gaussian, sizes: WindowSizes = SIZES, **net: object
) -> ForecastNetwork:
    torch.manual_seed(1)
    settings: dict[str, Any] = {"hidden": 7, "embedding": 3, "decoder": 6, "context": 4, "segment": 4, **net}
    if kind == "autoregressive":
        settings.setdefault("lags", (1, 3, 6))
    return forecast_network(ForecastNet(kind=kind, **settings), sizes, output).eval()


def window(lengths: list[int], sizes: WindowSizes = SIZES, seed: int = 0) -> Window:
    """Random histories with gaps; NaN in the padding and wherever nothing was seen."""
    random = torch.Generator().manual_seed(seed)
    batch, time = len(lengths), sizes.history

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    given = torch.tensor(lengths)
    valid = torch.arange(time) < given[:, None]
    seen = valid & (torch.rand(batch, time, generator=random) < 0.8)
    target = normal(batch, sizes.horizon)
    target[:, 1] = torch.nan
    return Window(
        y=normal(batch, time).masked_fill(~seen, torch.nan),
        seen=seen,
        past=normal(batch, time, sizes.past).masked_fill(~valid[:, :, None], torch.nan),
        known=normal(batch, time, sizes.known).masked_fill(~valid[:, :, None], torch.nan),
        lengths=given,
        target=target,
        ahead=normal(batch, sizes.horizon, sizes.known),
        static=normal(batch, sizes.static),
        series=torch.arange(batch) % (sizes.series + 1),
        location=torch.zeros(batch),
        scale=torch.ones(batch),
    )


def alone(batch: Window, row: int) -> Window:
    """One row without its padding."""
    length = int(batch.lengths[row])
    cut = {name: getattr(batch, name)[row : row + 1, :length] for name in ("y", "seen", "past", "known")}
    rest = {name: getattr(batch, name)[row : row + 1] for name in Window._fields if name not in cut}
    return Window(**cut, **rest)


def pushed(network: ForecastNetwork, one: Window, steps: int | None = None) -> Any:
    """The memory after the values of one row, one after the other."""
    memory = network.initial(one.static, one.series)
    for t in range(one.y.shape[1] if steps is None else steps):
        memory = network.push(memory, Observation(one.y[:, t], one.past[:, t], one.known[:, t]))
    return memory


# Histories.


def test_gaps_are_filled_with_the_last_value_seen() -> None:
    nan = torch.nan
    y = torch.tensor([[nan, 2.0, nan, nan, 5.0], [nan, nan, nan, nan, nan]])
    values, known = filled(y, ~y.isnan())
    assert values.tolist() == [[0, 2, 2, 2, 5], [0, 0, 0, 0, 0]]
    assert known.tolist() == [[False, True, True, True, True], [False] * 5]
    assert filled(y[:, :0], y[:, :0].bool())[0].shape == (2, 0)


def test_histories_and_horizons_join_and_align() -> None:
    history, horizon = torch.tensor([[1, 2, 3], [4, -9, -9]]).float(), torch.tensor([[5, 6], [7, 8]]).float()
    whole = joined(history, horizon, torch.tensor([3, 1]), rest=-1.0)
    assert whole.tolist() == [[1, 2, 3, 5, 6], [4, 7, 8, -1, -1]]
    deep = joined(history[:, :, None], horizon[:, :, None], torch.tensor([3, 1]), rest=-1.0)
    assert torch.equal(deep[:, :, 0], whole)
    assert aligned(history, torch.tensor([3, 1]), 4).tolist() == [[0, 1, 2, 3], [0, 0, 0, 4]]
    assert aligned(history, torch.tensor([3, 1]), 2).tolist() == [[2, 3], [0, 4]]
    assert aligned(history[:, :0], torch.tensor([0, 0]), 2).tolist() == [[0, 0], [0, 0]]


def test_levels_are_those_of_what_was_seen() -> None:
    y = torch.tensor([[3.0, torch.nan, -1.0, 7.0, torch.nan], [2.0, 2.0, 2.0, torch.nan, torch.nan]])
    seen = ~y.isnan()
    found = {kind: level(kind, y, seen) for kind in NORMALISATIONS}
    three = torch.tensor([3.0, -1.0, 7.0])
    assert [found["last"].location.tolist(), found["last"].scale.tolist()] == [[7, 2], [1, 1]]
    assert found["mean"].location.tolist() == [0, 0]
    assert found["mean"].scale.tolist() == pytest.approx([1 + 11 / 3, 3])
    assert found["instance"].location.tolist() == pytest.approx([3, 2])
    assert found["instance"].scale.tolist() == pytest.approx([float(three.std(correction=0)), 1])  # it stood still
    assert found["series"].scale.tolist() == [1, 1]
    for one in found.values():
        assert torch.allclose(one.restore(one.normalise(y))[seen], y[seen], atol=1e-6)
    nothing = level("instance", y, torch.zeros_like(seen))
    assert (nothing.location.tolist(), nothing.scale.tolist()) == ([0, 0], [1, 1])


# Every network.


@KINDS
@pytest.mark.parametrize("layer", ["gru", "minlstm"])
def test_values_pushed_one_by_one_equal_the_history_read_at_once(kind: str, layer: str) -> None:
    network, batch = made(kind, Sure, layer=layer, depth=2), window([13, 6])
    for row in range(2):
        one = alone(batch, row)
        whole = network.predict(one, LEVELS, 2)
        found = network.forecast(pushed(network, one), one.ahead, LEVELS, 2)
        assert torch.allclose(found.mean, whole.mean, atol=1e-5)
        assert torch.allclose(found.quantiles, whole.quantiles, atol=1e-5)


@KINDS
@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_row_alone_equals_the_row_in_a_batch_with_gradients(kind: str, normalisation: str) -> None:
    network, batch = made(kind, Sure, normalisation=normalisation), window([13, 0, 1, 9])
    parameters = list(network.parameters())
    total, count = network.loss(batch)
    parts = [network.loss(alone(batch, row)) for row in range(4)]
    assert count == sum(number for _, number in parts)
    assert torch.allclose(total, sum(part for part, _ in parts), rtol=1e-5)
    for a, b in zip(
        torch.autograd.grad(total, parameters, allow_unused=True),
        torch.autograd.grad(sum(part for part, _ in parts), parameters, allow_unused=True),
        strict=True,
    ):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-3, atol=1e-4)
        assert a is None or a.isfinite().all(), "nothing in the padding or the gaps is read"
    together = network.predict(batch, LEVELS, 2)
    for row in range(4):
        found = network.predict(alone(batch, row), LEVELS, 2)
        assert torch.allclose(found.mean[0], together.mean[row], atol=1e-5)


@KINDS
def test_a_forecast_knows_neither_the_target_nor_other_rows(kind: str) -> None:
    network, batch = made(kind, Sure), window([13, 8])
    whole = network.predict(batch, LEVELS, 3)
    blind = network.predict(batch._replace(target=torch.full_like(batch.target, torch.nan)), LEVELS, 3)
    assert torch.equal(whole.quantiles, blind.quantiles)
    changed = network.predict(batch._replace(ahead=batch.ahead + 1), LEVELS, 3)
    assert not torch.allclose(changed.mean, whole.mean), "what is known ahead is read"
    for name in ("y", "past", "known", "static"):
        other = getattr(batch, name).clone()
        other[0] += 1
        moved = network.predict(batch._replace(**{name: other}), LEVELS, 3)
        assert not torch.allclose(moved.mean[0], whole.mean[0]), name
        assert torch.equal(moved.mean[1], whole.mean[1])


@KINDS
@pytest.mark.parametrize(("normalisation", "shift", "factor"), [("last", 3.0, 1.0), ("instance", 3.0, 2.0)])
def test_a_level_of_its_own_moves_with_the_history(
    kind: str, normalisation: str, shift: float, factor: float
) -> None:
    network, batch = made(kind, Sure, normalisation=normalisation), window([13, 9])
    before = network.predict(batch, LEVELS, 2)
    after = network.predict(batch._replace(y=batch.y * factor + shift), LEVELS, 2)
    assert torch.allclose(after.mean, before.mean * factor + shift, atol=1e-4)
    assert torch.allclose(after.quantiles, before.quantiles * factor + shift, atol=1e-4)


@KINDS
@pytest.mark.parametrize("output", list(OUTPUTS))
def test_every_output_fits(kind: str, output: str) -> None:
    network, batch = made(kind, OUTPUTS[output]), window([13, 9])
    batch = batch._replace(y=batch.y.abs().round(), target=batch.target.abs().round())
    total, count = network.loss(batch)
    (total / count).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.layers.parameters())
    found = network.predict(batch, LEVELS, 5)
    assert found.mean.shape == (2, HORIZON)
    assert found.quantiles.shape == (2, HORIZON, 3)
    assert found.quantiles.isfinite().all()


@KINDS
def test_it_learns_a_wave(kind: str) -> None:
    sizes = WindowSizes(24, 6, series=3)
    lags = {"lags": (12,)} if kind == "autoregressive" else {}
    network = made(kind, Gaussian, sizes, hidden=16, decoder=16, segment=6, dropout=0.0, **lags).train()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    wave = torch.sin(torch.arange(200) * torch.pi / 6)

    def draw(starts: Tensor) -> Window:
        rows = wave[starts[:, None] + torch.arange(30)]
        empty = rows.new_zeros(len(rows), 24, 0)
        shape = rows.new_zeros(len(rows))
        full = torch.full((len(rows),), 24)
        seen = torch.ones(len(rows), 24, dtype=torch.bool)
        series = torch.ones(len(rows), dtype=torch.long)
        parts = (rows[:, :24], seen, empty, empty, full, rows[:, 24:], empty[:, :6], shape[:, None][:, :0], series)
        return Window(*parts, shape, shape + 1)

    for _ in range(80):
        total, count = network.loss(draw(torch.randint(0, 170, (16,))))
        (total / count).backward()
        optimizer.step()
        optimizer.zero_grad()
    network.eval()
    test = draw(torch.arange(0, 12))
    found = network.predict(test, LEVELS, 40, torch.Generator().manual_seed(0))
    assert (found.mean - test.target).abs().mean() < 0.25
    assert (found.quantiles.diff(dim=-1) >= 0).all()
    newcomer = network.predict(test._replace(series=torch.zeros(12, dtype=torch.long)), LEVELS, 40)
    assert (newcomer.mean - test.target).abs().mean() < 0.35, "series are hidden in training, so new ones do well"


# The autoregressive network.


def test_its_loss_is_that_of_one_step_after_the_other() -> None:
    network, one = made("autoregressive"), alone(window([11]), 0)
    past = torch.cat([one.past, torch.zeros(1, HORIZON, 2)], 1)
    y = torch.cat([one.y, one.target], 1)
    known = torch.cat([one.known, one.ahead], 1)
    memory, total, count = network.initial(one.static, one.series), torch.zeros(()), 0
    for t in range(11 + HORIZON):
        h, _ = network.layers.step(network._input(memory, known[:, t]), memory.layers)
        mean, scale = network.output(h)[0]
        if not y[0, t].isnan():
            total, count = total - torch.distributions.Normal(mean, scale).log_prob(y[0, t]), count + 1
        memory = network.push(memory, Observation(y[:, t], past[:, t], known[:, t]))
        if t >= 11:
            memory = memory._replace(past=torch.zeros_like(memory.past))  # not known there
    found, number = network.loss(one)
    assert number == count
    assert torch.allclose(found, total, rtol=1e-5)


def test_a_level_of_its_own_trains_on_the_horizon_only() -> None:
    network, batch = made("autoregressive", normalisation="last"), window([13, 9])
    assert network.loss(batch)[1] == 2 * (HORIZON - 1)
    assert made("autoregressive").loss(batch)[1] == 2 * (HORIZON - 1) + int(batch.seen.sum())


@pytest.mark.parametrize("net", [{}, {"layer": "minlstm"}, {"depth": 2, "recurrent_dropout": 0.3}], ids=str)
def test_paths_are_drawn_value_by_value(net: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = made("autoregressive", Sure, **net), window([13, 9])
    memory, expected = network.read(batch), []
    for k in range(HORIZON):
        h, _ = network.layers.step(network._input(memory, batch.ahead[:, k]), memory.layers)
        expected.append(network.output(h)[:, 0])
        memory = network.push(memory, Observation(expected[-1], torch.zeros(2, 2), batch.ahead[:, k]))
        memory = memory._replace(past=torch.zeros_like(memory.past))
    found = network.predict(batch, LEVELS, 3)
    assert found.samples is not None
    assert found.samples.shape == (2, 3, HORIZON)
    assert torch.allclose(found.samples, torch.stack(expected, 1)[:, None].expand(-1, 3, -1), atol=1e-5)
    monkeypatch.setattr(forecast_autoregressive, "ROWS", 3)  # a row at a time
    assert torch.allclose(network.predict(batch, LEVELS, 3).samples, found.samples, atol=1e-6)


@torch.no_grad()
def test_paths_are_the_distribution_and_repeat_with_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = made("autoregressive"), window([13, 9])

    def drawn(seed: int, paths: int = 4000) -> Any:
        return network.predict(batch, LEVELS, paths, torch.Generator().manual_seed(seed))

    found = drawn(1)
    assert torch.equal(found.samples, drawn(1).samples)
    assert not torch.equal(found.samples, drawn(2).samples)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert torch.equal(found.samples, drawn(1).samples), "whoever is done first"
    assert torch.allclose(found.mean, found.samples.mean(1), atol=1e-5)
    assert torch.allclose(found.quantiles[:, :, 1], found.samples.median(1).values, atol=2e-3)
    memory = network.read(batch)
    h, _ = network.layers.step(network._input(memory, batch.ahead[:, 0]), memory.layers)
    mean, scale = network.output(h).unbind(-1)
    assert torch.allclose(found.mean[:, 0], mean, atol=4 * float(scale.max()) / 4000**0.5)
    assert torch.allclose(found.samples[:, :, 0].std(1), scale, rtol=0.06)
    with pytest.raises(ConfigError, match="expected at least 1, got 0"):
        network.predict(batch, LEVELS, 0)


def test_counts_are_forecast_as_counts() -> None:
    sizes = WindowSizes(6, 3, series=1)
    network = made("autoregressive", NegativeBinomial, sizes, normalisation="mean", embedding=0)
    batch = window([6, 4], sizes)
    batch = batch._replace(y=(batch.y * 20).abs().round(), target=(batch.target * 20).abs().round())
    total, _ = network.loss(batch)
    assert total.isfinite()
    found = network.predict(batch, LEVELS, 50)
    assert torch.equal(found.samples, found.samples.round())
    memory = network.read(batch)
    h, _ = network.layers.step(network._input(memory, batch.ahead[:, 0]), memory.layers)
    scale = 1 + torch.stack([y[seen].mean() for y, seen in zip(batch.y, batch.seen, strict=True)])
    expected = softplus(network.output.linear(h)[:, 0]) * scale
    many = network.predict(batch, LEVELS, 20_000, torch.Generator().manual_seed(3))
    assert torch.allclose(many.mean[:, 0], expected, rtol=0.1)


# The direct network.


def test_forks_equal_shorter_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    network, one = made("direct"), alone(window([13]), 0)
    y, known = torch.cat([one.y, one.target], 1), torch.cat([one.known, one.ahead], 1)
    total, count = torch.zeros(()), 0
    for end in (13, 10, 4, 0):
        cut = {name: getattr(one, name)[:, :end] for name in ("y", "seen", "past", "known")}
        cut |= {"target": y[:, end : end + HORIZON], "ahead": known[:, end : end + HORIZON]}
        part, number = network.loss(one._replace(**cut, lengths=torch.tensor([end])))
        total, count = total + part, count + number
    places = torch.tensor([[12, 9, 3, -1, -2]])  # before anything was seen; and where there is nothing
    monkeypatch.setattr(network, "_places", lambda window: places)
    found, number = network.loss(one)
    assert number == count
    assert torch.allclose(found, total, rtol=1e-5)


def test_forks_are_different_steps_and_the_last_one_is_among_them() -> None:
    batch = window([13, 2])
    network = made("direct", forks=6).train()
    for _ in range(5):
        places = network._places(batch)
        assert places[:, 0].tolist() == [12, 1]
        assert len(set(places[0].tolist())) == 6
        assert places[0].min() >= 0
    assert made("direct", forks=99).train()._places(batch).shape == (2, 13)
    assert network.eval()._places(batch).tolist() == [[12], [1]]
    assert made("direct", normalisation="last").train()._places(batch).tolist() == [[12], [1]]


# The segment network.


class Plain(nn.Module):
    """SegRNN in plain torch, with one channel after the other."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, net = network, network.net
        self.gru = nn.GRU(net.hidden, net.hidden, batch_first=True)
        cell: GRU = network.layers[0]
        with torch.no_grad():
            self.gru.weight_ih_l0.copy_(cell.W)
            self.gru.weight_hh_l0.copy_(cell.U)
            self.gru.bias_ih_l0.copy_(cell.b)
            self.gru.bias_hh_l0.zero_()
            self.gru.bias_hh_l0[2 * net.hidden :] = cell.c_n

    def forward(self, y: Tensor, series: Tensor) -> Tensor:
        network, width = self.network, self.network.net.segment
        last = y[:, -1:]
        segments = (y - last).view(len(y), -1, width)
        entered = torch.relu(segments @ network.enter.weight[:, ::2].T + network.enter.bias)
        _, h = self.gru(entered)
        out = []
        for place in network.places:
            asked = torch.cat([place.expand(len(y), -1), network.embedding.weight[series]], 1)
            g, _ = self.gru(asked[:, None], h)
            out.append(network.leave(g[:, 0]).view(len(y), width, -1))
        return network.output(torch.cat(out, 1))[:, :, 0] + last


def test_segments_equal_the_paper_in_plain_torch() -> None:
    sizes = WindowSizes(12, 8, series=2)
    network = made("segments", sizes=sizes, normalisation="last")
    batch = window([12, 12, 12], sizes)
    batch = batch._replace(y=batch.y.nan_to_num(), seen=torch.ones_like(batch.seen), series=torch.tensor([1, 2, 0]))
    with torch.no_grad():
        network.enter.weight[:, 1::2] = 0  # flags, which the paper does not have
        assert torch.allclose(network.predict(batch, LEVELS).mean, Plain(network)(batch.y, batch.series), atol=1e-5)


def test_segments_keep_the_newest_steps_only() -> None:
    network, batch = made("segments"), window([13])
    one = alone(batch, 0)
    memory = pushed(network, one)
    assert memory.y.shape == (1, 16)  # whole segments
    for _ in range(20):
        memory = network.push(memory, Observation(torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 3)))
    again = network.initial(one.static, one.series)
    for _ in range(16):
        again = network.push(again, Observation(torch.ones(1), torch.zeros(1, 2), torch.zeros(1, 3)))
    for a, b in zip(tree.leaves(memory), tree.leaves(again), strict=True):
        assert torch.equal(a, b)


# Mistakes.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "gruu"}, "unknown layer 'gruu'; did you mean 'gru'"),
        ({"hidden": 0}, "model.hidden: expected at least 1, got 0"),
        ({"dropout": 1.0}, "model.dropout: expected a share from 0 to below 1"),
        ({"lags": (24,)}, "only the autoregressive network reads them, model.kind is 'direct'"),
        ({"kind": "autoregressive", "lags": (0,)}, r"model.lags: expected different numbers of steps .* got \[0\]"),
        (
            {"kind": "segments", "hidden": 8, "embedding": 8},
            "model.embedding: expected fewer than model.hidden = 8",
        ),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ForecastNet(**settings)


@KINDS
def test_windows_of_another_kind_are_refused(kind: str) -> None:
    network = made(kind)
    batch = window([3], SIZES._replace(past=1))
    with pytest.raises(ShapeError, match="expected windows with 2 past, 3 known and 1 static covariates, got 1"):
        network.loss(batch)
    with pytest.raises(ShapeError, match="expected windows with 2 past"):
        network.predict(batch, LEVELS)
    with pytest.raises(ConfigError, match="counts cannot be shifted; expected 'series' or 'mean', got 'last'"):
        made(kind, NegativeBinomial, normalisation="last")


@KINDS
@torch.no_grad()
def test_a_committee_is_the_mean_of_its_members(kind: str) -> None:
    three, histories = made(kind, members=3), window([13, 6])
    assert isinstance(three, Committee)
    alone = [member.loss(histories) for member in three.members]
    lost, count = three.loss(histories)
    torch.testing.assert_close(lost, torch.stack([each for each, _ in alone]).mean())
    assert count == alone[0][1]
    assert len({float(each) for each, _ in alone}) == 3
    said = three.predict(histories, LEVELS, 100, torch.Generator().manual_seed(2))
    random = torch.Generator().manual_seed(2)
    each = [member.predict(histories, LEVELS, 34, random) for member in three.members]
    torch.testing.assert_close(said.mean, torch.stack([one.mean for one in each]).mean(0))
    if said.samples is None:
        torch.testing.assert_close(said.quantiles, torch.stack([one.quantiles for one in each]).mean(0))
    else:
        assert said.samples.equal(torch.cat([one.samples for one in each if one.samples is not None], 1))
    observed = Observation(torch.tensor([0.3, torch.nan]), torch.zeros(2, 2), torch.zeros(2, 3))
    memory = three.push(three.read(histories), observed)
    rows = tree.rows(memory, [1])
    again = three.forecast(rows, histories.ahead[1:], LEVELS, 4, torch.Generator().manual_seed(0))
    assert again.mean.isfinite().all()
