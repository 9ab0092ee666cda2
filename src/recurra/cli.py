"""The command line. Every mistake of a user is one clear line and exit code 2; nothing is overwritten unasked."""

import json
import os
import shlex
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recurra import (
    __version__,
    answering,
    composing,
    demonstration,
    diagnose_commands,
    doctor,
    listening,
    reasons,
    recipe,
    watching,
)
from recurra.data import drawn, sources
from recurra.errors import ConfigError, DataWarning, PerformanceWarning, RecurraError
from recurra.heads.search import Sampling
from recurra.run.fit import Position
from recurra.run.folder import RunFolder
from recurra.runs import load
from recurra.tasks import TASKS, LanguageModel

app = typer.Typer(
    name="recurra",
    help="Recurrent neural networks: train, measure, run step by step.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data sets by name, from your package index.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(diagnose_commands.app, name="diagnose")
console = Console(highlight=False, soft_wrap=True)

Run = Annotated[Path, typer.Argument(help="A run folder, made by train.", metavar="RUN")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def language_model(path: Path) -> LanguageModel:
    """The trained language model in a run folder."""
    task = load(path)
    if not isinstance(task, LanguageModel):
        raise ConfigError(f"generate needs a language model; {path} holds a {task.name}")
    return task


@app.command()
def train(
    task: Annotated[str, typer.Argument(help=f"What to learn: {', '.join(TASKS)}.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    name: Annotated[str | None, typer.Option("--recipe", help="A recipe's name, or a .toml file.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Train on this: short for --set data.text=FILE, or data.path.")
    ] = None,
    video: Annotated[
        str | None, typer.Option(help="Train on this film: the same as --data, for tasks that read films.")
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change a key: model.hidden=64.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.", min=0, max=2**32)] = None,
    deterministic: Annotated[bool, typer.Option(help="The same bits every time, on one thread.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Say at the end where the time went.")] = False,
) -> None:
    """Train a network from a recipe into a run folder."""
    changes = list(settings or [])
    if data and video:
        raise ConfigError("--data and --video say the same; leave one out")
    changes += [f"{recipe.task_named(task).source}={json.dumps(data or video)}"] if data or video else []
    changes += [f"fit.seed={seed}"] if seed is not None else []
    changes += ["fit.deterministic=true"] if deterministic else []
    plan = _resumed(task, out, name, changes) if resume else _planned(task, name, changes)
    estimator = plan.task(plan.config)
    position = estimator.fit(out, plan.fit, resume=resume, overwrite=overwrite, quiet=quiet)
    if int(os.environ.get("RANK", "0")):
        return
    if profile:
        print(_shares(position), file=sys.stderr)
    if not position.finished:
        again = shlex.join(["recurra", "train", task, "--out", str(out), "--resume"])
        print(f"stopped at step {position.step}, everything is saved; go on with: {again}", file=sys.stderr)
        raise typer.Exit(130)
    print(f"trained to step {position.step}; best {position.best:.4f} at step {position.best_step}; see {out}")


def _shares(position: Position) -> str:
    """Where the time of a training went."""
    steps = max(1e-9, position.seconds - position.validating)
    return (
        f"{steps:.1f} s of training steps, of these {position.loading:.2f} s waiting for batches "
        f"({position.loading / steps:.1%}); {position.validating:.1f} s of validation"
    )


def _planned(task: str, name: str | None, changes: list[str]) -> recipe.Recipe:
    return recipe.read(task, recipe.find(task, name) if name else None, changes)


def _resumed(task: str, out: Path, name: str | None, changes: list[str]) -> recipe.Recipe:
    if name:
        raise ConfigError("--resume goes on with the run's own recipe; leave out --recipe")
    wrong = [change for change in changes if not change.startswith("fit.")]
    if wrong:
        raise ConfigError(f"--resume keeps data and model as they were; only fit.* can change, not {wrong[0]}")
    folder = RunFolder(out)
    folder.require()
    return recipe.read(task, folder.recipe, changes)


@app.command()
def evaluate(
    run: Run,
    part: Annotated[str, typer.Option(help="Which held-out part: valid or test.")] = "test",
    data: Annotated[str | None, typer.Option(help="Measure on this file instead.")] = None,
    as_json: Json = False,
    pictures: Annotated[Path | None, typer.Option(help="Draw what was measured into this folder.")] = None,
) -> None:
    """Measure a trained network on data that it has not seen."""
    task = load(run)
    measured = task.evaluate(part, data)
    if as_json:
        print(json.dumps(measured))
    else:
        print("\n".join(task.lines(measured)))
    if pictures is not None:
        answering.make_folder(pictures)
        for path in task.draw_measured(task.held_out(part, data), pictures):
            print(path, file=sys.stderr)


app.command()(answering.predict)
app.command()(reasons.why)


@app.command()
def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "",
    length: Annotated[int, typer.Option(help="Tokens to write.", min=1)] = 500,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest; 1: as learned.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw from the k likeliest tokens; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest with this share of probability.")] = 1.0,
    beam: Annotated[int, typer.Option(help="Find the likeliest text with so many hypotheses.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Another seed, another text.", min=0, max=2**32)] = 0,
    memory: Annotated[Path | None, typer.Option(help="Go on from this saved memory; write it back after.")] = None,
) -> None:
    """Write text with a trained language model, token by token."""
    if beam and memory is not None:
        raise ConfigError("--beam searches and --memory streams: they do not go together, leave one out")
    model, sampling = language_model(run), Sampling(temperature, top_k, top_p)
    if beam:
        print(prompt + model.generate(prompt, length, sampling, seed, beam))
        return
    stream = model.stream(prompt, sampling, seed)
    if memory is not None and memory.exists():
        stream.load(memory)
        stream.push(prompt)
    print(prompt, end="", flush=True)
    for piece in stream.take(length):
        print(piece, end="", flush=True)
    print()
    if memory is not None:
        stream.save(memory)


app.command()(composing.compose)
app.command()(listening.listen)
app.command()(watching.watch)


@app.command()
def explain(run: Run) -> None:
    """Say which kernel runs for each layer of a trained network, and why others do not."""
    print(load(run).explain())


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """The data sets that can be fetched by name."""
    rows = sources.listing()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
        return
    table = Table("name", "what", "package", "here", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        size = f"{row.size / 1e6:.1f} MB"
        table.add_row(row.name, f"{row.summary} [dim]({row.licence})[/dim]", size, "yes" if row.present else "")
    console.print(table)


@data_app.command("get")
def data_get(name: Annotated[str, typer.Argument(help="Its name in the list.")]) -> None:
    """Fetch a data set, check it and unpack it to the cache folder."""
    print(sources.get(name))


@data_app.command("draw")
def data_draw(
    name: Annotated[str, typer.Argument(help=f"What to draw: {', '.join(drawn.DRAWN)}.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    seed: Annotated[int, typer.Option(help="Another seed, another data set.", min=0, max=2**31)] = 0,
) -> None:
    """Draw a data set that is made by this program, with a seed of your own."""
    print(drawn.draw(name, out, seed))


@app.command("doctor")
def examine() -> None:
    """Look at this machine: what is there, what is missing, what to do about it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in doctor.examine():
        mark = "[green]ok[/green]" if finding.fine else "[yellow]note[/yellow]"
        table.add_row(
            mark, finding.what, finding.found + (f" [dim]{finding.advice}[/dim]" if finding.advice else "")
        )
    console.print(table)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The run folder to make.")] = Path("runs/demo"),
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 2.0,
) -> None:
    """Train a character model on Shakespeare's plays for two minutes and read what it writes."""
    if not demonstration.run(out, minutes):
        raise typer.Exit(130)


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Recurrent neural networks: train, measure, run step by step."""
    if version:
        print(__version__)
        raise typer.Exit


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    kind = "warning" if issubclass(category, DataWarning | PerformanceWarning) else category.__name__
    print(f"recurra: {kind}: {message}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors that people can mend are one line and exit code 2, warnings are one line."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = app(args=arguments, standalone_mode=False)
    except typer.TyperException as error:  # an option or command that does not exist, a value of the wrong type
        print(f"recurra: {error.format_message()}", file=sys.stderr)
        code = 2
    except RecurraError as error:
        print(f"recurra: {error}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
