"""What a forecaster knows of its series besides its weights, as values that a run folder holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from recurra.data.frames import Panel, Series
from recurra.data.frequency import Frequency
from recurra.data.scaling import Scaling
from recurra.errors import DataError, RunError

__all__ = ["Facts"]


@dataclass(frozen=True)
class Facts:
    """What was learned of the series of the training part.

    frequency, zone      of their stamps
    past, known, static  names of the covariates; one that holds words is several
    words                the words of these
    history, season      steps that a forecast reads, steps of a season
    scaling              locations and scales
    """

    frequency: str
    zone: str
    past: tuple[str, ...]
    known: tuple[str, ...]
    static: tuple[str, ...]
    words: Mapping[str, Any]
    history: int
    season: int
    scaling: Scaling

    def steps(self) -> Frequency:
        """The frequency."""
        return Frequency.of(self.frequency)

    def check(self, panel: Panel) -> None:
        """Raise DataError if a panel has not the frequency and the covariates that were trained with."""
        if str(panel.frequency) != self.frequency:
            raise DataError(f"expected series with a step of a {self.frequency}, got one of a {panel.frequency}")
        for what in ("past", "known", "static"):
            want, got = getattr(self, what), getattr(panel, f"{what}_names")
            if tuple(want) != tuple(got):
                raise DataError(f"expected the {what} covariates {list(want)}, got {list(got)}")

    def panel(self, series: Sequence[Series]) -> Panel:
        """A panel of such series."""
        names = (self.past, self.known, self.static)
        return Panel(tuple(series), self.steps(), *names, dict(self.words), self.zone)

    def learned(self) -> dict[str, Any]:
        """As plain values."""
        values = {name.name: getattr(self, name.name) for name in fields(self) if name.name != "scaling"}
        lists = {name: list(values[name]) for name in ("past", "known", "static")}
        words = {name: list(found) for name, found in self.words.items()}
        return values | lists | {"words": words, "scaling": self.scaling.learned()}

    @classmethod
    def relearn(cls, values: Any) -> "Facts":
        """The inverse of `learned`. Raises RunError if the values are not whole."""
        try:
            found = {name.name: values[name.name] for name in fields(cls)}
            found |= {name: tuple(values[name]) for name in ("past", "known", "static")}
            return cls(**(found | {"scaling": Scaling.relearn(values["scaling"])}))
        except (KeyError, TypeError) as error:
            raise RunError(
                f"the run does not say what its series are ({error}); was it made by this task?"
            ) from error
