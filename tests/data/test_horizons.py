"""Windows of series: each once, as a loop cuts them, and blind to what is held out, which NaN and 1e9 prove."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.data import calendar
from recurra.data.cuts import Cuts, cut, cut_ends
from recurra.data.frames import Panel, Series, read_panel
from recurra.data.frequency import Frequency
from recurra.data.horizons import Histories, Window, WindowBatches
from recurra.data.scaling import KINDS, Scaling
from recurra.errors import ConfigError, DataError, RunError

SIZES = (33, 19, 63, 7)
LOOKBACK, HORIZON = 9, 4
ETTH1 = Path("/work/shared/data/forecasting/ETTh1.csv")


def panel(sizes: tuple[int, ...] = SIZES, seed: int = 0) -> Panel:
    """Days; every series begins a day later than the one before, and a tenth of the values is missing."""
    random = np.random.default_rng(seed)
    made = []
    for number, steps in enumerate(sizes):
        start = (19_000 + number) * 86_400 * 10**9
        y = random.normal(10 * number, 1 + number, steps)
        y[random.random(steps) < 0.1] = np.nan
        past, known = random.normal(5, 3, (steps, 2)), random.normal(0, 2, (steps, 1))
        past[random.random((steps, 2)) < 0.2] = np.nan
        stamps = Frequency("day").stamps(start, np.arange(steps))
        made.append(Series(f"s{number}", stamps, y, past, known, random.normal(0, 1, 2)))
    return Panel(tuple(made), Frequency("day"), ("a", "b"), ("k",), ("p", "q"))


def poisoned(clean: Panel, ends: Tensor, poison: float) -> Panel:
    """Everything from the step ``ends[i]`` of each series on is something else."""
    series = []
    for one, end in zip(clean.series, ends.tolist(), strict=True):
        copies = [values.copy() for values in (one.y, one.past, one.known)]
        for values in copies:
            values[end:] = poison
        series.append(Series(one.name, one.stamps, *copies, one.static))
    return Panel(tuple(series), clean.frequency, clean.past_names, clean.known_names, clean.static_names)


def equal(one: Window, other: Window) -> None:
    for name, a, b in zip(Window._fields, one, other, strict=True):
        assert torch.equal(a.nan_to_num(nan=7e7), b.nan_to_num(nan=7e7)), name


def whole(batches: WindowBatches, number: int = 0) -> Window:
    return Window(*(torch.cat(parts) for parts in zip(*batches.epoch(number), strict=True)))


def test_windows_are_as_a_loop_cuts_them() -> None:
    data = panel()
    cuts = cut_ends(data, 13, 0)
    assert cuts.train.tolist() == [20, 6, 50, 0], "of the last one training knows nothing"
    scaling = Scaling.learn(data, cuts.train)
    histories = Histories(data, scaling, LOOKBACK, HORIZON, cuts.train)
    first, last = cuts.part("valid")
    batch = whole(WindowBatches(histories, histories.windows(first, last, stride=2, least=3), batch=5))
    rows = []
    everything = np.concatenate([s.y[:end] for s, end in zip(data.series, cuts.train.tolist(), strict=True)])
    for number, series in enumerate(data.series):
        values = torch.tensor(series.y[: cuts.train[number]] if number < 3 else everything)
        there = values[~values.isnan()]
        scaled = (torch.tensor(series.y) - there.mean()) / there.std(correction=0)
        past = torch.tensor(np.stack([filled(series.past[:, p], data, cuts, p) for p in range(2)], 1))
        for place in range(max(int(first[number]), 3), int(last[number]) - HORIZON + 1, 2):
            begin = max(0, place - LOOKBACK)
            history, target = scaled[begin:place], scaled[place : place + HORIZON]
            if (~history.isnan()).any() and (~target.isnan()).any():
                rows.append((number, series, begin, place, history, target, past))
    assert len(rows) == len(batch.y) > 10
    for row, (number, series, begin, place, history, target, past) in enumerate(rows):
        steps = place - begin
        assert batch.lengths[row] == steps
        assert batch.series[row] == (number + 1 if number < 3 else 0)
        assert batch.y[row, :steps].double() == pytest.approx(history.nan_to_num(), abs=1e-5)
        assert torch.equal(batch.seen[row, :steps], ~history.isnan())
        assert batch.past[row, :steps].double() == pytest.approx(past[begin:place], abs=1e-5)
        for padded in (batch.y, batch.seen, batch.past, batch.known):
            assert not padded[row, steps:].any()
        assert torch.equal(batch.target[row].isnan(), target.isnan())
        assert batch.target[row].nan_to_num().double() == pytest.approx(target.nan_to_num(), abs=1e-5)
        features = torch.tensor(calendar.features(series.stamps, data.frequency))
        assert torch.equal(batch.known[row, :steps, :6], features[begin:place])
        assert torch.equal(batch.ahead[row, :, :6], features[place : place + HORIZON])
        back = batch.target[row] * batch.scale[row] + batch.location[row]
        assert back.nan_to_num() == pytest.approx(np.nan_to_num(series.y[place : place + HORIZON]), abs=1e-4)


def filled(column: np.ndarray, data: Panel, cuts: Cuts, place: int) -> list[float]:
    """A covariate standardised over the training parts of all series, the last value for one that is missing."""
    parts = np.concatenate([s.past[:end, place] for s, end in zip(data.series, cuts.train.tolist(), strict=True)])
    mean, deviation = np.nanmean(parts), np.nanstd(parts)
    made, before = [], 0.0
    for value in column:
        before = before if np.isnan(value) else (value - mean) / deviation
        made.append(before)
    return made


@pytest.mark.parametrize("poison", [np.nan, 1e9])
@pytest.mark.parametrize("kind", KINDS)
def test_training_is_blind_to_what_is_held_out(kind: str, poison: float) -> None:
    clean = panel()
    cuts = cut(clean, (0.6, 0.2, 0.2))
    dirty = poisoned(clean, cuts.train, poison)
    scalings = [Scaling.learn(data, cuts.train, kind) for data in (clean, dirty)]  # type: ignore[arg-type]
    assert scalings[0].learned() == scalings[1].learned()
    batches = []
    for data, scaling in zip((clean, dirty), scalings, strict=True):
        histories = Histories(data, scaling, LOOKBACK, HORIZON, cuts.train)
        batches.append(WindowBatches(histories, histories.windows(*cuts.part("train")), 16, shuffled=True))
    assert len(batches[0].windows) == len(batches[1].windows) > 30
    for number in range(2):
        equal(whole(batches[0], number), whole(batches[1], number))


@pytest.mark.parametrize("poison", [np.nan, 1e9])
def test_a_history_is_blind_to_its_future(poison: float) -> None:
    """For each window of the test part: all but its targets, and the known covariates, are from before its cut."""
    clean = panel()
    cuts = cut_ends(clean, 6, 8)
    scaling = Scaling.learn(clean, cuts.train)
    histories = Histories(clean, scaling, LOOKBACK, HORIZON, cuts.train)
    windows = histories.windows(*cuts.part("test"))
    for window in windows:
        ends = torch.tensor([1000] * len(SIZES))
        ends[window[0]] = window[1]
        dirty = Histories(poisoned(clean, ends, poison), scaling, LOOKBACK, HORIZON, cuts.train)
        one, other = (source.gather(window[None]) for source in (histories, dirty))
        equal(one._replace(target=other.target, ahead=other.ahead), other)
        assert not torch.equal(one.target.nan_to_num(), other.target.nan_to_num()), "the poison is there"


def test_parts_meet_and_do_not_overlap() -> None:
    data = panel()
    cuts = cut(data, (0.6, 0.2, 0.2))
    scaling = Scaling.learn(data, cuts.train)
    histories = Histories(data, scaling, LOOKBACK, 1)
    parts = [histories.windows(*cuts.part(name)).tolist() for name in ("train", "valid", "test")]
    flat = [tuple(window) for part in parts for window in part]
    assert len(set(flat)) == len(flat)
    everything = histories.windows([0] * 4, SIZES).tolist()
    assert sorted(flat) == sorted(map(tuple, everything)), "with a horizon of 1 each step is the target of one part"


def test_every_window_once_and_no_batch_dropped() -> None:
    data = panel()
    scaling = Scaling.learn(data, SIZES)
    histories = Histories(data, scaling, LOOKBACK, HORIZON)
    windows = histories.windows([0] * 4, SIZES)
    total = len(windows)
    plain, shuffled = (WindowBatches(histories, windows, 10, shuffled=s) for s in (False, True))
    assert len(plain.epoch(0)) == -(-total // 10)
    assert sum(len(batch.y) for batch in plain.epoch(0)) == total
    one, other = whole(plain), whole(shuffled, 3)
    assert not torch.equal(one.y, other.y)
    assert torch.equal(one.y.sum(1).sort().values, other.y.sum(1).sort().values)
    equal(other, whole(shuffled, 3))
    drawn = WindowBatches(histories, windows, 10, shuffled=True, draw=total // 3 + 1)
    seen = [whole(drawn, number).target for number in range(3)]
    assert all(len(part) == total // 3 + 1 for part in seen)
    firsts = torch.cat(seen)[:total]
    assert torch.equal(firsts.nan_to_num().sum(1).sort().values, one.target.nan_to_num().sum(1).sort().values)
    shards = [WindowBatches(histories, windows, 10).shard(rank, 2) for rank in range(2)]
    assert sum(len(batch.y) for shard in shards for batch in shard.epoch(0)) == total
    with pytest.raises(ConfigError, match="expected a multiple of the 3 processes"):
        plain.shard(0, 3)


def test_the_last_window_is_not_known_yet() -> None:
    data = panel()
    scaling = Scaling.learn(data, SIZES)
    future = np.arange(4 * HORIZON, dtype=float).reshape(4, HORIZON, 1)
    batch = Histories(data, scaling, LOOKBACK, HORIZON, future=future).gather(
        Histories(data, scaling, LOOKBACK, HORIZON).last()
    )
    assert batch.target.isnan().all()
    assert batch.lengths.tolist() == [9, 9, 9, 7]
    mean, deviation = scaling.known[:, 0]
    assert (batch.ahead[..., 6:].double() * deviation + mean).numpy() == pytest.approx(future, abs=1e-5)
    stamps = torch.tensor(calendar.features(data.following(HORIZON)[2], data.frequency))
    assert torch.equal(batch.ahead[2, :, :6], stamps)
    y = torch.tensor(data.series[3].y)
    assert torch.equal(batch.seen[3, :7], ~y.isnan())


def test_scaling_there_and_back() -> None:
    data = panel()
    scaling = Scaling.learn(data, SIZES)
    again = Scaling.relearn(scaling.learned())
    assert again.learned() == scaling.learned()
    stranger = Panel((data.series[1]._replace(name="new"), data.series[2]), data.frequency, *names(data))
    placed = again.place(stranger)
    assert placed.number.tolist() == [0, 3]
    own = Scaling.learn(data, SIZES).place(data)
    assert torch.equal(placed.location, own.location[1:3]), "a new series is scaled by its own history"
    assert placed.scale[1] == own.scale[2]
    early = again.place(stranger, [5, 5])
    assert early.location[0] == pytest.approx(np.nanmean(data.series[1].y[:5]))
    assert early.location[1] == own.location[2], "a known one as in training"
    values = np.concatenate([series.y for series in data.series])
    shared = Scaling.learn(data, SIZES, per="panel")
    assert shared.location.tolist() == pytest.approx([np.nanmean(values)] * 5)
    assert Scaling.learn(data, SIZES, "mean").scale[0] == pytest.approx(np.nanmean(np.abs(values)))
    assert Scaling.learn(data, SIZES, "none").scale.tolist() == [1] * 5
    flat = Panel((data.series[0]._replace(y=np.full(33, 0.1)),), data.frequency, *names(data))
    assert Scaling.learn(flat, [33]).scale.tolist() == [1, 1]
    with pytest.raises(RunError, match="the scaling of the run is broken: KeyError 'scale'"):
        Scaling.relearn({"location": [1.0]})
    with pytest.raises(ConfigError, match="expected one of standard, mean, none"):
        Scaling.learn(data, SIZES, "robust")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no value in the training part"):
        Scaling.learn(data, [0, 0, 0, 0])


def names(data: Panel) -> tuple[tuple[str, ...], ...]:
    return data.past_names, data.known_names, data.static_names


def test_cuts_by_shares_steps_moments_and_ends() -> None:
    data = panel((30, 30))
    cuts = cut(data, (0.5, 0.25, 0.25))
    assert [ends.tolist() for ends in cuts] == [[16, 15], [23, 22], [30, 30]], "31 days, the second begins on day 2"
    assert [ends.tolist() for ends in cut(data, (15, 5, 5))] == [[15, 14], [20, 19], [25, 24]]
    moments = cut(data, ("2022-01-18", "2022-01-23"))
    assert [ends.tolist() for ends in moments] == [[10, 9], [15, 14], [30, 30]]
    assert moments.notes(data)[0] == "train: 19 steps from 2022-01-08 to 2022-01-17"
    assert [ends.tolist() for ends in cut_ends(data, 3, 40)] == [[0, 0], [0, 0], [30, 30]]
    assert cut_ends(data, 3, 40).notes(data)[-1] == "2 series begin after the training part, such as 's0'"
    for split in [(0.5, 0.5), (20, 10, 10), (1.5, 1, 1), ("2022-01-23", "2022-01-18"), (0, 0.5, 0.5), ("7", "9")]:
        with pytest.raises(ConfigError, match="split"):
            cut(data, split)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="the test part has no step"):
        cut(data, ("2022-01-18", "2023-01-18"))


def test_mistakes() -> None:
    data = panel()
    scaling = Scaling.learn(data, SIZES)
    histories = Histories(data, scaling, LOOKBACK, 70)
    with pytest.raises(DataError, match="no window of 70 steps and a history fits into this part"):
        WindowBatches(histories, histories.windows([0] * 4, SIZES), 4)
    with pytest.raises(ConfigError, match="expected lookback and horizon of at least 1, got 0 and 4"):
        Histories(data, scaling, 0, HORIZON)
    with pytest.raises(DataError, match="expected 2 past covariates as in training, got 0"):
        Histories(Panel(data.series, data.frequency), scaling, LOOKBACK, HORIZON)
    with pytest.raises(ConfigError, match="expected batch >= 1 and draw >= 0"):
        WindowBatches(histories, histories.last(), 0)
    with pytest.raises(ConfigError, match="expected a stride and a least history of 1 or more"):
        histories.windows([0] * 4, SIZES, stride=0)


@pytest.mark.skipif(not ETTH1.exists(), reason="ETTh1 is not here")
def test_the_standard_split_of_etth1() -> None:
    """8545 training windows of a look-back of 336 and a horizon of 96 for each column, 2785 for the other parts."""
    data = read_panel(ETTH1)
    cuts = cut(data, (8640, 2880, 2880))
    histories = Histories(data, Scaling.learn(data, cuts.train), 336, 96)
    counts = [len(histories.windows(*cuts.part(name), least=336)) // 7 for name in ("train", "valid", "test")]
    assert counts == [8640 - 336 - 96 + 1, 2880 - 96 + 1, 2880 - 96 + 1]
