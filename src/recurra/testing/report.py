"""The report of an examination: one line a law."""

from dataclasses import dataclass

from recurra.testing.law import Law

__all__ = ["Outcome", "Report"]


@dataclass(frozen=True)
class Outcome:
    """What became of one law: kept, if neither ``broken`` nor ``skipped`` says why not."""

    law: Law
    largest: float  # the largest difference that was seen and tolerated
    seconds: float
    skipped: str = ""
    broken: str = ""
    cause: Exception | None = None

    def __str__(self) -> str:
        if self.broken:
            return f"BROKEN    {self.law.name:<20} {self.law.promise}\n{'':10}{self.broken}"
        if self.skipped:
            return f"-         {self.law.name:<20} does not apply: {self.skipped}"
        return f"{self.largest:<9.1e} {self.law.name:<20} {self.law.promise}"


@dataclass(frozen=True)
class Report:
    """All outcomes of one layer; printed, a table with the largest difference seen before each law kept."""

    layer: str
    outcomes: tuple[Outcome, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the laws that the layer breaks."""
        return tuple(outcome.law.name for outcome in self.outcomes if outcome.broken)

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the laws that the layer was seen to keep."""
        return tuple(o.law.name for o in self.outcomes if not o.broken and not o.skipped)

    @property
    def seconds(self) -> float:
        """How long the examination took."""
        return sum(outcome.seconds for outcome in self.outcomes)

    def __str__(self) -> str:
        skipped = len(self.outcomes) - len(self.kept) - len(self.broken)
        counts = f"{len(self.kept)} laws kept, {len(self.broken)} broken, {skipped} not applicable"
        head = f"{self.layer}: {counts}, {self.seconds:.2f} s"
        return "\n".join([head, f"{'largest':<9} {'law':<20} promise", *map(str, self.outcomes)])

    def complaint(self) -> str:
        """The text of the error for the first broken law, with the names of the others."""
        first = next(outcome for outcome in self.outcomes if outcome.broken)
        others = [name for name in self.broken if name != first.law.name]
        lines = [
            f"{self.layer} breaks the law {first.law.name!r}: {first.law.promise}.",
            f"  found    {first.broken}",
            f"  usually  {first.law.usually}",
            *([f"  it also breaks: {', '.join(others)}"] if others else []),
        ]
        return "\n".join(lines)
