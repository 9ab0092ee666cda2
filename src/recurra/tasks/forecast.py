"""Forecasting: what a series will be, and how sure one can be of it.

    p(y_{T+1} .. y_{T+H} | y_1 .. y_T, covariates)

One recurrent network for all series of a data set (Salinas et al. 2020, Wen et al. 2017, Lin et al. 2023). It
learns from the first part of each series, the next part chooses its weights and sets its intervals right, the last
one measures it, beside simple forecasts that are hard to beat.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recurra.data import calendar
from recurra.data.cuts import Cuts, cut, cut_ends
from recurra.data.frames import Columns, Panel, Reading, read_panel
from recurra.data.frequency import Frequency
from recurra.data.horizons import Window, WindowBatches
from recurra.data.scaling import Scaling
from recurra.data.sources import place_of
from recurra.errors import ConfigError, RunError
from recurra.heads import quantile_function
from recurra.heads.conformal import Conformal, fit_conformal, least_windows
from recurra.heads.outputs import OUTPUTS
from recurra.kernels import dispatch
from recurra.run.estimator import Estimator
from recurra.run.protocol import Batches, Data
from recurra.tasks.forecast_backtest import back_test
from recurra.tasks.forecast_change import change, restore
from recurra.tasks.forecast_coming import Coming, edges
from recurra.tasks.forecast_config import ForecastConfig, ForecastOutput
from recurra.tasks.forecast_drawing import draw_coming, draw_next, draw_next_price, draw_test
from recurra.tasks.forecast_facts import Facts
from recurra.tasks.forecast_measure import Backtest, Forecasts, compared, standardised
from recurra.tasks.forecast_network import Forecast as Said
from recurra.tasks.forecast_network import ForecastNetwork, WindowSizes
from recurra.tasks.forecast_networks import forecast_network
from recurra.tasks.forecast_questions import answer, asked, heading, question, rows
from recurra.tasks.forecast_reach import Reach, measure_reach
from recurra.tasks.forecast_recent import Latest, recent_moves
from recurra.tasks.forecast_stream import ForecastStream
from recurra.tasks.forecast_table import scaled, score_table, verdict
from recurra.tasks.forecast_windows import HeldOut, blank, held_out, histories, newest, training

__all__ = ["Forecast"]


NEXT = 300  # forecasts of the next value that are drawn


class Forecast(Estimator):
    """A forecaster of the series in a file, a data set or a panel.

    >>> task = Forecast(ForecastConfig(horizon=24, data=ForecastData(path="weather.csv")))      # doctest: +SKIP
    >>> task.fit("runs/weather")                                                                # doctest: +SKIP
    >>> task.predict({"ds": stamps, "y": values})["mean"]                                       # doctest: +SKIP

    `Forecaster` is the same from data frames to data frames. ``panel`` is what it learns from and is measured on,
    instead of ``data.path``; ``facts`` is what it learned besides weights.
    """

    name = "forecast"
    unit = "values"
    source: ClassVar[str] = "data.path"
    Config = ForecastConfig
    config: ForecastConfig

    def __init__(self, config: ForecastConfig | None = None, panel: Panel | None = None) -> None:
        super().__init__(config)
        self.panel = panel
        self.facts: Facts | None = None
        self.conformal: Conformal | None = None

    def data(self) -> Data:
        """The windows of the three parts; frequency, names and scales are learned from the first one."""
        raw = self.panel if self.panel is not None else self.read_panel(self.config.data.path)
        panel = self.changed(raw)
        cuts = self._cut(panel)
        if self.facts is None:
            self.say(*panel.notes, *cuts.notes(panel))
            self.facts = self._learn(panel, cuts)
        of = histories(panel, self.known_facts(), self.config, ends=cuts.train)
        answers = panel if self.config.data.change == "returns" else raw
        parts = [held_out(of, part, cuts, self.config, answers) for part in ("valid", "test")]
        return Data(training(of, cuts, self.config), *parts)

    def _cut(self, panel: Panel) -> Cuts:
        data = self.config.data
        return cut_ends(panel, *data.held_out) if data.held_out else cut(panel, data.split)  # type: ignore[arg-type]

    def _learn(self, panel: Panel, cuts: Cuts) -> Facts:
        config, frequency = self.config, panel.frequency
        season = config.measure.season or frequency.season
        history = config.history or max(3 * config.horizon, 2 * season)
        self.say(f"frequency: {frequency}; season: {season} steps; a forecast reads {history} steps")
        names = (panel.past_names, panel.known_names, panel.static_names)
        scaling = Scaling.learn(panel, cuts.train, config.data.scaling, config.data.per)
        return Facts(str(frequency), panel.zone, *names, panel.words, history, season, scaling)

    def read(self, source: str) -> Batches:
        """Another file: the first half of each series is what baselines learn from, the second half is forecast."""
        panel = self.read_panel(source)
        lengths = torch.tensor([len(series.y) for series in panel.series])
        return self.windows_of(panel, lengths - lengths // 2)

    def windows_of(self, raw: Panel, begins: Tensor) -> HeldOut:
        """The windows of a panel whose targets begin at step ``begins (N,)`` of each series or later."""
        panel, lengths = self.changed(raw), torch.tensor([len(series.y) for series in raw.series])
        of = histories(panel, self.known_facts(), self.config, ends=begins)
        answers = panel if self.config.data.change == "returns" else raw
        return held_out(of, "test", Cuts(begins, begins, lengths), self.config, answers)

    def reading(self) -> Reading:
        """How a frame or file is read: as the configuration says, once something was learned as that was."""
        data, facts = self.config.data, self.facts
        columns = Columns(data.id, data.time, data.target, data.past, data.known, data.static)
        if facts is not None:
            return Reading(columns, facts.steps(), data.duplicates, facts.words, least=1)
        return Reading(columns, Frequency.of(data.frequency) if data.frequency else None, data.duplicates)

    def read_panel(self, source: Any, static: Any = None) -> Panel:
        """The series of a file, a data set by name, or a data frame."""
        if isinstance(source, str) and not source:
            raise ConfigError("data.path: expected a CSV file or a data set by name, got nothing")
        panel = read_panel(place_of(source) if isinstance(source, str) else source, self.reading(), static)
        if self.facts is not None:
            self.facts.check(panel)
        return panel

    def changed(self, panel: Panel) -> Panel:
        """The panel with what is forecast of it: values, logarithms or returns."""
        kind = self.config.data.change
        series = [one._replace(y=change(kind, one.y, f"series {one.name!r}")) for one in panel.series]
        return replace(panel, series=tuple(series))

    def network(self) -> nn.Module:
        facts, config = self.known_facts(), self.config
        sizes = WindowSizes(
            history=facts.history,
            horizon=config.horizon,
            past=len(facts.past),
            known=self._cycles() * config.data.calendar + len(facts.known),
            static=len(facts.static),
            series=len(facts.scaling.names),
        )
        return forecast_network(config.model, sizes, make_output(config.output)).cpu()

    def _cycles(self) -> int:
        """Features of the calendar."""
        return len(calendar.names(self.known_facts().steps()))

    def _seen(self, window: Window) -> Window:
        """A window as the network reads it: without the calendar, if ``data.calendar`` says so."""
        if self.config.data.calendar:
            return window
        first = self._cycles()
        return window._replace(known=window.known[..., first:], ahead=window.ahead[..., first:])

    def begin(self, network: nn.Module) -> None:
        """Forget an earlier training."""
        self.trained = self.conformal = None

    def loss(self, network: nn.Module, batch: Window, carry: Any) -> tuple[Tensor, int, Any]:
        """Sum of the losses of all values that are there, and their number; nothing is carried."""
        assert isinstance(network, ForecastNetwork)
        return *network.loss(self._seen(batch)), None

    @torch.no_grad()
    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """The loss of a value; of networks that draw no paths also errors of the median, in scaled units."""
        assert isinstance(network, ForecastNetwork)
        device = next(network.parameters()).device
        total, count, off, values = 0.0, 0, 0.0, 0
        for batch in batches.epoch(0):
            batch = Window(*(part.to(device) for part in batch))
            lost, many = network.loss(self._seen(batch))
            total, count = total + float(lost), count + many
            if self.config.model.kind != "autoregressive":
                errors = (self._predicted(network, batch, (0.5,)).quantiles[..., 0] - batch.target).abs()
                off, values = off + float(errors.nansum()), values + int((~errors.isnan()).sum())
        measured = {"loss": total / max(1, count)}
        return measured | ({"scaled_mae": off / values} if values else {})

    def _predicted(self, network: ForecastNetwork, window: Window, levels: Sequence[float]) -> Said:
        """What a network says of windows, in scaled units."""
        config = self.config.intervals
        generator = torch.Generator(window.y.device).manual_seed(config.seed)
        return network.predict(self._seen(window), torch.tensor(levels), config.paths, generator)

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles that are always asked for: those that are learned, the ends of intervals, the median."""
        config = self.config
        ends = [edge for level in config.intervals.levels for edge in edges(level)]
        return tuple(sorted({*config.output.quantiles, *ends, 0.5}))

    @torch.no_grad()
    def finish(self, data: Data) -> None:
        """Learn from the validation part how far quantiles must move, if ``intervals.conformal`` asks for it."""
        kind = self.config.intervals.conformal
        if kind == "none":
            return
        network = self.trained_network()
        assert isinstance(data.valid, HeldOut)
        windows = data.valid.make(1).epoch(0)
        target = torch.cat([window.target for window in windows])
        known = int((~target.isnan()).sum(0).min())
        levels = [q for q in self.levels if least_windows(torch.tensor([q])) <= known]
        if len(levels) < len(self.levels):
            self.say(
                f"intervals: {known} windows of the validation part are too few for the quantiles "
                f"{', '.join(f'{q:g}' for q in self.levels if q not in levels)}: these go on from the next ones"
            )
        if len(levels) < 2:
            self.say("intervals: they are not calibrated")
            return
        recent = self.config.intervals.recent
        if 0 < recent < least_windows(torch.tensor(levels)):
            self.say(
                f"intervals.recent: {recent} values are too few for the outer quantiles, which stay as validated"
            )
        quantiles = torch.cat([self._predicted(network, window, levels).quantiles for window in windows])
        self.conformal = fit_conformal(target, quantiles, torch.tensor(levels, dtype=torch.float64), kind)

    def _said(self, batches: WindowBatches, levels: Sequence[float]) -> Forecasts:
        """What the trained network says, calibrated, in the units of answers; quantiles at ``levels``."""
        moves, answered = self._moves(batches), []
        for window, place in zip(batches.epoch(0), range(0, len(batches.windows), batches.batch), strict=True):
            said = self._predicted(self.trained_network(), window, self.said_levels)
            move = None if moves is None else moves[place : place + len(window.y)]
            answered.append(self.answered(said, window.location, window.scale, levels, move))
        return Forecasts(*(torch.cat(parts) for parts in zip(*answered, strict=True)))

    def _moves(self, batches: WindowBatches) -> Tensor | None:
        """How far the quantiles of each window move by the latest errors, if ``intervals.recent`` asks for it."""
        recent, moved = self.config.intervals.recent, self.conformal
        if moved is None or not recent:
            return None
        return recent_moves(batches, self._scaled_quantiles, moved.levels, moved.kind, recent)

    def _scaled_quantiles(self, window: Window) -> Tensor:
        """What the network says before it is calibrated."""
        return self._predicted(self.trained_network(), window, self.said_levels).quantiles

    def latest(self, panel: Panel) -> Latest | None:
        """What the quantiles after the only series of a panel move by; None if they stay as they were validated."""
        recent, moved = self.config.intervals.recent, self.conformal
        if moved is None or not recent:
            return None
        of = histories(self.changed(panel), self.known_facts(), self.config)
        return Latest.of(of, self._scaled_quantiles, moved.kind, recent)

    def answered(
        self, said: Said, location: Tensor, scale: Tensor, levels: Sequence[float], moves: Tensor | None = None
    ) -> Forecasts:
        """What a network said, calibrated, in the units of answers; location and scale ``(B,)``.

        Quantiles between and beyond those that are calibrated go on as a normal distribution does, in scaled units.
        ``moves (B, H, Q)`` take the place of those of the validation part.
        """
        calibrate = self.conformal
        if calibrate is not None and moves is not None:
            calibrate = calibrate.by(moves)
        quantiles = (said.quantiles if calibrate is None else calibrate(said.quantiles)).double()
        if tuple(levels) != self.said_levels:
            known, wanted = (torch.tensor(q, dtype=torch.float64) for q in (self.said_levels, list(levels)))
            quantiles = quantile_function.interpolate(quantiles, known, wanted)
        location, scale = location.double()[:, None], scale.double()[:, None]
        found = Forecasts(location + scale * said.mean, location[..., None] + scale[..., None] * quantiles)
        found = Forecasts(*(restore(self.config.data.change, values) for values in found))
        counts = OUTPUTS[self.config.output.kind].counts
        return Forecasts(*(values.clamp(min=0) for values in found)) if counts else found

    def forecast_after(self, memory: Any, ahead: Tensor) -> Said:
        """What the trained network says after a memory, of steps ``ahead (B, H, K)``; for streams."""
        generator = torch.Generator().manual_seed(self.config.intervals.seed)
        levels, paths = torch.tensor(self.said_levels), self.config.intervals.paths
        return self.trained_network().forecast(memory, ahead, levels, paths, generator)

    @torch.no_grad()
    def backtest(self, windows: HeldOut) -> Backtest:
        """What the trained network and the baselines say at many moments, beside what came."""
        return back_test(
            windows,
            (self._said(windows.batches, self.said_levels), torch.tensor(self.said_levels, dtype=torch.float64)),
            self.known_facts().season,
            self.config.measure.baselines,
            self.say,
        )

    def evaluate(self, part: str = "test", source: str | None = None) -> dict[str, float]:
        """The numbers of the network beside those of the baselines, as `forecast_measure.compared` names them."""
        windows = self.held_out(part, source)
        assert isinstance(windows, HeldOut)
        test = self.backtest(windows)
        measured = self.scores(test, windows.stride)
        if (
            self.config.data.scaling != "standard"
            or self.config.data.change != "none"
            or len(test.rows.unique()) < 2
        ):
            return measured
        return measured | standardised(test, windows.batches.histories.placed.scale[test.rows])

    def scores(self, test: Backtest, stride: int) -> dict[str, float]:
        """The numbers of a back-test whose windows are ``stride`` steps apart."""
        return compared(test, self.config.intervals.levels, -(-self.config.horizon // stride), self.returns)

    @property
    def returns(self) -> bool:
        """Whether the values are returns, of which all of the distribution counts."""
        return self.config.measure.returns or self.config.data.change == "returns"

    def lines(self, measured: dict[str, float]) -> list[str]:
        said = verdict(measured, "crps" if self.returns else "mae")
        more = [line for line in (scaled(measured), said) if line]
        return [*score_table(measured), *([""] if more else []), *more]

    @property
    def said_levels(self) -> tuple[float, ...]:
        """The quantiles of a calibrated forecast."""
        return self.levels if self.conformal is None else tuple(self.conformal.levels.tolist())

    @property
    def told_levels(self) -> tuple[float, ...]:
        """The quantiles of an answer: those of a calibrated forecast, and the ends of all intervals."""
        ends = {edge for level in self.config.intervals.levels for edge in edges(level)}
        return tuple(sorted({*self.said_levels, *ends, 0.5}))

    def coming(
        self, panel: Panel, levels: Sequence[float] = (), ahead: NDArray[np.float64] | None = None
    ) -> Coming:
        """What follows each series of a panel.

        levels  of the quantiles, between 0 and 1; none: `told_levels`
        ahead   (N, H, K) known covariates of the horizon, if there are such
        """
        facts = self.known_facts()
        facts.check(panel)
        asked = tuple(levels) or self.told_levels
        windows = newest(self.changed(panel), facts, self.config, ahead)
        said = self._said(windows, asked)
        names = tuple(series.name for series in panel.series)
        return Coming(names, panel.following(self.config.horizon), said.mean, asked, said.quantiles)

    def draw_measured(self, batches: Batches, folder: Path) -> list[Path]:
        """Fans, windows one after the other, errors by step, calibration, and whether it copies the last value."""
        assert isinstance(batches, HeldOut)
        drawn, near = draw_test(self.backtest(batches), batches.panel, folder), batches.near(NEXT)
        draw = draw_next_price if self.returns else draw_next
        draw(
            near,
            self._said(near.batches, self.said_levels),
            torch.tensor(self.said_levels, dtype=torch.float64),
            folder / "next.png",
        )
        return [*drawn, folder / "next.png"]

    def draw_answer(self, raw: Any, folder: Path, name: str) -> list[Path]:
        """The series and what may come after it."""
        one = question(raw, self.read_panel, self.config.horizon, self.config.data.time)
        panel = self.known_facts().panel([one.series])
        coming = self.coming(panel, (), one.ahead[None])
        shown = self.changed(panel) if self.config.data.change == "returns" else panel
        draw_coming(coming, shown, folder / f"{name}.png")
        return [folder / f"{name}.png"]

    def questions(self, source: str) -> list[Any]:
        return list(asked(self.read_panel(source), self.config.horizon))

    def heading(self) -> str:
        data = self.config.data
        return heading(data.id, data.time, self.config.intervals.levels)

    def shown(self, answer: Any) -> Any:
        return "" if answer is None else rows(answer)

    def predict_many(self, raws: Sequence[Any]) -> list[dict[str, Any]]:
        """What follows each series: stamps, mean, and the ends of the intervals.

        A raw input is a dict of columns such as ``{"unique_id": "north", "ds": [...], "y": [...]}``, or a line with
        one as JSON. With known covariates its last rows have them, and no values.
        """
        if not raws:
            return []
        facts, config = self.known_facts(), self.config
        found = [question(raw, self.read_panel, config.horizon, config.data.time) for raw in raws]
        panel = facts.panel([one.series for one in found])
        return self.told(self.coming(panel, (), np.stack([one.ahead for one in found])))

    def told(self, coming: Coming) -> list[dict[str, Any]]:
        """What may come, as `predict` answers: a dict of plain values for each series."""
        levels, data = self.config.intervals.levels, self.config.data
        kind = "integer" if self.known_facts().steps().unit == "integer" else "time"
        return [answer(coming, n, levels, kind, (data.id, data.time)) for n in range(len(coming.names))]

    def predict(self, raw: Any) -> dict[str, Any]:
        return self.predict_many([raw])[0]

    def stream(self, raw: Any) -> ForecastStream:
        """One series, to go on value by value after the rows of ``raw``, an input as `predict` takes it."""
        one = question(raw, self.read_panel, self.config.horizon, self.config.data.time)
        return self.stream_of(self.known_facts().panel([one.series]), one.ahead)

    def stream_of(self, panel: Panel, ahead: NDArray[np.float64] | None = None) -> ForecastStream:
        """The only series of a panel, to go on value by value."""
        window = newest(self.changed(panel), self.known_facts(), self.config, None).epoch(0)[0]
        return ForecastStream(self, panel, self._seen(window), ahead)

    def known_facts(self) -> Facts:
        """What was learned of the series. Raises RunError before `fit` or `load`."""
        if self.facts is None:
            raise RunError("Forecast knows no series yet; call fit(...) or load(folder)")
        return self.facts

    def trained_network(self) -> ForecastNetwork:
        """The trained network, on the processor."""
        network = self.ready().cpu()
        assert isinstance(network, ForecastNetwork)
        return network

    def explain(self) -> str:
        with dispatch.record() as log, torch.no_grad():
            network = self.trained_network()
            network.predict(blank(network.sizes, 32), torch.tensor([0.5]), 2)
        return "\n".join(map(str, log))

    def reach(self, part: str = "valid", batches: int = 20) -> Reach:
        """How far back the trained network looks, by so many batches of a part of its data."""
        windows = [self._seen(window) for window in islice(self.held_out(part).epoch(0), batches)]
        return measure_reach(self.trained_network(), windows)

    def learned(self) -> dict[str, Any]:
        moved = self.conformal
        conformal = None
        if moved is not None:
            conformal = {"kind": moved.kind, "levels": moved.levels.tolist(), "move": moved.move.tolist()}
        return {"facts": self.known_facts().learned(), "conformal": conformal}

    def relearn(self, values: dict[str, Any]) -> None:
        self.facts = Facts.relearn(values.get("facts"))
        moved = values.get("conformal")
        self.conformal = None
        if moved is not None:
            try:
                levels, move = (torch.tensor(moved[name], dtype=torch.float64) for name in ("levels", "move"))
                self.conformal = Conformal(levels, move, moved["kind"])
            except (KeyError, TypeError, ValueError) as error:
                raise RunError(
                    f"the intervals of the run are broken ({error}); was it made by this task?"
                ) from error


def make_output(config: ForecastOutput) -> Any:
    """What makes the output that a recipe names, for so many hidden numbers."""
    kinds: dict[str, dict[str, Any]] = {
        "quantiles": {"levels": config.quantiles},
        "mixture": {"parts": config.parts},
    }
    options = kinds.get(config.kind, {})
    if config.objective:
        options["objective"] = config.objective
    return partial(OUTPUTS[config.kind], **options)
