"""What was found about the memory of layers: one outcome for each layer, length and width, as table and as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from recurra.diagnose.probes import Probe

__all__ = ["MemoryReport", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """One network's result.

    ending      "solved", "not solved", "diverged" (loss or gradient not finite), or "refused" (cannot be built)
    score       on the test part, in the probe's measure; None if there is none
    elsewhere   the score on the test part at other lengths, by length
    curve       (step, score) of each validation
    """

    layer: str
    length: int
    width: int
    ending: str
    score: float | None = None
    parameters: int = 0
    steps: int = 0
    seconds: float = 0.0
    note: str = ""
    elsewhere: dict[int, float | None] = field(default_factory=dict)
    curve: tuple[tuple[int, float | None], ...] = ()

    @property
    def cell(self) -> tuple[str, int, int]:
        """The place in the grid."""
        return self.layer, self.length, self.width

    @property
    def where(self) -> str:
        """The place in the grid, in words."""
        return f"{self.layer}, length {self.length:,}, width {self.width:,}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "elsewhere": {str(length): score for length, score in self.elsewhere.items()}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Outcome":
        """The inverse of `to_dict`."""
        elsewhere = {int(length): score for length, score in values["elsewhere"].items()}
        curve = tuple((step, score) for step, score in values["curve"])
        return cls(**{**values, "elsewhere": elsewhere, "curve": curve})


def finite(score: float) -> float | None:
    """A score for JSON, which knows no NaN."""
    return score if math.isfinite(score) else None


@dataclass
class MemoryReport:
    """The outcomes of a grid of layers, lengths and widths on one probe, in the order of the grid."""

    probe: Probe
    outcomes: list[Outcome] = field(default_factory=list)
    finished: bool = True

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in order."""
        return list(dict.fromkeys(outcome.layer for outcome in self.outcomes))

    def of(self, layer: str) -> list[Outcome]:
        """The outcomes of one layer."""
        return [outcome for outcome in self.outcomes if outcome.layer == layer]

    def words(self, outcome: Outcome) -> str:
        """How a network did, such as ``not solved: accuracy 0.52, chance 0.50``."""
        if outcome.ending == "refused":
            return f"refused: {outcome.note}"
        measured = "" if outcome.score is None else f": {self.probe.measure} {outcome.score:.4g}"
        chance = f", chance {self.probe.chance:.3g}" if outcome.ending == "not solved" else ""
        return f"{outcome.ending}{measured}{chance}" + (f" ({outcome.note})" if outcome.note else "")

    def title(self) -> str:
        """What was asked, in one line."""
        goal = f"at least {self.probe.solved:g}" if self.probe.classes else f"under {self.probe.solved:g}"
        return f"{self.probe}: {self.probe.measure}, chance {self.probe.chance:.3g}, solved {goal}"

    def table(self) -> Table:
        """The outcomes for people."""
        lengths = sorted({length for outcome in self.outcomes for length in outcome.elsewhere})
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("layer", no_wrap=True)
        numbers = ["length", "width", "parameters", "steps", "seconds", "score"]
        for name in (*numbers, *(f"at {length}" for length in lengths)):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("result", no_wrap=True)
        for outcome in self.outcomes:
            table.add_row(*self._row(outcome, lengths))
        return table

    def _row(self, outcome: Outcome, lengths: Sequence[int]) -> list[str]:
        numbers = [f"{value:,}" for value in (outcome.length, outcome.width, outcome.parameters, outcome.steps)]
        scores = [outcome.score, *(outcome.elsewhere.get(length) for length in lengths)]
        style = ".3f" if self.probe.classes else ".2g"
        shown = ["" if score is None else format(score, style) for score in scores]
        return [outcome.layer, *numbers, f"{outcome.seconds:,.0f}", *shown, outcome.ending]

    def notes(self) -> list[str]:
        """What a reader should know beside the numbers: why a layer was refused, where it diverged."""
        return [f"{outcome.where}: {outcome.note}" for outcome in self.outcomes if outcome.note]
