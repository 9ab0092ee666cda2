"""Series with one label each: ``train.ts`` and ``test.ts``, split as the archive splits them."""

from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import AEON
from recurra.data.preparations import archive_series

__all__ = ["SERIES"]


def _entry(name: str, folder: str, summary: str, origin: str) -> Source:
    members = tuple(f"aeon/datasets/data/{folder}/{folder}_{part}.ts" for part in ("TRAIN", "TEST"))
    licence = "BSD-3-Clause (package); the series are free for research"
    return Source(name, summary, licence, origin, (AEON,), members, archive_series.prepare)


SERIES = (
    _entry(
        "japanese-vowels",
        "JapaneseVowels",
        "two vowels spoken by nine men, 270 and 370 utterances, 12 channels, 7 to 29 steps",
        "UCI and UEA archives (Kudo, Toyama and Shimbo 1999), by the package aeon; official split",
    ),
    _entry(
        "basic-motions",
        "BasicMotions",
        "standing, walking, running, badminton on a smart watch, 40 and 40, 6 channels, 100 steps",
        "UEA archive (Bagnall et al. 2018), by the package aeon; official split",
    ),
    _entry(
        "gun-point",
        "GunPoint",
        "drawing a gun or pointing, the hand tracked in video, 50 and 150, 150 steps",
        "UCR archive (Ratanamahatana and Keogh 2004), by the package aeon; official split",
    ),
    _entry(
        "italy-power-demand",
        "ItalyPowerDemand",
        "the demand for electricity in Italy, winter or summer, 67 and 1,029, 24 hours",
        "UCR archive, by the package aeon; official split",
    ),
    _entry(
        "arrow-head",
        "ArrowHead",
        "outlines of projectile points of three kinds, 36 and 175, 251 steps",
        "UCR archive (Ye and Keogh 2009), by the package aeon; official split",
    ),
    _entry(
        "osu-leaf",
        "OSULeaf",
        "outlines of leaves of six kinds, 200 and 242, 427 steps",
        "UCR archive (Gandhi 2002), by the package aeon; official split",
    ),
    _entry(
        "acsf1",
        "ACSF1",
        "the power that ten kinds of appliances take, 100 and 100, 1,460 steps",
        "UCR archive (ACS-F1, Gisler et al. 2013), by the package aeon; official split",
    ),
    _entry(
        "pickup-gesture",
        "PickupGestureWiimoteZ",
        "ten gestures with a remote control, 50 and 50, 29 to 361 steps",
        "UCR archive (Guna et al. 2014), by the package aeon; official split",
    ),
)
