"""Prompts: texts as they are said, and which of them are left out and why."""

import gzip
import wave

import pytest

from recurra.data.manifests import read_manifest
from recurra.data.preparations import prompts
from recurra.data.preparations.parts import part
from recurra.data.preparations.prompts import spoken
from recurra.data.sources import SOURCES, path
from recurra.errors import DataError


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Press 7 to delete this message.", "en", "press seven to delete this message"),
        ("... your party’s 'last' name", "en", "your party's last name"),
        ("Pour l'aide, appuyez sur 0 - l’été", "fr", "pour l'aide appuyez sur zéro l'été"),
        ("Marque 1", "es", "marque uno"),
        ("un po' d'aria", "it", "un po d'aria"),
        ("Нажмите 2, чтобы выйти…", "ru", "нажмите два чтобы выйти"),
        ("e\u0301te\u0301", "fr", "été"),
    ],
)
def test_words_as_they_are_said(text, language, words):
    assert spoken(text, language) == (words, "")


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("at [@]", "en", "note in brackets"),
        ("(10 seconds of silence)", "en", "note in brackets"),
        ("<beep ascending>", "en", "note in brackets"),
        ("followed by # or just # to exit", "en", "sign or a number"),
        ("dial 500", "en", "sign or a number"),
        ("H 3 23", "fr", "sign or a number"),
        ("3D audio", "en", "sign or a number"),
        ("...", "es", "without a word"),
        ("at", "ru", "letters of another alphabet"),
    ],
)
def test_texts_that_are_left_out(text, language, reason):
    words, why = spoken(text, language)
    assert words == ""
    assert reason in why


def packages(folder, language: str, texts: str, sounds: dict[str, float]) -> None:
    """What is in the packages of a language."""
    voice = folder / "usr/share/asterisk/sounds" / f"{language}_XX_f_Eve"
    document = folder / "usr/share/doc/toy" / f"core-sounds-{language}.txt.gz"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_bytes(gzip.compress(f"\ufeff; Toys\n\n{texts}".encode()))
    for name, seconds in sounds.items():
        path = voice / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(2 * round(8000 * seconds)))


def test_a_set_of_two_languages(tmp_path):
    raw, made = tmp_path / "raw", tmp_path / "made"
    made.mkdir()
    many = {f"many/{i}": 0.5 for i in range(40)}
    lines = "".join(f"{name}: text {'x' * (i + 1)}\n" for i, name in enumerate(many))
    few = ("go: Go: now!", "again: go now", "long: too long", "beep: [beep]", "no-sound: n")
    texts = "\n".join([*few, "twice: a", "twice: b", "same: s", "same: s", lines])
    sounds = {"go": 1.0, "again": 0.25, "long": 8.1, "beep": 0.1, "twice": 1.0, "same": 1.0, "untold": 1.0}
    packages(raw, "en", texts, sounds | many)
    packages(raw, "it", "vai: go now\n", {"vai": 1.0})
    assert prompts.preparation("en", "it")(raw, made) == {
        "sounds longer than 8 seconds": 1,
        "texts with a note in brackets": 1,
        prompts.TWICE: 1,
        prompts.UNTOLD: 1,
    }
    found = {name: read_manifest(made / f"{name}.jsonl") for name in ("train", "valid", "test")}
    rows = [row for utterances in found.values() for row in utterances]
    assert len(rows) == 44
    assert {row.path for row in rows} == set(made.rglob("*.wav"))
    assert all(part(row.text) == name for name, utterances in found.items() for row in utterances)
    assert {(row.path.stem, row.duration) for row in rows if row.text == "go now"} == {
        ("go", 1.0),
        ("again", 0.25),
        ("vai", 1.0),
    }
    assert {(row.language, row.speaker) for row in rows} == {("en", "Eve"), ("it", "Eve")}
    assert min(len(utterances) for utterances in found.values()) > 0


def test_packages_that_are_not_as_expected(tmp_path):
    packages(tmp_path, "en", "no colon here\n", {"a": 1.0})
    with pytest.raises(DataError, match=r"line 3: expected name: text, got 'no colon here'"):
        prompts.preparation("en")(tmp_path, tmp_path)
    packages(tmp_path, "en", "a: b\n", {})
    (sound,) = tmp_path.rglob("a.wav")
    sound.write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"a\.wav: expected a WAV file"):
        prompts.preparation("en")(tmp_path, tmp_path)
    with pytest.raises(DataError, match="expected one voice in the language ru"):
        prompts.preparation("ru")(tmp_path, tmp_path)


def test_the_catalogue_names_packages_and_members_of_each_language():
    for name, packages_, members in (("prompts-fr", 2, 2), ("prompts", 10, 6)):
        source = SOURCES[name]
        assert len(source.packages) == packages_
        assert len(source.members) == members
    assert [package.name for package in SOURCES["prompts-fr"].packages] == [
        "asterisk-core-sounds-fr",
        "asterisk-core-sounds-fr-wav",
    ]


@pytest.mark.parametrize(
    ("language", "counts", "minutes"),
    [
        ("en", (398, 60, 53), 16.1),
        ("es", (362, 48, 30), 17.3),
        ("fr", (374, 52, 56), 16.2),
        ("it", (442, 48, 46), 15.0),
        ("ru", (423, 60, 35), 15.2),
    ],
)
def test_the_real_prompts_where_they_are(language, counts, minutes):
    try:
        folder = path(f"prompts-{language}")
    except DataError:
        pytest.skip(f"prompts-{language} is not here")
    parts = [read_manifest(folder / f"{name}.jsonl") for name in ("train", "valid", "test")]
    assert tuple(map(len, parts)) == counts
    rows = [row for rows in parts for row in rows]
    assert sum(row.duration for row in rows) / 60 == pytest.approx(minutes, abs=0.05)
    texts = [{row.text for row in rows} for rows in parts]
    assert not texts[0] & texts[1]
    assert not (texts[0] | texts[1]) & texts[2]
    assert all(row.text == " ".join(row.text.split()) == row.text.casefold() for row in rows)
