"""The command ``predict``: lines of standard input in, answers out, in order, as many at once as wait there."""

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from recurra.errors import DataError, RecurraError, RunError
from recurra.run.estimator import Estimator
from recurra.runs import load

__all__ = ["make_folder", "predict", "waiting"]

MOST = 1000  # lines answered at once: the first answers to a long file do not wait for its end
BLOCK = 1 << 20  # bytes read at once

Run = Annotated[Path, typer.Argument(help="A run folder, made by train.", metavar="RUN")]


def predict(
    run: Run,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")] = False,
    pictures: Annotated[Path | None, typer.Option(help="Draw each answer into this folder.")] = None,
    data: Annotated[str | None, typer.Option(help="Answer what this file asks, of tasks that read files.")] = None,
) -> None:
    """Answer each line of standard input with a line of standard output; empty lines stay empty."""
    task = load(run)
    if pictures is not None:
        make_folder(pictures)
    if task.heading() and not as_json:
        print(task.heading(), flush=True)
    for number, (raw, answer) in enumerate(_of_lines(task) if data is None else _of_file(task, data), 1):
        print(_json(answer) if as_json else _plain(task.shown(answer)), flush=True)
        if pictures is not None and answer is not None:
            for path in task.draw_answer(raw, pictures, f"{number:05d}"):
                print(path, file=sys.stderr)


def _of_file(task: Estimator, source: str) -> Iterator[tuple[Any, Any]]:
    """What a file asks, with the answers."""
    raws = task.questions(source)
    return zip(raws, task.predict_many(raws), strict=True)


def _of_lines(task: Estimator) -> Iterator[tuple[str, Any]]:
    """The lines of standard input with their answers."""
    number = 0
    for lines in waiting(sys.stdin.buffer):
        yield from zip(lines, _answers(task, lines, number), strict=True)
        number += len(lines)


def waiting(source: BinaryIO) -> Iterator[list[str]]:
    """Lines of a file or pipe without their ends, as many together as are there: nobody waits for a full batch.

    Raises DataError with the number of the first line that is not UTF-8.
    """
    begun, numbers = b"", count(1)
    while block := source.read1(BLOCK):  # type: ignore[attr-defined]  # readers of standard input have it
        *whole, begun = (begun + block).split(b"\n")
        lines = [_decode(line, next(numbers)) for line in whole]
        for first in range(0, len(lines), MOST):
            yield lines[first : first + MOST]
    if begun:
        yield [_decode(begun, next(numbers))]


def _decode(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise DataError(
            f"line {number} of the input is not UTF-8: byte 0x{line[error.start]:02x}; "
            "convert it with: iconv -f ENCODING -t UTF-8"
        ) from error


def _answers(task: Estimator, lines: list[str], before: int) -> Iterator[Any]:
    """An answer for each line, None for an empty one; a line that has none does not hide the answers before it."""
    asked = [line for line in lines if line.strip()]
    try:
        found = iter(task.predict_many(asked) if asked else [])
    except RecurraError:
        found = (task.predict(line) for line in asked)
    for number, line in enumerate(lines, before + 1):
        try:
            yield next(found) if line.strip() else None
        except RecurraError as error:
            raise type(error)(f"line {number} of the input: {error}") from error


def _json(answer: Any) -> str:
    if isinstance(answer, dict):
        answer = {name: value for name, value in answer.items() if name != "shown"}
    return json.dumps(answer, ensure_ascii=False)


def _plain(answer: Any) -> str:
    """An answer for people: what it says that should be shown, else the values of a dict side by side."""
    if isinstance(answer, dict):
        if "shown" in answer:
            return str(answer["shown"])
        return "\t".join(_plain(value) for name, value in answer.items() if name != "text")
    return f"{answer:.4f}" if isinstance(answer, float) else "" if answer is None else str(answer)


def make_folder(path: Path) -> None:
    """Make a folder for pictures. Raises RunError if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {path}: {error.strerror}; choose another one") from error
