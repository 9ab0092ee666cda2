"""The command `recurra compose`: a trained model of music writes a piece, as a MIDI file and a picture."""

from pathlib import Path
from typing import Annotated

import typer
from torch import Tensor

from recurra.data.midi import read_midi, write_midi
from recurra.data.rolls import PARTS, read_rolls
from recurra.errors import ConfigError, RunError
from recurra.tasks import MusicModel
from recurra.tasks.piano_roll import draw_piano_roll

__all__ = ["compose"]


def compose(
    run: Annotated[Path, typer.Argument(help="A run folder, made by train music.", metavar="RUN")],
    out: Annotated[Path, typer.Option(help="The file to write; its picture gets the ending .png.")] = Path(
        "music.mid"
    ),
    length: Annotated[int, typer.Option(help="Frames of the piece, with those given.", min=1)] = 64,
    prompt: Annotated[
        str, typer.Option(help="Go on from this: a MIDI file, or test:3 for a piece of the data.")
    ] = "",
    given: Annotated[int, typer.Option(help="So many frames of the prompt are given.", min=1)] = 16,
    temperature: Annotated[float, typer.Option(help="0: always the likelier; 1: as learned.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed, another piece.", min=0, max=2**32)] = 0,
    tempo: Annotated[float, typer.Option(help="Beats a minute.", min=4, max=1000)] = 80.0,
    transpose: Annotated[int, typer.Option(help="Semitones that the written notes are moved by.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
) -> None:
    """Compose a piece with a trained model of music: a MIDI file and a picture of it."""
    picture = _places(out, overwrite)
    model = MusicModel.load(run)
    begin = _prompt(model, prompt)[:given] if prompt else None
    roll = model.compose(length, begin, temperature, seed)
    step, begun = model.config.data.step, 0 if begin is None else len(begin)
    if not roll.any():
        raise RunError(f"the model composed {length} frames of silence; train it longer, or give a prompt")
    write_midi(roll, out, step, tempo, transpose)
    draw_piano_roll(roll, picture, f"{run.name}, temperature {temperature:g}, seed {seed}", begun, step, transpose)
    print(f"{len(roll)} frames, {begun} of them given: {out} and {picture}")


def _places(out: Path, overwrite: bool) -> Path:
    """Where the picture goes; an error if something may not be replaced or written."""
    if out.suffix.lower() not in (".mid", ".midi"):
        raise ConfigError(f"--out: expected a file that ends in .mid, got {out}")
    if not out.parent.is_dir():
        raise ConfigError(f"--out: expected a file in a folder that exists, got {out}")
    picture = out.with_suffix(".png")
    found = [path for path in (out, picture) if path.exists()]
    if found and not overwrite:
        raise ConfigError(f"{found[0]} exists; choose another --out, or replace it with --overwrite")
    return picture


def _prompt(model: MusicModel, source: str) -> Tensor:
    """The roll of a MIDI file, or of ``part:number`` in the data that the model was trained on."""
    part, colon, number = source.partition(":")
    if part not in PARTS or not colon:
        return read_midi(source, model.config.data.step)
    data = model.config.data
    pieces = read_rolls(data.path, data.step, data.split)[PARTS.index(part)]
    if not number.isdecimal() or int(number) >= len(pieces):
        raise ConfigError(f"--prompt: expected {part}:0 to {part}:{len(pieces) - 1}, got {source}")
    return pieces[int(number)]
