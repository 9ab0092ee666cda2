"""Forecasting: training and sample paths beside NeuralForecast and Darts, and a thousand long series."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.children import forecasting_peers
from benchmarks.results import Row, Section, Table, Value, least, most
from benchmarks.timing import Effort, Times
from recurra.data.frames import Panel, Series
from recurra.data.frequency import Frequency
from recurra.data.horizons import Histories, WindowBatches
from recurra.data.scaling import Scaling
from recurra.heads.outputs import Gaussian, Quantiles
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.forecast_network import ForecastNetwork, WindowSizes
from recurra.tasks.forecast_networks import forecast_network

__all__ = ["PYTHON", "Work", "run"]

PYTHON = "RECURRA_FORECASTING_PEERS"
LEVELS = (0.1, 0.5, 0.9)
RATE = 1e-3
FORKS, CHAINED = 16, 4  # horizons that a window of the direct and of the autoregressive network is trained on
WORSE = 1.15  # a side whose errors are so much larger has not done the same work

ABOUT = f"""
N series of T steps, waves of two lengths with noise, drawn anew for each round. One epoch are 64 windows of each
series, of 96 steps and the 24 after them; batches of 128, one layer of 64 units, Adam, two epochs. Both sides begin
with an array in memory and end with a trained network: making data frames, windows and batches is counted,
importing is not. Then every series is forecast once. A row whose forecasts of the 24 steps after training are worse
than those of the other side by {WORSE - 1:.0%} is not timed.

The libraries need versions of pandas and scikit-learn that are not ours. They run in a process of their own by the
Python that the environment variable `{PYTHON}` names: `python -m venv peers && peers/bin/pip install neuralforecast
u8darts[torch]`, then `{PYTHON}=peers/bin/python make bench`.

The batches of both sides have 128 horizons, and an epoch has as many batches. The others read 96 steps for each
horizon; the columns "alike" are ours with the same windows. Ours need not read the same steps again, and by default
they do not: the direct network reads 144 for {FORKS} horizons, one window and its forks (Wen et al. 2017), and the
autoregressive one, which learns from every step, {CHAINED} horizons one after the other. The notes say how far the
forecasts are off after the same number of batches.

