"""Prompts of a telephone exchange, read by professional speakers: the core sounds of Asterisk with their texts.

    the file       vm-delete: Press 7 to delete this message.        vm-delete.wav
    the text       press seven to delete this message

A text is in lower case and without punctuation but the apostrophe inside a word; a number of one digit is written
as it is said. A prompt is left out if it has no text or two, a note in brackets or a sign that may be said or not,
several digits side by side, which may be read in many ways, letters of another alphabet, or is longer than eight
seconds.

The parts are 8 : 1 : 1 by the hash of the text (`recurra.data.preparations.parts`): a text that was recorded twice,
or that two languages share, is in one part.
"""

import gzip
import re
import shutil
import unicodedata
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from recurra.data.manifests import Utterance, write_manifest
from recurra.data.preparations.parts import PARTS, part
from recurra.errors import DataError

__all__ = ["DIGITS", "preparation", "spoken"]

LONGEST = 8.0  # seconds
DIGITS = {
    "en": "zero one two three four five six seven eight nine",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "ru": "ноль один два три четыре пять шесть семь восемь девять",
}
ALPHABETS = dict.fromkeys(DIGITS, "LATIN") | {"ru": "CYRILLIC"}
NOTE = re.compile(r"[\[\](){}<>]")
SIGN = re.compile(r"[*#@$%&+=/\\]|\w\d|\d\w|\d\s+\d")
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
UNTOLD, TWICE, EMPTY = "sounds without a text", "sounds with two texts", "texts without a word"


def preparation(*languages: str) -> Callable[[Path, Path], dict[str, int]]:
    """The preparation that writes the manifests of some languages, and the sounds that they name."""
    return partial(_prepare, languages)


def _prepare(languages: tuple[str, ...], folder: Path, target: Path) -> dict[str, int]:
    parts: dict[str, list[Utterance]] = {name: [] for name in PARTS}
    left_out: Counter[str] = Counter()
    for language in languages:
        for utterance in _utterances(language, folder, target, left_out):
            parts[part(utterance.text)].append(utterance)
    for name, utterances in parts.items():
        write_manifest(target / f"{name}.jsonl", utterances)
    return dict(left_out)


def _utterances(language: str, folder: Path, target: Path, left_out: Counter[str]) -> Iterator[Utterance]:
    """What is kept of a language, with its sounds copied below ``target``."""
    voice = _voice(language, folder)
    texts = _texts(language, folder)
    for sound in sorted(voice.rglob("*.wav")):
        name = sound.relative_to(voice)
        text, reason = _text(texts.get(name.with_suffix("").as_posix(), []), language)
        seconds = _seconds(sound)
        if not reason and seconds > LONGEST:
            reason = f"sounds longer than {LONGEST:g} seconds"
        if reason:
            left_out[reason] += 1
            continue
        place = target / language / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sound, place)
        speaker = voice.name.rpartition("_")[2]
        yield Utterance(place, text, duration=round(seconds, 4), language=language, speaker=speaker)


def _voice(language: str, folder: Path) -> Path:
    """The folder of the sounds, such as ``en_US_f_Allison``."""
    found = [path for path in folder.rglob("sounds/*_*") if path.name.startswith(f"{language}_")]
    if len(found) != 1:
        raise DataError(f"expected one voice in the language {language}, got {[path.name for path in found]}")
    return found[0]


def _texts(language: str, folder: Path) -> dict[str, list[str]]:
    """The different texts of each sound, by its name without suffix."""
    (path,) = folder.rglob(f"core-sounds-{language}.txt.gz")
    texts: dict[str, list[str]] = {}
    for number, row in enumerate(gzip.decompress(path.read_bytes()).decode("utf-8-sig").split("\n"), 1):
        if not row.strip() or row.startswith(";"):
            continue
        name, colon, text = row.partition(":")
        if not colon:
            raise DataError(f"{path.name}, line {number}: expected name: text, got {row[:60]!r}")
        if text not in texts.setdefault(name.strip(), []):
            texts[name.strip()].append(text)
    return texts


def _text(texts: list[str], language: str) -> tuple[str, str]:
    """The words that are said, and "" or why the sound is left out."""
    if len(texts) != 1:
        return "", TWICE if texts else UNTOLD
    return spoken(texts[0], language)


def spoken(text: str, language: str) -> tuple[str, str]:
    """The words of a transcript as they are said, and "" or the reason why that is not known."""
    text = unicodedata.normalize("NFC", text).casefold().replace("’", "'")
    if NOTE.search(text):
        return "", "texts with a note in brackets"
    if SIGN.search(text):
        return "", "texts with a sign or a number of several digits"
    for digit, word in enumerate(DIGITS[language].split()):
        text = text.replace(str(digit), word)
    words = WORD.findall(text)
    if not words:
        return "", EMPTY
    letters = set("".join(words)) - {"'"}
    if not all(unicodedata.name(letter).startswith(ALPHABETS[language]) for letter in letters):
        return "", "texts with letters of another alphabet"
    return " ".join(words), ""


def _seconds(path: Path) -> float:
    try:
        with wave.open(str(path)) as file:
            return file.getnframes() / file.getframerate()
    except (wave.Error, EOFError) as error:
        raise DataError(f"{path.name}: expected a WAV file ({error})") from error
