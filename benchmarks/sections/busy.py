"""Training while other processes keep every core busy."""

from collections.abc import Callable

from benchmarks.agreement import Disagreement
from benchmarks.neighbours import Neighbours
from benchmarks.race import check, shape_of
from benchmarks.results import Row, Section, Table, Value, most
from benchmarks.sections.training import sides_of
from benchmarks.timing import Effort, Times, compare

__all__ = ["run"]

GRID = [("GRU", (1000, 1, 64)), ("LSTM", (100, 32, 128)), ("LSTM", (100, 32, 256))]  # T, B, H

ABOUT = """
The training step as above, with one process that only counts, on each core; it is stopped for every other turn,
so busy and quiet turns alternate. Who has half of a core cannot do better than 2.
"""


def run(effort: Effort, say: Callable[[str], None]) -> Section:
    """One table."""
    with Neighbours() as neighbours:
        rows = [_row(kind, effort.shapes(shape)[0], neighbours, effort, say) for kind, shape in GRID]
    return Section("busy", "A busy neighbour", ABOUT, [Table("", rows)])


def _row(
    kind: str,
    shape: tuple[int, int, int],
    neighbours: Neighbours,
    effort: Effort,
    say: Callable[[str], None],
) -> Row:
    say(f"busy: {kind} {shape_of(*shape)}")
    sides = sides_of(kind, shape)
    try:
        error, note = check(sides, [("recurra", "torch.nn")])
    except Disagreement as disagreement:
        return Row(kind, shape_of(*shape), note=f"not timed: {disagreement}")
    turns = {f"{name} {state}": side for name, side in sides.items() for state in ("quiet", "busy")}
    times = compare(turns, effort, lambda name: neighbours.work(name.endswith("busy")))
    return Row(kind, shape_of(*shape), _values(times, list(turns)), "", error, note)


def _values(times: Times, turns: list[str]) -> dict[str, Value]:
    return {
        **{f"{turn} ms": times.time(turn) for turn in turns},
        "recurra busy / quiet": times.ratio("recurra busy", "recurra quiet", most(3)),
        "torch.nn busy / quiet": times.ratio("torch.nn busy", "torch.nn quiet"),
        "torch.nn / recurra, busy": times.ratio("torch.nn busy", "recurra busy"),
    }