Darts draws whole paths, as recurra does: each value is read before the next is drawn. NeuralForecast's DeepAR reads
its own mean, one row a series, and draws each step by itself, so that its intervals do not widen with what went
before. It is in the table for what its users wait, without a target: it is not the same computation.
"""
ABSENT = f"\nThey were not there: `{PYTHON}` does not name a Python."


@dataclass(frozen=True)
class Work:
    """What both sides are told; see the child."""

    peer: str
    model: str
    series: int = 100
    steps: int = 500
    history: int = 96
    horizon: int = 24
    hidden: int = 64
    batch: int = 128
    draws: int = 64
    epochs: int = 2
    paths: int = 200
    levels: tuple[float, ...] = LEVELS
    threads: int = 1

    @property
    def shape(self) -> str:
        """How the table writes it."""
        return f"N{self.series} T{self.steps} H{self.hidden}"


WORKS = (
    Work("NeuralForecast", "DeepAR"),
    Work("NeuralForecast", "LSTM"),
    Work("NeuralForecast", "GRU"),
    Work("Darts", "RNNModel"),
)
DRAWING = ("DeepAR", "RNNModel")


class Found(NamedTuple):
    """Seconds, and the mean absolute error of the forecasts."""

    fit: float
    predict: float
    error: float


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """Three tables; two of them only where the other libraries are."""
    python, quick = os.environ.get(PYTHON, ""), effort.rounds <= 3
    rows: list[tuple[Row, Row]] = []
    for work in WORKS if python else ():
        say(f"forecasting: {work.peer} {work.model}")
        rows.append(_rows(_small(work) if quick else work, python, effort.starts))
    say("forecasting: a thousand series")
    tables = [
        Table("Training", [row for row, _ in rows]),
        Table("Prediction with 200 sample paths", [row for _, row in rows if row.name.endswith(DRAWING)]),
        Table("A thousand series", [_thousand(quick)]),
    ]
    about = ABOUT if python else ABOUT + ABSENT
    return Section("forecasting", "Forecasting", about, [table for table in tables if table.rows])


def _small(work: Work) -> Work:
    return replace(work, series=3, steps=60, history=12, horizon=4, hidden=8, batch=4, draws=2, epochs=1, paths=20)


def _rows(work: Work, python: str, rounds: int) -> tuple[Row, Row]:
    """Training and prediction: one process of theirs and one turn of each of ours in each round."""
    work = replace(work, threads=torch.get_num_threads())
    each = CHAINED if work.model in DRAWING else FORKS
    found: dict[str, list[Found]] = {"recurra": [], "alike": [], "theirs": []}
    for turn in range(rounds):
        series = waves(work.series, work.steps + work.horizon, turn)
        turns = [
            lambda s=series: found["recurra"].append(train(work, s, each)),
            lambda s=series: found["alike"].append(train(work, s, 1)),
            lambda s=series: found["theirs"].append(_child(work, s, python)),
        ]
        for act in turns[:: 1 if turn % 2 else -1]:
            act()
    off = {side: float(np.mean([one.error for one in turns])) for side, turns in found.items()}
    note = f"mean absolute error {off['recurra']:.3f}, alike {off['alike']:.3f}, theirs {off['theirs']:.3f}"
    if max(off["recurra"], off["alike"]) > WORSE * off["theirs"] and work.series >= 100:
        return Row(name(work), work.shape, note=f"not timed: {note}"), Row(
            name(work), work.shape, note=f"not timed: {note}"
        )
    training = Times({side: [one.fit for one in turns] for side, turns in found.items()})
    drawing = Times({side: [one.predict for one in found[side]] for side in ("recurra", "theirs")})
    goal = least(5) if work.peer == "Darts" else None
    alike = {"alike s": training.time("alike", "s"), "theirs / alike": training.ratio("theirs", "alike", least(3))}
    return (
        Row(name(work), work.shape, _values(training, least(3)) | alike, note=note),
        Row(name(work), work.shape, _values(drawing, goal), note=note),
    )


def name(work: Work) -> str:
    """How the tables write the other side."""
    return f"{work.peer} {work.model}"


def _values(times: Times, goal: Any) -> dict[str, Value]:
    return {
        "recurra s": times.time("recurra", "s"),
        "theirs s": times.time("theirs", "s"),
        "theirs / recurra": times.ratio("theirs", "recurra", goal),
    }


def _child(work: Work, series: NDArray[np.float32], python: str) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.npy"
        np.save(path, series, allow_pickle=False)
        command = [python, str(forecasting_peers.__file__), str(path), json.dumps(asdict(work))]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode:
            raise RuntimeError(f"{work.peer} {work.model} failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Found(found["fit"], found["predict"], found["error"])


def waves(series: int, steps: int, seed: int) -> NDArray[np.float32]:
    """``(N, T)``: a day and a week of hours, each of its own size and place, and noise."""
    random = np.random.default_rng(seed)
    size, place = random.uniform(0.5, 1.5, (2, series, 1)), random.uniform(0, 1, (2, series, 1))
    time_ = np.arange(steps)
    parts = [size[i] * np.sin(2 * np.pi * (time_ / period + place[i])) for i, period in enumerate((24, 168))]
    return (sum(parts) + 0.3 * random.standard_normal((series, steps))).astype(np.float32)


def train(work: Work, series: NDArray[np.float32], each: int) -> Found:
    """Our turn, by windows of ``each`` horizons: from the array to a network, and its forecasts of what comes."""
    torch.manual_seed(0)
    known = series[:, : -work.horizon]
    _fit(replace(work, epochs=1, draws=1), known[:2], each)  # compiles the kernel, as the other side warms up too
    begin = time.perf_counter()
    network, histories = _fit(work, known, each)
    fitted = time.perf_counter()
    found = network.predict(histories.gather(histories.last()), torch.tensor(work.levels), work.paths)
    predicted = time.perf_counter()
    mean = histories.placed.location[:, None] + histories.placed.scale[:, None] * found.mean
    error = float((mean - torch.from_numpy(series[:, -work.horizon :])).abs().mean())
    return Found(fitted - begin, predicted - fitted, error)


def _fit(work: Work, known: NDArray[np.float32], each: int) -> tuple[ForecastNetwork, Histories]:
    """``each`` horizons are learned from every window; one is the window of the other libraries."""
    longer = (each - 1) * work.horizon if work.model in DRAWING else work.history // 2
    history = work.history + (longer if each > 1 else 0)
    empty = np.zeros((known.shape[1], 0))
    stamps = np.arange(known.shape[1])
    named = [Series(f"{i:04d}", stamps, row.astype(float), empty, empty, empty[0]) for i, row in enumerate(known)]
    panel = Panel(tuple(named), Frequency("integer", 1))
    ends = [known.shape[1]] * len(known)
    histories = Histories(panel, Scaling.learn(panel, ends), history, work.horizon)
    windows = histories.windows([0] * len(known), ends, least=history)
    size, draw = max(1, work.batch // each), max(1, work.draws * len(known) // each)
    batches = WindowBatches(histories, windows, size, shuffled=True, draw=draw)
    network = _network(work, WindowSizes(history, work.horizon, series=len(known)), each)
    optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
    for epoch in range(work.epochs):
        for window in batches.epoch(epoch):
            total, count = network.loss(window)
            optimizer.zero_grad()
            (total / count).backward()
            optimizer.step()
    return network.eval(), histories


def _network(work: Work, sizes: WindowSizes, forks: int) -> ForecastNetwork:
    """As theirs: one layer, and no vector of the series."""
    net = ForecastNet(hidden=work.hidden, decoder=work.hidden, dropout=0.0, embedding=0, newcomers=0.0, forks=forks)
    if work.model in DRAWING:
        return forecast_network(replace(net, kind="autoregressive", layer="lstm"), sizes, Gaussian)
    net = replace(net, kind="direct", layer=work.model.lower())
    return forecast_network(net, sizes, partial(Quantiles, levels=work.levels))


def _thousand(quick: bool) -> Row:
    """Ten epochs, each with as many horizons as fit side by side into the series."""
    work = Work("", "DeepAR", series=1000, steps=1000, epochs=10, draws=(1000 - 96) // 24, batch=256)
    if quick:
        work = replace(_small(work), series=20)
    found = train(work, waves(work.series, work.steps + work.horizon, 0), CHAINED)
    value = Value(found.fit, found.fit, found.fit, "s", most(120))
    return Row("autoregressive LSTM, ten epochs", work.shape, {"s": value}, note=f"error {found.error:.3f}")
