"""Trouble on its way: each kind provoked, told once with its numbers, and a healthy run that stays silent."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from recurra import GRU, LSTM, RNN, Bidirectional, Readout, Stack, State
from recurra.errors import TrainingError
from recurra.run.blame import blame
from recurra.run.fit import Fit, Trainer
from recurra.run.folder import RunFolder
from recurra.run.protocol import Data, Trainable
from recurra.run.watch import Trouble, Watch
from recurra.tasks.language_model import LanguageData, LanguageModel, LanguageModelConfig, LanguageNet


def told(watch: Watch, norms=(), losses=()) -> list[Trouble]:
    """Feed steps; what is told."""
    count = max(len(norms), len(losses))
    norms, losses = norms or [1.0] * count, losses or [2.0] * count
    for step, (norm, loss) in enumerate(zip(norms, losses, strict=True), 1):
        watch.step(step, loss, norm)
    return watch.take()


def noise(count: int, size: float = 1.0) -> list[float]:
    generator = random.Random(0)
    return [size * math.exp(generator.gauss(0, 0.5)) for _ in range(count)]


def test_an_exploding_gradient_is_told_once_with_its_numbers():
    norms = [*noise(150), 500.0, *noise(50), 900.0]
    (trouble,) = told(Watch(clip=0.0), norms)
    assert (trouble.what, trouble.step) == ("exploding", 151)
    assert "a norm of 500 at step 151" in trouble.text
    assert "of the last 150 steps; try fit.clip = 1.9 or" in trouble.text
    assert told(Watch(clip=0.0), [*noise(150), 50.0]) == [], "large, and not yet an explosion"
    assert told(Watch(clip=0.0), [*noise(20), 500.0]) == [], "too early to know what is usual"


def test_clipping_at_almost_every_step_is_told():
    (trouble,) = told(Watch(clip=0.1), noise(250, 8.0))
    assert (trouble.what, trouble.step) == ("clipping", 201)
    assert "over 10 times fit.clip = 0.1" in trouble.text
    assert told(Watch(clip=0.0), noise(250, 8.0)) == []
    assert told(Watch(clip=1.0), noise(250, 8.0)) == [], "clipped, but not by much"
    assert told(Watch(clip=0.1), [8.0, 0.5] * 150) == [], "half of them"


@pytest.mark.parametrize("start", [4.0, -1.0])
def test_a_diverging_loss_is_told(start):
    falling = [start - 2 * (1 - math.exp(-step / 100)) + 0.1 * value for step, value in enumerate(noise(400))]
    rising = [falling[-1] + 0.05 * step for step in range(120)]
    watch = Watch(clip=0.0)
    assert told(watch, losses=falling) == []
    (trouble,) = told(watch, losses=rising)
    assert trouble.what == "diverging"
    assert f"began at {watch.first:.3g} and was {watch.best:.3g} at best" in trouble.text


def test_a_loss_that_rises_from_the_beginning_is_told():
    assert [t.what for t in told(Watch(clip=0.0), losses=[2.0 + 0.05 * step for step in range(100)])] == [
        "diverging"
    ]


def trained(network: nn.Module, x: torch.Tensor) -> nn.Module:
    network(x)[0].square().sum().backward()
    return network


def test_a_recurrent_layer_that_learns_nothing_is_told():
    torch.manual_seed(0)
    network = Stack(GRU(2, 3), LSTM(3, 4), Readout(4, 2))
    trained(network, torch.randn(2, 5, 2))
    watch = Watch(clip=1.0)
    for step in range(10, 160, 10):
        watch.look(step, network)
    assert watch.take() == []
    for parameter in network[0].parameters():
        parameter.grad.mul_(1e-7)
    for step in range(160, 310, 10):
        watch.look(step, network)
    (trouble,) = watch.take()
    assert (trouble.what, trouble.step) == ("vanishing", 250), "at ten looks in a row"
    assert trouble.text.startswith("layers.0 GRU learns almost nothing: its gradient norm is")


def test_looking_needs_something_to_compare_with():
    watch = Watch(clip=1.0)
    for network in (nn.Linear(2, 2), RNN(2, 3), trained(Readout(2, 2), torch.randn(1, 2, 2))):
        for step in range(30):
            watch.look(step, network)
        watch.layers = None
    assert watch.take() == []


@pytest.mark.parametrize(
    "make", [lambda: RNN(2, 3), lambda: Stack(GRU(2, 3)), lambda: Bidirectional(RNN(2, 3), GRU(2, 3))]
)
def test_saturation_is_told(make):
    torch.manual_seed(0)
    network, x, watch = make(), torch.randn(3, 9, 2), Watch(clip=1.0)
    state = torch.get_rng_state()
    watch.validate(5, network, lambda net: net(x, None, [9, 0, 4]))
    assert watch.take() == []
    watch.validate(5, network, lambda net: net(x.sign() * 1e3, None, [9, 0, 4]))
    (trouble,) = watch.take()
    assert (trouble.what, trouble.step) == ("saturated", 5)
    assert "% of the values of" in trouble.text
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_mixed_precision_is_looked_at_in_the_precision_of_the_weights():
    reader, layer, watch = nn.Linear(3, 4), GRU(4, 5), Watch(clip=1.0)
    network, x, state = nn.ModuleList([reader, layer]), torch.randn(2, 7, 3), torch.ones(2, 5, dtype=torch.bfloat16)

    def run(module):
        with torch.autocast("cpu", torch.bfloat16):
            read = reader(x) * 1e4
            assert read.dtype == torch.bfloat16
            return layer(read, State(h=state), [7, 2])

    watch.validate(3, network, run)
    assert [trouble.what for trouble in watch.take()] == ["saturated"]


class Toy(Trainable):
    """A task of one layer, whose loss grows as it is told."""

    name = "toy"

    def __init__(self, network: nn.Module, growth: float = 1.0, bad: int = -1) -> None:
        self.own, self.growth, self.bad = network, growth, bad

    def data(self):
        return Data(self, self, self)

    def shard(self, rank, world):
        return self

    def epoch(self, number):
        generator = torch.Generator().manual_seed(number)
        batches = [torch.randn(2, 6, 2, generator=generator) for _ in range(300)]
        if self.bad >= 0:
            batches[self.bad][0, 3] = math.inf
        return batches

    def network(self):
        return self.own

    def loss(self, network, batch, carry):
        y = network(batch)[0]
        return (y - 1).square().sum() * self.growth, y.numel(), None

    def measure(self, network, batches):
        return {"loss": 1.0}


def trainer(task: Toy, folder: Path, memory: int = 20, quiet: bool = True, **settings) -> Trainer:
    """A trainer whose watch remembers few steps."""
    made = Trainer(task, RunFolder(folder), Fit(**{"steps": 25, "warmup": 1} | settings), quiet)
    made.watch = Watch(made.config.clip, memory)
    return made


def run(task: Toy, folder: Path, **settings) -> list[dict]:
    out = RunFolder(folder)
    out.create()
    trainer(task, folder, **settings).run(task.data())
    return [record["warning"] for record in out.records() if "warning" in record]


def network() -> nn.Module:
    torch.manual_seed(0)
    return Stack(GRU(2, 4), Readout(4, 1))


def test_the_trainer_tells_it_in_metrics_and_once_even_if_resumed(tmp_path: Path):
    task = Toy(network(), growth=1e4)
    assert [warning["what"] for warning in run(task, tmp_path / "run", clip=0.01)] == ["clipping"]
    again = trainer(task, tmp_path / "run", clip=0.01, steps=48)
    again.run(task.data(), resume=True)
    assert again.watch.told == {"clipping"}
    assert sum("warning" in record for record in RunFolder(tmp_path / "run").records()) == 1


def test_the_progress_shows_it(tmp_path: Path, capsys):
    run(Toy(network(), growth=1e4), tmp_path / "run", clip=0.01, quiet=False)
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.count("warning:") == 1
    assert "almost every step is clipped hard" in shown


def test_a_healthy_run_is_silent(tmp_path: Path):
    assert run(Toy(network()), tmp_path / "toy", steps=60, evaluate_every=20) == []
    words = ["to", "be", "or", "not", "that", "is", "the", "question"]
    generator = random.Random(0)
    text = tmp_path / "t.txt"
    text.write_text(" ".join(generator.choice(words) for _ in range(1500)), "utf-8")
    data = LanguageData(text=str(text), batch=4, window=16)
    task = LanguageModel(LanguageModelConfig(data, LanguageNet(hidden=16, depth=1, dropout=0.1)))
    task.fit(tmp_path / "run", Fit(steps=130, evaluate_every=65, warmup=5, learning_rate=0.01), quiet=True)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    assert len(lines) > 10
    assert not [line for line in lines if "warning" in json.loads(line)]


def test_a_loss_that_is_not_finite_names_layer_step_and_parameters(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"the input of layers.0 \(GRU\) is not finite, first at step 4 of 6"):
        run(Toy(network(), bad=2), tmp_path / "data")
    broken = network()
    with torch.no_grad():
        broken[0].U[3, 1] = math.nan
    with pytest.raises(TrainingError, match=r"Not finite are the parameters layers.0.U\."):
        run(Toy(broken), tmp_path / "weights")


def test_blame():
    torch.manual_seed(0)
    layer, x = RNN(2, 3), torch.randn(1, 5, 2)
    assert "Computed again the states and their gradients are finite" in blame(layer, lambda net: net(x)[0].sum())
    assert blame(nn.Linear(2, 2), lambda net: net(x).sum()) == ""
    said = blame(layer, lambda net: (net(x)[0][:, 2] * 0).sqrt().sum())
    assert "the gradient of RNN is not finite, first at step 3 of 5, from the end" in said
    assert "W, U, b" in said
