"""Prediction of behaviour: where people will go, from where they were, with several futures and their chances.

An encoder reads the observed steps, a decoder writes those to come; agents may see each other (Social-LSTM, Alahi
et al. 2016). With several futures only the best of them learns from what came (multiple choice learning,
Guzman-Rivera et al. 2012), so each becomes a way that people take, and another head learns how often. The first
one also learns from everybody else: it is the path to expect.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recurra.data.scenes import PathBatch, scene_batches
from recurra.data.sources import SOURCES, place_of
from recurra.errors import RunError
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.trajectory_answers import Question, answer, question
from recurra.tasks.trajectory_config import (
    TrajectoryAugment,
    TrajectoryConfig,
    TrajectoryData,
    TrajectoryNet,
    TrajectoryScore,
)
from recurra.tasks.trajectory_data import PathReader, film_of, learned_scenes, training_batches
from recurra.tasks.trajectory_network import Futures, PathNetwork
from recurra.tasks.trajectory_pictures import Drawn, draw_errors, draw_scene
from recurra.tasks.trajectory_scores import scores, summary
from recurra.tasks.trajectory_stream import PathStream

__all__ = [
    "TrajectoryAugment",
    "TrajectoryConfig",
    "TrajectoryData",
    "TrajectoryNet",
    "TrajectoryPredictor",
    "TrajectoryScore",
]

AT_ONCE = 1024  # agents that are measured together


class TrajectoryPredictor(Estimator):
    """A predictor of paths that is trained on tracks, or on a film, and says where everybody may go.

    >>> model = TrajectoryPredictor(TrajectoryConfig(TrajectoryData(path="street.avi")))         # doctest: +SKIP
    >>> model.fit("runs/street")                                                                 # doctest: +SKIP
    >>> model.predict("1.0,2.0 1.4,2.1 1.8,2.1")["agents"]["1"]["expected"]                       # doctest: +SKIP
    """

    name = "trajectory"
    source: ClassVar[str] = "data.path"
    unit: ClassVar[str] = "agents"
    Config = TrajectoryConfig
    config: TrajectoryConfig

    def __init__(self, config: TrajectoryConfig | None = None) -> None:
        super().__init__(config)
        self.reader = PathReader(self.config.data)
        self.stride = 0.0

    def data(self) -> Data:
        """Scenes of the three parts; without social pooling each agent is trained on alone."""
        parts = self.reader.parts()
        self.say(*parts.notes)
        train = learned_scenes(self.reader.trained(parts.train), self.config.model.social != "none")
        if not self.stride:
            strides = torch.cat([recording.strides() for recording in parts.train])
            self.stride = float(strides.median()) if len(strides) else 1.0
        held_out = (
            self._measured(recordings, f"the {name} part")
            for name, recordings in (("validation", parts.valid), ("test", parts.test))
        )
        return Data(training_batches(train, self.config, self.stride), *held_out)

    def _measured(self, recordings: Sequence[Any], name: str) -> Batches:
        return scene_batches(self.reader.measured(recordings, name), AT_ONCE)

    def read(self, source: str) -> Batches:
        """All tracks of a file, a folder, a film or a data set."""
        return scene_batches(self.reader.scenes(source), AT_ONCE)

    def network(self) -> nn.Module:
        return PathNetwork(self.config.model, self.config.data.future, self.stride)

    def loss(self, network: nn.Module, batch: PathBatch, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the distances of all whole agents, and how many they are; nothing is carried."""
        return *network(batch), None

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """ADE and FDE, of the best of several futures first; misses, collisions, and what rules reach."""
        score, futures = self.config.score, self.config.model.futures
        return summary((scores(found, batch, score) for batch, found in _found(network, batches)), futures)

    def signatures(self) -> dict[str, str]:
        score, futures = self.config.score, self.config.model.futures
        return {
            "min_ade": f"mean distance of the best of {futures} futures, over all steps",
            "min_fde": f"distance of the last step, of the best of {futures} futures",
            "ade": "mean distance of the expected path, over all steps",
            "fde": "distance of the last step",
            "miss_rate": f"share of agents with every future more than {score.miss:g} off at the last step",
            "collision_rate": f"share of agents whose path comes nearer than {score.collision:g} to another's",
            "constant_velocity_ade": "if everybody went on as in the last observed step",
            "linear_ade": "if everybody went on along a straight line through the observed steps",
        }

    @torch.no_grad()
    def futures(self, past: Tensor, scene: Tensor | None = None) -> Futures:
        """Paths and their logits for agents with ``past (A, P, 2)``, NaN before they came, in one scene or more."""
        scene = torch.zeros(len(past), dtype=torch.long) if scene is None else scene
        return self._network().futures(past, scene)

    def predict(self, raw: Any) -> dict[str, Any]:
        """Where everybody may go.

        raw  positions by agent, ``{"ann": [(3.1, 4.0), (3.5, 4.1)], ...}``, the last ones at the same moment; those
             of one agent as text, ``"3.1,4.0 3.5,4.1"``; or a file of tracks or a film, of which the end is taken

            {"agents": {"ann": {"expected": [[x, y], ...], "futures": [{"probability", "path"}, ...]}}, "shown"}

        Futures are in the order of their probability. Raises DataError for what is no position.
        """
        return self._answer(question(raw, self.reader))

    def _answer(self, asked: Question) -> dict[str, Any]:
        self.ready()
        return answer(asked.agents, self.futures(asked.past))

    def stream(self, raw: Any = None) -> PathStream:
        """A `PathStream` that has seen ``raw``, step after step of positions by agent; push more."""
        self.ready()
        stream = PathStream(lambda agents, past: self._answer(Question(agents, past)), self.config.data.observed)
        for positions in raw or ():
            stream.push(positions)
        return stream

    def _network(self) -> PathNetwork:
        network = self.ready()
        assert isinstance(network, PathNetwork)
        return network

    def explain(self) -> str:
        """Which kernel runs for a training batch."""
        data = self.config.data
        past = torch.zeros(data.batch, data.observed, 2)
        with dispatch.record() as log, torch.no_grad():
            self._network().futures(past, torch.arange(data.batch))
        step_by_step = "agents see each other: the equations step by step, in plain PyTorch"
        return "\n".join(dict.fromkeys(map(str, log))) or step_by_step

    @torch.no_grad()
    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """The error of each step beside that of the rules, and the scenes in which most people walk."""
        found = list(_found(self.ready(), batches))
        draw_errors(found, folder / "errors.png")
        drawn = [folder / "errors.png"]
        place = Path(self.config.data.path)
        film = film_of(place_of(str(place))) if place.exists() or str(place) in SOURCES else None
        for number, scene in enumerate(_busiest(found, 4), 1):
            drawn.append(folder / f"scene_{number}.png")
            draw_scene(scene._replace(film=film), drawn[-1])
        return drawn

    def draw_answer(self, raw: Any, folder: Path, name: str) -> list[Path]:
        """The paths on the street, on the film's frame if they come from one."""
        asked = question(raw, self.reader)
        found = self.futures(asked.past)
        draw_scene(Drawn(asked.past, found, None, asked.film, asked.agents), folder / f"{name}.png")
        return [folder / f"{name}.png"]

    def learned(self) -> dict[str, Any]:
        return {"stride": self.stride}

    def relearn(self, values: dict[str, Any]) -> None:
        stride = values.get("stride")
        if not isinstance(stride, float) or not stride > 0:
            raise RunError("the run has no stride, the way of a usual step; was it made by this task?")
        self.stride = stride


def _found(network: nn.Module, batches: Batches) -> Iterator[tuple[PathBatch, Futures]]:
    """Each batch with what the network predicts for it, both on the processor."""
    assert isinstance(network, PathNetwork)
    device = next(network.parameters()).device
    for batch in batches.epoch(0):
        found = network.futures(batch.past.to(device), batch.scene.to(device))
        yield batch, Futures(*(part.cpu() for part in found))


def _busiest(found: Sequence[tuple[PathBatch, Futures]], count: int) -> list[Drawn]:
    """The scenes with most agents, of each batch one."""
    best: list[tuple[int, Drawn]] = []
    for batch, futures in found:
        numbers, sizes = batch.scene.unique(return_counts=True)
        mine = batch.scene == numbers[sizes.argmax()]
        part = Futures(futures.paths[mine], futures.logits[mine])
        best.append((int(mine.sum()), Drawn(batch.past[mine], part, batch.future[mine])))
    return [scene for _, scene in sorted(best, key=lambda pair: -pair[0])[:count]]
