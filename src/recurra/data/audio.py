"""Sound files in and out: WAV, FLAC, OGG and MP3 by libsndfile, other rates by soxr: the extra ``speech``."""

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import files
from recurra.data.mp3 import count_samples
from recurra.errors import ConfigError, DataError, DataWarning

__all__ = ["SUFFIXES", "Sound", "complaints", "read_sound", "resample", "write_sound"]

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
SILENCE = 1e-3  # the largest sample of a sound that nobody hears: 60 decibels below full scale
FULL = 0.999  # of full scale: samples that a converter may have cut off
CLIPPED = 0.001  # share of such samples from which on speech sounds harsh
SLACK = 0.05  # seconds by which a file may be shorter than was said of it, as lengths are rounded
HEADROOM = 4 * 1152  # samples by which an MP3 file is longer than its sound: the table, and what coders add
UNKNOWN = 0x7FFF0000  # bytes: a larger length in a header was not known when the header was written


class Sound(NamedTuple):
    """One channel of sound.

    samples  (N,) float32, -1 to 1
    rate     samples per second
    """

    samples: Tensor
    rate: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate


def read_sound(path: str | Path, rate: int | None = None, start: float = 0.0, duration: float = 0.0) -> Sound:
    """Read a file, or the ``duration`` seconds from ``start`` on; 0: up to the end. With ``rate``, resampled to it.

    Several channels are mixed down to their mean, with a DataWarning. Raises DataError for a file that is missing,
    broken off, without a sample or no sound at all, that holds NaN or infinity, or ends before the wanted part.
    """
    path, library = Path(path), _library("soundfile")
    if not path.is_file():
        raise DataError(f"cannot read the sound {path}: {'it is no file' if path.exists() else 'no such file'}")
    _check_whole(path)
    try:
        with library.SoundFile(str(path)) as file:
            first, count = _part(file, path, start, duration)
            file.seek(first)
            samples, own = torch.from_numpy(file.read(count, dtype="float32", always_2d=True)), file.samplerate
    except (library.LibsndfileError, RuntimeError) as error:
        problem = f"cannot read the sound {path}: {_reason(error)}"
        raise DataError(f"{problem}; expected a whole WAV, FLAC, OGG or MP3 file") from error
    if len(samples) != count:
        raise DataError(f"{path} is broken off: expected {count} samples, got {len(samples)}; copy it again")
    if not samples.isfinite().all():
        raise DataError(f"{path} holds samples that are NaN or infinite; export it again")
    sound = Sound(_mixed(samples), own)
    return sound if rate is None else resample(sound, rate)


def _part(file: Any, path: Path, start: float, duration: float) -> tuple[int, int]:
    """The first sample of the wanted part and how many there are of it."""
    total = file.frames
    if not total:
        raise DataError(f"{path} holds no sound: 0 samples")
    if file.format in ("MP3", "MPEG"):
        _check_guess(path, total)
    first, count = round(start * file.samplerate), round(duration * file.samplerate)
    slack = SLACK * file.samplerate
    if not 0 <= first < total or not 0 <= count <= total - first + slack:
        raise DataError(
            f"{path} lasts {total / file.samplerate:.3f} s; expected a part of it, "
            f"got {duration:g} s from {start:g} s on"
        )
    return first, min(count or total, total - first)


def _check_guess(path: Path, total: int) -> None:
    """Raise DataError if libsndfile would read less of an MP3 file than it holds."""
    if count_samples(path) > total + HEADROOM:
        raise DataError(
            f"{path} is longer than its first frames tell: an MP3 file without a table of its frames, or several "
            f"in one. Convert it, as with: ffmpeg -i {path.name} {path.stem}.wav"
        )


def _mixed(samples: Tensor) -> Tensor:
    channels = samples.shape[1]
    if channels > 1:
        # The same words for every file, so that Python's filter shows them once.
        warnings.warn(f"sound of {channels} channels: mixed down to their mean", DataWarning, stacklevel=3)
    return samples.mean(1) if channels > 1 else samples[:, 0].contiguous()


def _check_whole(path: Path) -> None:
    """Raise DataError if a WAV file ends before its header says so. libsndfile reads such files without a word."""
    with path.open("rb") as file:
        head, size = file.read(12), os.fstat(file.fileno()).st_size
        if not size:
            raise DataError(f"{path} is empty; expected a sound")
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                there = size - file.tell()
                if there < length < UNKNOWN:
                    raise DataError(f"{path} is broken off: {there:,} of {length:,} bytes are there; copy it again")
                return
            file.seek(length + length % 2, os.SEEK_CUR)


def _reason(error: Exception) -> str:
    """What libsndfile says, without the name of the file."""
    return str(error).rpartition("': ")[2].removeprefix("Error : ").strip().rstrip(".") or type(error).__name__


def write_sound(path: str | Path, sound: Sound) -> None:
    """Write a file in the format of its suffix, WAV and FLAC with 16 bits; samples beyond -1 and 1 are cut off.

    Raises ConfigError for another suffix, RunError if the file cannot be written.
    """
    path, library = Path(path), _library("soundfile")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ConfigError(f"cannot write the sound {path}: expected a name with one of {', '.join(SUFFIXES)}")
    samples = sound.samples.detach().cpu().clamp(-1, 1).numpy()
    files.write(path, lambda temporary: library.write(str(temporary), samples, sound.rate, format=kind[1:].upper()))


def resample(sound: Sound, rate: int) -> Sound:
    """The same sound with ``rate`` samples per second: soxr's high quality, which keeps what both can hold."""
    if rate < 1:
        raise ConfigError(f"rate: expected samples per second, got {rate}")
    if rate == sound.rate:
        return sound
    samples = _library("soxr").resample(sound.samples.numpy(), sound.rate, rate)
    return Sound(torch.from_numpy(samples), rate)


def complaints(sound: Sound) -> list[str]:
    """What is likely wrong with a recording, in words; [] if nothing is."""
    loud = sound.samples.abs()
    peak = float(loud.max()) if len(loud) else 0.0
    cut = float((loud >= FULL).float().mean()) if len(loud) else 0.0
    found = []
    if peak < SILENCE:
        found.append(f"silent: no sample is larger than {peak:.1e} of full scale")
    if peak > 1:
        found.append(f"too loud: samples reach {peak:.2f}, expected -1 to 1")
    elif cut > CLIPPED:
        found.append(f"clipped: {cut:.1%} of the samples are at full scale; record it again with less gain")
    return found


def _library(name: str) -> Any:
    try:
        if name == "soxr":
            import soxr

            return soxr
        import soundfile
    except (ImportError, OSError) as error:  # OSError: soundfile without its libsndfile
        raise ConfigError(
            f"sound needs the library {name}; install it with: pip install 'recurra[speech]'"
        ) from error
    return soundfile
