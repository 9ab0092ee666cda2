"""The command `recurra listen`: what is being said, live, from a microphone or from a file played in real time."""

import json
import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from recurra.data.audio import read_sound
from recurra.errors import ConfigError, DataError
from recurra.runs import load
from recurra.tasks import SpeechRecognizer
from recurra.tasks.speech_listener import Said
from recurra.tasks.speech_stream import SpeechStream

__all__ = ["listen"]


def listen(
    run: Annotated[Path, typer.Argument(help="A run folder, made by train speech.", metavar="RUN")],
    from_file: Annotated[
        Path | None, typer.Option("--from-file", help="Play this file in real time, instead of a microphone.")
    ] = None,
    device: Annotated[str, typer.Option(help="A microphone by number or part of its name; empty: the usual.")] = "",
    block: Annotated[int, typer.Option(help="Milliseconds of sound that are heard at a time.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")] = False,
    memory: Annotated[
        Path | None, typer.Option(help="Go on from this saved memory; write it back when Ctrl-C ends listening.")
    ] = None,
) -> None:
    """Write what is being said: on the last line as it is heard, above it when a silence has made it final."""
    task = load(run)
    if not isinstance(task, SpeechRecognizer):
        raise ConfigError(f"listen needs a speech recognizer; {run} holds a {task.name}")
    stream = task.stream()
    if memory is not None and memory.exists():
        stream.load(memory)
    size = max(1, stream.rate * block // 1000)
    blocks = _file(from_file, stream.rate, size) if from_file else _microphone(device, stream.rate, size)
    stopped = _hear(stream, blocks, _Screen(as_json))
    if stopped and memory is not None:
        stream.save(memory)
    print(f"{stream.latency}, in blocks of {block} ms", file=sys.stderr)


def _hear(stream: SpeechStream, blocks: Iterator[Tensor], screen: "_Screen") -> bool:
    """Tell what is said until the sound ends, or Ctrl-C stops it (true)."""
    try:
        for samples in blocks:
            screen.tell(stream.push(samples))
    except KeyboardInterrupt:
        state = stream.state
        screen.tell(stream.finish())
        stream.state = state
        return True
    screen.tell(stream.finish())
    return False


class _Screen:
    """Final lines on standard output; what is being said below them on standard error, if that is a terminal."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.live = as_json, sys.stderr.isatty() and not as_json
        self.width = 0

    def tell(self, news: list[Said]) -> None:
        """Show what was heard."""
        for said in news:
            if self.as_json:
                print(json.dumps(_plain(said), ensure_ascii=False), flush=True)
            elif said.final:
                self._below("")
                print(_line(said), flush=True)
            else:
                self._below(said.text)

    def _below(self, text: str) -> None:
        if self.live:
            shown = text[-100:]
            print(f"\r\033[2m{shown}\033[0m\033[K" if shown else "\r\033[K", end="", file=sys.stderr, flush=True)


def _plain(said: Said) -> dict[str, Any]:
    values = {"final": said.final, "text": said.text, "begin": said.begin, "end": said.end}
    values["words"] = [word._asdict() for word in said.words]
    return values | ({"languages": said.languages} if said.languages else {})


def _line(said: Said) -> str:
    """A final utterance for people: when its first word began, the language if known, the words."""
    language = max(said.languages, key=lambda name: said.languages[name], default="")
    return "  ".join(filter(None, [f"{said.words[0].begin:7.2f}", language, said.text]))


def _file(path: Path, rate: int, size: int) -> Iterator[Tensor]:
    """The blocks of a file, each when its last sample would have been heard."""
    sound, begin, heard = read_sound(path, rate), time.perf_counter(), 0
    for samples in sound.samples.split(size):
        heard += len(samples)
        time.sleep(max(0.0, begin + heard / rate - time.perf_counter()))
        yield samples


def _microphone(device: str, rate: int, size: int) -> Iterator[Tensor]:
    """The blocks of a microphone, for ever. Raises ConfigError if there is none, DataError if blocks are lost."""
    library, blocks = _sounddevice(), queue.Queue[tuple[Tensor, bool]]()

    def arrived(data: Any, frames: int, when: Any, status: Any) -> None:
        blocks.put((torch.frombuffer(bytearray(data), dtype=torch.int16), bool(status.input_overflow)))

    chosen = int(device) if device.isdecimal() else device or None
    try:
        microphone = library.RawInputStream(
            samplerate=rate, blocksize=size, device=chosen, channels=1, dtype="int16", callback=arrived
        )
    except (library.PortAudioError, ValueError) as error:
        raise ConfigError(
            f"cannot open a microphone at {rate} samples a second: {error}; choose another one with --device "
            "(python -m sounddevice lists them), or play a file with --from-file"
        ) from error
    with microphone:
        print("listening; Ctrl-C stops", file=sys.stderr)
        while True:
            samples, lost = blocks.get()
            if lost:
                raise DataError("sound was lost: this machine is slower than the microphone; try a larger --block")
            yield samples


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise ConfigError(
            "a microphone needs the library sounddevice; install it with: pip install 'recurra[speech]', or play a "
            "file with --from-file"
        ) from error
    except OSError as error:  # the library is there, PortAudio is not
        raise ConfigError(
            f"a microphone needs PortAudio ({error}); install it, on Debian with: apt install libportaudio2, or "
            "play a file with --from-file"
        ) from error
    return sounddevice
