"""The commands ``recurra diagnose ...``: what a network's gradients and memory do, measured."""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from recurra import probing, reaching, runs, tree
from recurra.config import suggest
from recurra.diagnose.advice import advise
from recurra.diagnose.gradient_pictures import draw
from recurra.diagnose.gradient_table import table
from recurra.diagnose.gradients import compare, gradients_of
from recurra.diagnose.measured import Gradients
from recurra.errors import ConfigError, RunError
from recurra.layers import LAYERS
from recurra.screen import print_whole

__all__ = ["app"]

app = typer.Typer(help="Measure what gradients and memory do in a network.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)

PARTS = ("train", "valid", "test")


@app.callback()
def group() -> None:
    """Measure what gradients and memory do in a network."""


@app.command()
def gradients(
    run: Annotated[Path | None, typer.Argument(help="A run folder, made by train.", metavar="[RUN]")] = None,
    part: Annotated[
        str | None, typer.Option(help=f"First batch of which part of its data: {', '.join(PARTS)}.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Or untrained layers by name: rnn,lstm,gru.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Units of untrained layers; 64.", min=1)] = None,
    steps: Annotated[int | None, typer.Option(help="Time steps of random input; 200.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of untrained weights and random input.", min=0, max=2**32)] = 0,
    out: Annotated[Path | None, typer.Option(help="Draw a picture into this .png.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """See how far gradients reach back in time: of a trained run, or of untrained layers side by side."""
    _check(run, part, layer, hidden, steps)
    _check_picture(out, overwrite)
    if run is not None:
        found = {"": _of_run(run, part or "valid")}
    else:
        found = _of_layers(layer or "", hidden or 64, steps or 200, seed)
    if out is not None:
        draw(found, out, str(run) if run is not None else "")
    _say(found, as_json)


def _check(run: Path | None, part: str | None, layer: str | None, hidden: int | None, steps: int | None) -> None:
    if (run is None) == (layer is None):
        raise ConfigError("diagnose gradients: expected a run folder, or untrained layers by --layer rnn,lstm")
    if run is not None and (hidden is not None or steps is not None):
        raise ConfigError("--hidden and --steps are for untrained layers; a run has its own")
    if run is None and part is not None:
        raise ConfigError("--part is for a run; untrained layers read random numbers")
    if part is not None and part not in PARTS:
        raise ConfigError(f"--part: expected one of {', '.join(PARTS)}, got {part!r}")


def _check_picture(out: Path | None, overwrite: bool) -> None:
    """Better before a long measurement than after it."""
    if out is None:
        return
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out: expected a file that ends in .png, got {out}")
    if out.exists() and not overwrite:
        raise RunError(f"{out} exists; choose another file, or replace it with --overwrite")


def _of_run(path: Path, part: str) -> Gradients:
    """The trained network of a run on the first batch of a part of its data."""
    task = runs.load(path)
    network, batches = task.ready(), getattr(task.data(), part).epoch(0)
    if not len(batches):
        raise ConfigError(f"the {part} part of {path} has no batches; take another --part")

    def loss(twin: nn.Module) -> Tensor:
        total, count, _ = task.loss(twin, _widened(batches[0]), None)
        return total / max(1, count)

    return gradients_of(network, loss, loss=f"the loss of the first {part} batch")


def _widened(batch: Any) -> Any:
    """Real numbers of a batch in float64, as the measured copy of the network is."""
    return tree.map(lambda leaf: leaf.double() if leaf.is_floating_point() else leaf, batch)


INPUTS = 8


def _of_layers(names: str, hidden: int, steps: int, seed: int) -> dict[str, Gradients]:
    """Untrained layers on the same input: four rows of eight numbers a step, of mean 0 and variance 1."""
    layers = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in LAYERS:
            raise ConfigError(f"--layer: unknown layer {name!r}{suggest(name, list(LAYERS))}")
        torch.manual_seed(seed)
        make: Any = LAYERS[name]
        layers[name] = make(INPUTS, hidden)
    generator = torch.Generator().manual_seed(seed)
    return compare(layers, torch.randn(4, steps, INPUTS, generator=generator))


def _say(found: dict[str, Gradients], as_json: bool) -> None:
    findings = advise(found)
    if as_json:
        networks = {name: result.to_dict() for name, result in found.items()}
        told = [{"layer": f.layer, "what": f.what, "text": f.text, "advice": f.advice} for f in findings]
        print(json.dumps({"networks": networks, "findings": told}, ensure_ascii=False, allow_nan=False))
        return
    print_whole(table(found))
    for finding in findings:
        console.print(f"\n{finding}", markup=False)


app.command()(probing.memory)
app.command()(reaching.history)
