"""Memory, measured: layers practise a probe over a grid of lengths and widths; results are kept cell by cell."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recurra import files
from recurra.config import from_dict, key, suggest
from recurra.diagnose.memory_progress import MemoryProgress
from recurra.diagnose.memory_report import MemoryReport, Outcome, finite
from recurra.diagnose.practice import Course, Practice, examine, practise, to_device
from recurra.diagnose.probe_network import Factory, ProbeNetwork, count_parameters, factory, width_for
from recurra.diagnose.probes import PROBES, Probe
from recurra.diagnose.probes.base import generator, whole_number
from recurra.errors import ConfigError, DataError, RecurraError, RunError

__all__ = ["MemoryReport", "MemoryTest", "Outcome", "measure_memory", "probe_from", "width_for"]

RESULTS = "results.json"


@dataclass(frozen=True)
class MemoryTest:
    """What to measure: every layer, at every length and width, on one probe.

    layers       names of LAYERS, ``"a+b"`` for one above the other, or names given to `measure_memory`
    parameters   instead of widths: each layer gets the width with which its network has about so many parameters
    elsewhere    further lengths to test each trained network on: does it go on beyond what it practised?
    """

    layers: tuple[str, ...]
    probe: Probe
    lengths: tuple[int, ...] = (64,)
    widths: tuple[int, ...] = (64,)
    parameters: tuple[int, ...] = ()
    elsewhere: tuple[int, ...] = ()
    practice: Practice = key(Practice(), "how each network learns")

    def __post_init__(self) -> None:
        for name in ("layers", "lengths"):
            if not getattr(self, name):
                raise ConfigError(f"memory: expected at least one of {name}, got none")
        if not self.widths and not self.parameters:
            raise ConfigError("memory: expected widths or parameters, got neither")
        for width in (*self.widths, *self.parameters):
            whole_number("memory: width or parameters", width, 1)
        start = self.practice.curriculum
        for length in (*self.lengths, *self.elsewhere, *([start] if start else [])):
            self.probe.check_length(length)

    def describe(self) -> dict[str, Any]:
        """What must be the same for results to stand side by side, as plain values for JSON."""
        probe = {"name": self.probe.name, **dataclasses.asdict(self.probe)}  # type: ignore[call-overload]
        practice = dataclasses.asdict(self.practice)
        return {"probe": probe, "practice": practice, "elsewhere": list(self.elsewhere)}

    def cells(self, layers: Mapping[str, Factory] | None = None) -> Iterator[tuple[str, int, int]]:
        """The grid: layer, length, width."""
        for name in self.layers:
            make = factory(name, layers)
            widths = [width_for(make, count, self.probe) for count in self.parameters] or self.widths
            yield from ((name, length, width) for length in self.lengths for width in dict.fromkeys(widths))


def probe_from(name: str, settings: Mapping[str, Any] | None = None) -> Probe:
    """The probe of a name in PROBES with settings such as ``{"pairs": 64}``."""
    if name not in PROBES:
        raise ConfigError(f"unknown probe {name!r}{suggest(name, list(PROBES))}")
    return from_dict(PROBES[name], dict(settings or {}), "probe")


def measure_memory(
    test: MemoryTest,
    out: str | Path | None = None,
    resume: bool = False,
    layers: Mapping[str, Factory] | None = None,
    quiet: bool = True,
) -> MemoryReport:
    """Train and test each cell of the grid. Ctrl-C stops: finished cells are in the report, and on disk.

    out      a folder for results.json, which is written anew, and at once, after each cell
    resume   keep the cells that results.json already has; refused if they were measured in another way
    layers   further layers by name, each a function from a width to a layer

    A layer that cannot be built at a size, or a training that diverges, is an outcome and not an error. The same
    seed gives every layer the same data, and a resumed grid the same numbers as one that never stopped.
    """
    grid = list(test.cells(layers))
    kept = _begin(test, Path(out) if out is not None else None, resume)
    report = MemoryReport(test.probe, [kept[cell] for cell in grid if cell in kept])
    with MemoryProgress(len(grid), quiet) as progress:
        for i, cell in enumerate(grid):
            if cell in kept:
                continue
            try:
                progress.begin(i, cell)
                kept[cell] = _measure(test, cell, factory(cell[0], layers), progress)
            except KeyboardInterrupt:
                report.finished = False
                break
            report.outcomes = [kept[cell] for cell in grid if cell in kept]
            progress.say(f"{kept[cell].where}: {report.words(kept[cell])}")
            if out is not None:
                _write(test, list(kept.values()), Path(out))
    return report


def _begin(test: MemoryTest, out: Path | None, resume: bool) -> dict[tuple[str, int, int], Outcome]:
    """The outcomes that are already there, by cell."""
    if out is None:
        return {}
    path = out / RESULTS
    if not path.exists():
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error
        return {}
    if not resume:
        raise RunError(f"{path} exists already; go on with it by --resume, or choose another --out")
    return _read(test, path)


def _read(test: MemoryTest, path: Path) -> dict[tuple[str, int, int], Outcome]:
    values = files.read_table(path)
    want = test.describe()
    wrong = [name for name in want if values.get(name) != want[name]]
    if wrong:
        raise RunError(
            f"{path} was measured with {wrong[0]} = {values.get(wrong[0])}, now it is {want[wrong[0]]}; "
            "use the same settings, or another --out"
        )
    try:
        outcomes = [Outcome.from_dict(outcome) for outcome in values["outcomes"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"cannot use {path}: its outcomes are broken ({error}); choose another --out") from error
    return {outcome.cell: outcome for outcome in outcomes}


def _write(test: MemoryTest, outcomes: list[Outcome], out: Path) -> None:
    files.write_json(out / RESULTS, {**test.describe(), "outcomes": [outcome.to_dict() for outcome in outcomes]})


def _measure(test: MemoryTest, cell: tuple[str, int, int], layer: Factory, progress: MemoryProgress) -> Outcome:
    """Build, train and test one network."""
    name, length, width = cell
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(test.practice.seed)
        try:
            network = ProbeNetwork(layer, width, test.probe)
            course = practise(network, test.probe, length, test.practice, progress.watch)
            return _outcome(test, cell, network, course)
        except DataError:  # of the probe, not of the layer
            raise
        except RecurraError as error:
            return Outcome(name, length, width, "refused", note=str(error))


def _outcome(test: MemoryTest, cell: tuple[str, int, int], network: ProbeNetwork, course: Course) -> Outcome:
    score, elsewhere, ending = None, {}, course.ending
    if ending != "diverged":
        score = finite(_test(test, network, cell[1]))
        elsewhere = {length: finite(_test(test, network, length)) for length in test.elsewhere}
        ending = "diverged" if score is None else "solved" if test.probe.is_solved(score) else "not solved"
    return Outcome(
        *cell,
        ending=ending,
        score=score,
        parameters=count_parameters(network),
        steps=course.steps,
        seconds=round(course.seconds, 1),
        note=course.note,
        elsewhere=elsewhere,
        curve=tuple((step, finite(value)) for step, value in course.curve),
    )


def _test(test: MemoryTest, network: ProbeNetwork, length: int) -> float:
    """The score on the test part, of which no number was read in training."""
    probe, practice = test.probe.part("test"), test.practice
    rows = min(practice.test_rows, probe.rows or practice.test_rows)
    batch = probe.batch(rows, length, generator(practice.seed, "test", length))
    return examine(network, probe, to_device(batch, practice.device))
