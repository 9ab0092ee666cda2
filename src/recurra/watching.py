"""The command `recurra watch`: what is being done, live, from a camera or from a film."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from recurra.data.video import read_frames
from recurra.errors import ConfigError
from recurra.runs import load
from recurra.tasks import ActionRecognizer
from recurra.tasks.actions_stream import Current

__all__ = ["watch"]


def watch(
    run: Annotated[Path, typer.Argument(help="A run folder, made by train actions.", metavar="RUN")],
    film: Annotated[str, typer.Argument(help="A video, a folder of images, or camera:0.", metavar="FILM")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one value a frame.")] = False,
) -> None:
    """Say what is being done, in a new line whenever it changes; Ctrl-C ends a camera, which never ends itself."""
    task = load(run)
    if not isinstance(task, ActionRecognizer) or task.config.data.input != "films":
        raise ConfigError(f"watch needs a recognizer of actions that reads films; {run} holds another {task.name}")
    frames, begin, before = 0, time.perf_counter(), ""
    try:
        for current in _seen(task, film):
            frames += 1
            if as_json:
                print(json.dumps(current._asdict(), ensure_ascii=False), flush=True)
            elif current.label != before:
                print(f"{current.seconds:8.2f}  {current.label}  {current.probability:.2f}", flush=True)
            before = current.label
    except KeyboardInterrupt:
        print(file=sys.stderr)
    seconds = time.perf_counter() - begin
    print(f"{frames} frames in {seconds:.1f} s, {frames / max(seconds, 1e-9):.0f} a second", file=sys.stderr)


def _seen(task: ActionRecognizer, film: str) -> Iterator[Current]:
    """What is being done after each frame; each answer is there before the next frame is decoded."""
    stream, view = task.stream(), task.config.view
    rows, columns = view.size
    for frame in read_frames(film, view.rate, (rows, columns), view.colours):
        yield stream.push(frame)
        stream.seen.clear()
