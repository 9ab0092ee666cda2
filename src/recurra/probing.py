"""The command ``recurra diagnose memory``: how much layers remember, as a table and pictures."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra import config
from recurra.diagnose.memory import MemoryReport, MemoryTest, measure_memory, probe_from
from recurra.diagnose.memory_pictures import draw_generalisation, draw_heat_map, draw_learning
from recurra.diagnose.practice import Practice
from recurra.diagnose.probes import PROBES
from recurra.errors import ConfigError
from recurra.layers import LAYERS
from recurra.screen import print_whole

__all__ = ["memory"]


def memory(
    layer: Annotated[str, typer.Option(help="Layers, such as gru,lstm; a+b: one above the other; all: every one.")],
    probe: Annotated[str, typer.Option(help=f"What to ask: {', '.join(PROBES)}.")],
    out: Annotated[Path, typer.Option(help="The folder for results and pictures.")],
    length: Annotated[str, typer.Option(help="Time steps to practise, such as 64,128.")] = "64",
    width: Annotated[str | None, typer.Option(help="Units, such as 32,64; 64 if not given.")] = None,
    parameters: Annotated[str | None, typer.Option(help="Instead of units: parameters of the network.")] = None,
    test_length: Annotated[str, typer.Option(help="Further lengths to test on, such as 256,1024.")] = "",
    steps: Annotated[int | None, typer.Option(help="Optimizer steps at most.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes at most for each network.", min=0)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights and of the data.", min=0, max=2**32)] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a key: probe.pairs=64, practice.learning_rate=0.01.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what --out already has, and go on.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how much layers remember: they practise a probe at every length and width, and are then tested."""
    if width is not None and parameters is not None:
        raise ConfigError("--width and --parameters both say how large a layer is; give one of them")
    short = {"steps": steps, "minutes": minutes, "seed": seed}
    tables = _tables(settings or [], {name: value for name, value in short.items() if value is not None})
    test = MemoryTest(
        layers=tuple(LAYERS) if layer == "all" else _words("--layer", layer),
        probe=probe_from(probe, tables.get("probe")),
        lengths=_numbers("--length", length),
        widths=_numbers("--width", width if width is not None else "" if parameters else "64"),
        parameters=_numbers("--parameters", parameters or ""),
        elsewhere=_numbers("--test-length", test_length),
        practice=config.from_dict(Practice, tables.get("practice", {}), "practice"),
    )
    report = measure_memory(test, out, resume, quiet=quiet)
    _show(report, out, as_json)
    if not report.finished:
        again = shlex.join(["recurra", *sys.argv[1:], *([] if resume else ["--resume"])])
        print(f"stopped; finished networks are kept, go on with: {again}", file=sys.stderr)
        raise typer.Exit(130)


def _tables(settings: list[str], short: dict[str, Any]) -> dict[str, Any]:
    """The tables [probe] and [practice] as --set and the short options give them."""
    tables = config.merge(config.overrides(settings), {"practice": short})
    for name in tables:
        if name not in ("probe", "practice"):
            raise ConfigError(f"--set: unknown key {name!r}; expected probe.KEY=VALUE or practice.KEY=VALUE")
        if not isinstance(tables[name], dict):
            raise ConfigError(f"--set: expected {name}.KEY=VALUE, got {name}={tables[name]!r}")
    return tables


def _words(option: str, text: str) -> tuple[str, ...]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if len(set(words)) < len(words):
        raise ConfigError(f"{option}: expected each once, got {text!r}")
    return tuple(words)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(option, text))
    except ValueError as error:
        raise ConfigError(f"{option}: expected whole numbers such as 64,128, got {text!r}") from error


def _show(report: MemoryReport, out: Path, as_json: bool) -> None:
    """Print the outcomes and draw the pictures."""
    if as_json:
        print(json.dumps([outcome.to_dict() for outcome in report.outcomes], ensure_ascii=False))
    elif report.outcomes:
        print(report.title())
        print_whole(report.table())
        for note in report.notes():
            print(note)
    if not report.outcomes:
        return
    draw_heat_map(report, out / "heat-map.png")
    draw_learning(report, out / "learning.png")
    if any(outcome.elsewhere for outcome in report.outcomes):
        draw_generalisation(report, out / "generalisation.png")
    if not as_json:
        print(f"pictures and results are in {out}")
