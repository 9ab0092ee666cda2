"""The running average of the weights, and parts of a network that learn at their own pace."""

from pathlib import Path

import pytest
import torch
from torch import nn

from recurra import files
from recurra.errors import ConfigError, RunError
from recurra.run import checkpoint
from recurra.run.average import WeightAverage
from recurra.run.fit import Fit, Trainer
from recurra.run.folder import RunFolder
from recurra.run.protocol import Data, Trainable


def test_the_average_is_that_of_its_equation() -> None:
    network = nn.Linear(3, 2)
    average, expected = WeightAverage(network, 0.3), network.weight.detach().clone()
    for n, decay in enumerate([0.1, 2 / 11, 3 / 12, 0.3, 0.3]):
        network.weight.data.normal_(generator=torch.Generator().manual_seed(n))
        average.update()
        expected = decay * expected + (1 - decay) * network.weight.detach()
    last = network.weight.detach().clone()
    with average.applied():
        assert torch.allclose(network.weight, expected, atol=1e-6)
    assert torch.equal(network.weight, last)


class Numbers(Trainable):
    """A task whose network must find y = 2 x; its second part is frozen for the first half."""

    maximize = True

    def data(self) -> Data:
        class Ones:
            def epoch(self, number: int):
                return [torch.ones(4, 1) * (1 + (i + number) % 3) for i in range(5)]

            def shard(self, rank: int, world: int):
                return self

        return Data(Ones(), Ones(), Ones())

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))

    def begin(self, network: nn.Module) -> None:
        network[1].weight.data.fill_(7.0)

    def parts(self, network: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"first": list(network[0].parameters()), "second": list(network[1].parameters())}

    def pace(self, part: str, share: float) -> float:
        return 1.0 if part == "first" or share >= 0.5 else 0.0

    def loss(self, network, batch, carry):
        return (network(batch) - 2 * batch).square().sum(), len(batch), None

    def measure(self, network, batches) -> dict[str, float]:
        with torch.no_grad():
            return {"score": -float(self.loss(network, torch.ones(1, 1), None)[0])}


def train(
    out: Path, task: Numbers | None = None, resume: bool = False, **settings: float
) -> dict[str, torch.Tensor]:
    task, folder = task or Numbers(), RunFolder(out)
    if not resume:
        folder.create(overwrite=False)
    fit = Fit(**{"steps": 12, "evaluate_every": 2, "warmup": 1, "learning_rate": 0.01} | settings)
    Trainer(task, folder, fit, quiet=True).run(task.data(), resume)
    return files.read_tensors(checkpoint.newest(folder.checkpoints) / "training.safetensors")


def test_a_part_moves_only_while_it_has_a_pace_and_begins_where_it_was_put(tmp_path: Path) -> None:
    seen = []

    class Watched(Numbers):
        def loss(self, network, batch, carry):
            if network.training:
                seen.append(network[1].weight.item())
            return super().loss(network, batch, carry)

    train(tmp_path / "run", Watched(), evaluate_every=100)
    steps = seen[:12]
    assert steps[:7] == [7.0] * 7
    assert len(set(steps[7:])) == 5


def test_a_run_that_is_resumed_before_its_first_checkpoint_begins_with_the_same_weights(tmp_path: Path) -> None:
    class Stopped(Numbers):
        def loss(self, network, batch, carry):
            raise KeyboardInterrupt

    class Watched(Numbers):
        seen: list[float] = []  # noqa: RUF012

        def loss(self, network, batch, carry):
            self.seen.append(network[1].weight.item())
            return super().loss(network, batch, carry)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", Stopped())
    train(tmp_path / "run", Watched(), resume=True)
    assert Watched.seen[0] == 7.0


class Rising(Numbers):
    """Every validation is better than the last one."""

    validations = 0

    def measure(self, network, batches) -> dict[str, float]:
        self.validations += 1
        return {"score": float(self.validations)}


class Killed(Rising):
    """Stops hard in the seventh training step."""

    calls = 0

    def loss(self, network, batch, carry):
        self.calls += network.training
        if self.calls == 9:  # two more: validation looks at the gates
            raise KeyboardInterrupt
        return super().loss(network, batch, carry)


def test_the_average_is_what_is_kept_and_it_resumes(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", Rising(), average=0.9)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", Killed(), average=0.9)
    resumed = train(tmp_path / "cut", Rising(), resume=True, average=0.9)
    assert int(whole["average.updates"]) == 12
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    kept = files.read_tensors(RunFolder(tmp_path / "whole").weights)
    assert torch.equal(kept["0.weight"], whole["average.of.0.weight"])
    assert not torch.equal(kept["0.weight"], whole["network.0.weight"])


def test_a_checkpoint_without_an_average_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "run")
    with pytest.raises(RunError, match="no averaged weights; resume with"):
        train(tmp_path / "run", resume=True, steps=20, average=0.9)
    with pytest.raises(ConfigError, match="a decay from 0 to below 1, got 1"):
        Fit(average=1.0)


def test_the_best_is_the_highest_where_higher_is_better(tmp_path: Path) -> None:
    train(tmp_path / "run", steps=300, evaluate_every=20)
    folder = RunFolder(tmp_path / "run")
    scores = [record["valid"]["score"] for record in folder.records() if "valid" in record]
    progress = files.read_json(checkpoint.newest(folder.checkpoints) / "training.json")["progress"]
    assert progress["best"] == max(scores) > scores[0]
    assert 0 < progress["loading"] < progress["seconds"]
    assert 0 < progress["validating"] < progress["seconds"]
