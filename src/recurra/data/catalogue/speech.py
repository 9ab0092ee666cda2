"""Recordings with their texts: ``train.jsonl``, ``valid.jsonl``, ``test.jsonl``, and the sounds that they name."""

from recurra.data.catalogue.entry import Source
from recurra.data.packages import Debian
from recurra.data.preparations import prompts

__all__ = ["SPEECH"]

VERSION = "1.6.1-1"
PACKAGES = [  # the ending of the name, the size, the sha256; first the texts of a language, then the sounds
    ("en", 22_844, "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50"),
    ("en-wav", 18_272_864, "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d"),
    ("es", 22_012, "9afdab7f559f036649fb406e625899306ca1004df8ebe39c30bfbd5912d66f74"),
    ("es-wav", 23_767_256, "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903"),
    ("fr", 23_152, "04c82c78c570c43a7136cbc5e2488d0c470b775468dff9fbce4a131b18cf1056"),
    ("fr-wav", 18_516_060, "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e"),
    ("it", 23_972, "3884d9457e12f21caa018c18f0d587df5d53ebea14b673d8453a134c5941ab3b"),
    ("it-wav", 18_262_124, "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb"),
    ("ru", 25_592, "28a61616bb0cd3345a7ea532dec4df9f071e5d0fa9f8c1a563ea9669002f39ab"),
    ("ru-wav", 18_788_860, "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201"),
]
LICENCES = {"it": "CC BY 3.0", "ru": "CC BY 3.0"}
LANGUAGES = {  # name, speaker, prompts, minutes
    "en": ("English", "Allison Smith", 511, 16),
    "es": ("Spanish", "Allison Smith", 440, 17),
    "fr": ("French", "June Wallack", 482, 16),
    "it": ("Italian", "Carlo Flora", 536, 15),
    "ru": ("Russian", "Maxim Topal", 518, 15),
}


def _packages(language: str) -> tuple[Debian, ...]:
    return tuple(
        Debian(name, VERSION, f"{name}_{VERSION}_all.deb", size, sha256)
        for ending, size, sha256 in PACKAGES
        for name in [f"asterisk-core-sounds-{ending}"]
        if ending.partition("-")[0] == language
    )


def _entry(name: str, languages: tuple[str, ...]) -> Source:
    names, speakers, counts, minutes = zip(*(LANGUAGES[language] for language in languages), strict=True)
    texts = tuple(f"usr/share/doc/*/core-sounds-{language}.txt.gz" for language in languages)
    return Source(
        name=name,
        summary=f"{sum(counts):,} prompts of a telephone exchange, {sum(minutes)} minutes, 8 kHz, one speaker"
        f"{' each' if names[1:] else ''}: {', '.join(names)}",
        licence=" and ".join(sorted({LICENCES.get(language, "CC BY-SA 3.0") for language in languages})),
        origin=f"core sounds of Asterisk, read by {', '.join(dict.fromkeys(speakers))}; split by text",
        packages=tuple(package for language in languages for package in _packages(language)),
        members=("usr/share/asterisk/sounds/*.wav", *texts),
        prepare=prompts.preparation(*languages),
    )


SPEECH = (
    *(_entry(f"prompts-{language}", (language,)) for language in LANGUAGES),
    _entry("prompts", tuple(LANGUAGES)),
)
