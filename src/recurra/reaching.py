"""The command ``recurra diagnose history``: how far back a trained forecaster looks."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from recurra.errors import ConfigError, RunError
from recurra.runs import load
from recurra.screen import print_whole
from recurra.tasks import Forecast
from recurra.tasks.forecast_reach import Reach, draw_reach

__all__ = ["history"]

BATCHES = 20


def history(
    run: Annotated[Path, typer.Argument(help="A run folder, made by train forecast.", metavar="RUN")],
    part: Annotated[str, typer.Option(help="Which held-out part: valid or test.")] = "valid",
    out: Annotated[Path | None, typer.Option(help="Draw a picture into this .png.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """See how far back a forecaster looks: its forecasts when it is shown the newest steps only."""
    if out is not None and out.suffix.lower() != ".png":
        raise ConfigError(f"--out: expected a file that ends in .png, got {out}")
    if out is not None and out.exists() and not overwrite:
        raise RunError(f"{out} exists; choose another file, or replace it with --overwrite")
    task = load(run)
    if not isinstance(task, Forecast):
        raise ConfigError(f"diagnose history needs a forecaster; {run} holds a {task.name}")
    reach = task.reach(part, BATCHES)
    if out is not None:
        draw_reach(reach, out, str(run))
    _say(reach, as_json)


def _say(reach: Reach, as_json: bool) -> None:
    if as_json:
        glimpses = [glimpse._asdict() for glimpse in reach.glimpses]
        print(json.dumps({"steps": reach.steps, "finding": str(reach), "shown": glimpses}))
        return
    table = Table("newest steps shown", "mean absolute error", "forecasts move by", box=None, pad_edge=False)
    for glimpse in reach.glimpses:
        table.add_row(f"{glimpse.steps:,}", f"{glimpse.error:.4f}", f"{glimpse.moved:.4f}")
    print_whole(table)
    print(f"\n{reach}")
