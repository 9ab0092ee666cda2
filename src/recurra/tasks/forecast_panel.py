"""Panels of series as a forecaster keeps them: cut at a time, joined with newer rows, saved beside its weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recurra import files
from recurra.data.frames import Panel, Series
from recurra.data.frequency import Frequency
from recurra.data.stamps import text
from recurra.errors import DataError, RunError

__all__ = ["appended", "before", "load_panel", "save_panel", "tail"]

Array = NDArray[np.float64]
PARTS = ("stamps", "y", "past", "known", "static")


def tail(panel: Panel, steps: int) -> Panel:
    """The newest ``steps`` of every series."""
    return replace(
        panel, series=tuple(_slice(series, max(0, len(series.y) - steps), None) for series in panel.series)
    )


def before(panel: Panel, drop: int) -> Panel:
    """The panel without the newest ``drop`` steps of every series; series without any other are left out."""
    kept = tuple(_slice(series, 0, len(series.y) - drop) for series in panel.series if len(series.y) > drop)
    if not kept:
        longest = max(len(series.y) for series in panel.series)
        raise DataError(f"expected series of more than {drop} steps, the longest has {longest}")
    return replace(panel, series=kept)


def _slice(series: Series, start: int, stop: int | None) -> Series:
    along = {name: getattr(series, name)[start:stop] for name in ("stamps", "y", "past", "known")}
    return series._replace(**along)


def appended(panel: Panel, newer: Panel) -> Panel:
    """A panel with newer rows: rows with stamps that were there replace the old ones, steps between are missing.

    Series that were not there are added. Raises DataError for rows that are all older than what is kept.
    """
    if newer.frequency != panel.frequency:
        raise DataError(f"expected rows that are a {panel.frequency} apart, as before, got a {newer.frequency}")
    found = {series.name: series for series in newer.series}
    joined = [_joined(series, found.pop(series.name, None), panel.frequency) for series in panel.series]
    return replace(panel, series=(*joined, *found.values()))


def _joined(old: Series, new: Series | None, frequency: Frequency) -> Series:
    if new is None:
        return old
    start = int(old.stamps[0])
    places = frequency.positions(new.stamps, start)
    if places[-1] < 0:
        kind = "integer" if frequency.unit == "integer" else "time"
        raise DataError(
            f"series {old.name!r}: expected rows after {text(start, kind)}, what is kept begins there; "
            f"the last one is at {text(int(new.stamps[-1]), kind)}"
        )
    new, places = _slice(new, int((places < 0).sum()), None), places[places >= 0]
    length = max(len(old.y), int(places[-1]) + 1)

    def both(name: str) -> Array:
        one, two = getattr(old, name), getattr(new, name)
        whole = np.full((length, *one.shape[1:]), np.nan)
        whole[: len(one)] = one
        whole[places] = two
        return whole

    stamps = frequency.stamps(start, np.arange(length))
    return Series(old.name, stamps, both("y"), both("past"), both("known"), old.static)


def save_panel(panel: Panel, path: Path) -> None:
    """Write a panel as ``path.safetensors`` and ``path.json``."""
    tensors = {
        f"{number}.{name}": torch.from_numpy(np.ascontiguousarray(getattr(series, name)))
        for number, series in enumerate(panel.series)
        for name in PARTS
    }
    about: dict[str, Any] = {
        "series": [series.name for series in panel.series],
        "frequency": str(panel.frequency),
        "past": panel.past_names,
        "known": panel.known_names,
        "static": panel.static_names,
        "words": panel.words,
        "zone": panel.zone,
    }
    files.write_tensors(path.with_suffix(".safetensors"), tensors)
    files.write_json(path.with_suffix(".json"), about)


def load_panel(path: Path) -> Panel:
    """The panel that `save_panel` wrote. Raises RunError if it is not whole."""
    about, tensors = (
        files.read_table(path.with_suffix(".json")),
        files.read_tensors(path.with_suffix(".safetensors")),
    )
    try:
        series = tuple(
            Series(name, **{part: tensors[f"{number}.{part}"].numpy() for part in PARTS})
            for number, name in enumerate(about["series"])
        )
        past, known, static = (tuple(about[part]) for part in ("past", "known", "static"))
        frequency = Frequency.of(about["frequency"])
        return Panel(series, frequency, past, known, static, about["words"], about["zone"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{path} holds no series as they were saved ({error}); was the folder changed?") from error
